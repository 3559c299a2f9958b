"""Keeps keys that are meant for something else from answering a question that appears."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual import events

QUIET = 0.4  # seconds without a key after which keys answer


class TypingGuard:
    """Takes keys aside until a dialog was seen and no key came for a moment.

    Args:
        type_ahead: Gets the text that was typed meanwhile: it is not lost.
        clock: Seconds, for tests.
    """

    def __init__(
        self, type_ahead: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._type_ahead = type_ahead
        self._clock = clock
        self._quiet_since: float | None = None

    def begin(self) -> None:
        """The dialog is painted: from now on it can have been read."""
        self._quiet_since = self._clock()

    @property
    def is_up(self) -> bool:
        """Whether a key may be meant for something else."""
        return self._quiet_since is None or self._clock() - self._quiet_since < QUIET

    def takes(self, event: events.Event) -> bool:
        """Take a key or a pasted text aside; False for what the dialog gets.

        What denies is never taken.
        """
        if isinstance(event, events.Paste):
            self._type_ahead(event.text)
            return True
        if not isinstance(event, events.Key) or event.key in ("escape", "ctrl+c") or not self.is_up:
            return False
        if self._quiet_since is not None:
            self._quiet_since = self._clock()
        if event.is_printable and event.character:
            self._type_ahead(event.character)
        return True
