"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tchat.sanitize import single_line
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint

LONGEST = 1000  # characters of a line


class ModelDetails(Dialog[None]):
    """Lines of a name and a value, to be scrolled through.

    Args:
        heading: The model; raw.
        rows: Names and values; raw.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("up", "up"), Hint("down", "down"), CLOSE)
    DEFAULT_CSS = """
    ModelDetails VerticalScroll { height: 1fr; }
    """

    def __init__(self, heading: str, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = heading
        self._rows = rows

    def body(self) -> ComposeResult:
        """The lines."""
        with VerticalScroll():
            yield Static(Content("\n").join(map(_line, self._rows)), markup=False)

    def opened(self) -> None:
        """Scroll at once."""
        self.set_heading(self._title)
        self.query_one(VerticalScroll).focus()


def _line(row: tuple[str, str]) -> Content:
    name, value = (single_line(text, LONGEST) for text in row)
    return Content.assemble((f"{name}  ", "$muted"), value)
