"""What Vim's `u` takes back: whole changes, each of which may be several edits of a text area."""

from __future__ import annotations

from textual.widgets import TextArea
from textual.widgets.text_area import Edit, Selection

KEPT = 200  # ends of changes


class Changes:
    """The changes of a text area; the cursor goes where each of them began, as in Vim.

    A text area takes its edits back in batches of its own: by time, by length and by kind.
    """

    def __init__(self, area: TextArea) -> None:
        self._area = area
        self._ends: list[Edit] = []  # the last edit of each change
        self._places: list[Selection] = []  # where the cursor was after each `undo`

    def end(self) -> None:
        """What is edited from now on is another change."""
        self._area.history.checkpoint()
        last = self._last()
        if last is not None and not self._is_end(last):
            self._ends.append(last)
            del self._ends[:-KEPT]

    def undo(self) -> None:
        """Take the last change back."""
        history = self._area.history
        if not history.undo_stack:
            return
        if not history.redo_stack:
            self._places.clear()  # something was edited since
        self._area.undo()
        while (last := self._last()) is not None and not self._is_end(last):
            self._area.undo()
        self._places.append(self._area.selection)

    def redo(self) -> None:
        """Do what was taken back again."""
        history = self._area.history
        if not history.redo_stack:
            return
        self._area.redo()
        while history.redo_stack and not self._is_end(self._last()):
            self._area.redo()
        if self._places:
            self._area.selection = self._places.pop()

    def _last(self) -> Edit | None:
        batches = self._area.history.undo_stack
        return batches[-1][-1] if batches else None

    def _is_end(self, edit: Edit | None) -> bool:
        return any(edit is each for each in self._ends)
