"""Going back through the prompts typed before."""

from __future__ import annotations

from collections.abc import Iterable

from tchat.tui.widgets.prompt_draft import Draft


class Recall:
    """A place in the prompts typed before; behind the newest stands the unsent draft.

    What is changed in an earlier prompt is kept while the user moves on, and forgotten once
    something is sent.
    """

    def __init__(self, entries: Iterable[Draft] = ()) -> None:
        self._entries = list(entries)
        self._changed: dict[int, Draft] = {}
        self._at = len(self._entries)

    def older(self, shown: Draft) -> Draft | None:
        """The prompt before; None at the oldest. ``shown`` is what the prompt holds now."""
        return self._move(-1, shown)

    def newer(self, shown: Draft) -> Draft | None:
        """The prompt after, at last the unsent draft; None there."""
        return self._move(1, shown)

    def add(self, sent: Draft) -> None:
        """Remember a prompt that was sent, and begin anew behind it."""
        if self._entries[-1:] != [sent]:
            self._entries.append(sent)
        self._changed.clear()
        self._at = len(self._entries)

    def _move(self, step: int, shown: Draft) -> Draft | None:
        target = self._at + step
        if not 0 <= target <= len(self._entries):
            return None
        self._changed[self._at] = shown
        self._at = target
        if target in self._changed:
            return self._changed[target]
        return self._entries[target] if target < len(self._entries) else Draft()
