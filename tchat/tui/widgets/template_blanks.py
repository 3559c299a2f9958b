"""The blanks of a template in the prompt: selected one after the other, each name asked once."""

from __future__ import annotations

from typing import NamedTuple

from textual.widgets import TextArea
from textual.widgets.text_area import Location, Selection

from tchat.tui.widgets.prompt_draft import Chips


class _Asked(NamedTuple):
    """The blank that is typed over, and the text around it, which stays meanwhile."""

    label: str
    before: str
    after: str


class TemplateBlanks:
    """Selects the blanks in a text area; their labels are those of ``chips``."""

    def __init__(self, area: TextArea, chips: Chips) -> None:
        self._area = area
        self._chips = chips
        self._asked: _Asked | None = None

    def select(self, step: int = 1) -> None:
        """Select the next blank, or the previous one, to be typed over."""
        self.fill_alike()
        places = self._places()
        if not places:
            return
        at = sorted(self._area.selection)
        if step > 0:
            self._select(*next((place for place in places if place[0] >= at[1]), places[0]))
        else:
            before = (place for place in reversed(places) if place[1] <= at[0])
            self._select(*next(before, places[-1]))

    def select_first(self, label: str = "") -> None:
        """Select the first blank, or the first one labelled ``label``."""
        for start, end in self._places():
            if not label or self._area.get_text_range(start, end) == label:
                self._select(start, end)
                return

    def fill_alike(self) -> None:
        """Put what was typed over a blank into the others of the same label, too."""
        asked, self._asked = self._asked, None
        text = self._area.text
        if asked is None or not (text.startswith(asked.before) and text.endswith(asked.after)):
            return
        value = text[len(asked.before) : len(text) - len(asked.after)]
        if not value or asked.label in value:
            return
        for start, end in reversed(self._places()):
            if self._area.get_text_range(start, end) == asked.label:
                self._area.replace(value, start, end)

    def _select(self, start: Location, end: Location) -> None:
        area = self._area
        area.selection = Selection(start, end)
        self._asked = _Asked(
            area.get_text_range(start, end),
            area.get_text_range((0, 0), start),
            area.get_text_range(end, area.document.end),
        )

    def _places(self) -> list[tuple[Location, Location]]:
        """Start and end of each blank, in their order."""
        blanks = self._chips.draft(self._area.text).blanks
        return [
            ((row, start), (row, end))
            for row, line in enumerate(self._area.document.lines if blanks else ())
            for start, end in self._chips.spans(line)
            if line[start:end] in blanks
        ]
