"""Keeps keys that are meant for something else from answering a question that appears."""

from __future__ import annotations

from collections.abc import Callable

from textual import events

LOOK = 0.1  # seconds between two looks
QUIET = 10  # looks without a key after which keys answer: longer than a pause of somebody typing


class TypingGuard:
    """Takes keys aside until a dialog was seen and no key came for a moment.

    It counts looks, and no time: where the screen stood still, keys of that time come before the
    next look.

    Args:
        type_ahead: Gets the text that was typed meanwhile: it is not lost.
    """

    def __init__(self, type_ahead: Callable[[str], object]) -> None:
        self._type_ahead = type_ahead
        self._looks: int | None = None  # since the last key; None before the dialog is painted

    def begin(self) -> None:
        """The dialog is painted: from now on it can have been read."""
        self._looks = 0

    def look(self) -> None:
        """To be called every `LOOK` seconds."""
        if self._looks is not None:
            self._looks += 1

    @property
    def is_up(self) -> bool:
        """Whether a key may be meant for something else."""
        return self._looks is None or self._looks < QUIET

    def takes(self, event: events.Event) -> bool:
        """Take a key or a pasted text aside; False for what the dialog gets.

        What denies is never taken.
        """
        if isinstance(event, events.Paste):
            self._type_ahead(event.text)
            return True
        if not isinstance(event, events.Key) or event.key in ("escape", "ctrl+c") or not self.is_up:
            return False
        if self._looks is not None:
            self._looks = 0
        if event.is_printable and event.character:
            self._type_ahead(event.character)
        return True
