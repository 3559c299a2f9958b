"""A text area with chips: labels that the cursor steps over and that are deleted whole."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.document._document import EditResult, Location, Selection
from textual.document._edit import Edit
from textual.widgets import TextArea

from tchat.tui.widgets.prompt_draft import Chips

CHIP = "chip-area--chip"


class ChipArea(TextArea):
    """A `TextArea` whose text holds the labels of chips.

    Chips need no bookkeeping of places: the labels are looked up in the lines that are drawn or
    edited, so undo, redo and wrapping stay those of `TextArea`.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {CHIP}

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        self._chips = Chips()
        super().__init__(id=id, tab_behavior="focus", highlight_cursor_line=False)

    @property
    def selected_text(self) -> str:
        """The text selected, large pastes put back, for the clipboard."""
        return self._chips.draft(super().selected_text).full_text

    def get_line(self, line_index: int) -> Text:
        """A line with its chips marked."""
        line = super().get_line(line_index)
        for start, end in self._chips.spans(line.plain):
            line.stylize(self.get_component_rich_style(CHIP, partial=True), start, end)
        return line

    def edit(self, edit: Edit) -> EditResult:
        """Edit, but never a part of a chip: all of it goes."""
        top, bottom = edit.top, edit.bottom
        edit.from_location = self._edge(top, after=False)
        edit.to_location = self._edge(bottom, after=True) if bottom != top else edit.from_location
        rows = self.virtual_size.height
        result = super().edit(edit)
        if self.virtual_size.height != rows:
            self.scroll_cursor_visible()  # TextArea scrolled before it knew of the new row
        return result

    def _validate_selection(self, selection: Selection) -> Selection:
        start, end = super()._validate_selection(selection)
        return Selection(self._beside_chip(start, self.selection.start),
                         self._beside_chip(end, self.selection.end))  # fmt: skip

    def _beside_chip(self, location: Location, before: Location) -> Location:
        """``location``, or the end of the chip around it, onwards from where the cursor was."""
        row, column = location
        for start, end in self._chips.spans(self.document[row]):
            if start < column < end:
                if before == (row, start):
                    return row, end
                nearer_start = column - start <= end - column
                return row, start if before == (row, end) or nearer_start else end
        return location

    def _edge(self, location: Location, *, after: bool) -> Location:
        """``location``, or the edge of the chip that it is inside of."""
        row, column = location
        if row < self.document.line_count:
            for start, end in self._chips.spans(self.document[row]):
                if start < column < end:
                    return row, end if after else start
        return location
