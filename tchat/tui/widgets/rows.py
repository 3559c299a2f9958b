"""Names and values, in as many lines as they need."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TypeAlias

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from tchat.sanitize import single_line

LONGEST = 400  # characters of a value
NAMES = 17  # cells of a name

Row: TypeAlias = tuple[str, str]


class Rows(Widget):
    """Names and values; a long value goes on beneath its beginning."""

    DEFAULT_CSS = "Rows { height: auto; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.rows: Sequence[Row] = ()

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show these, raw; one without a name takes the whole width."""
        self.rows = rows
        self.refresh(layout=True)

    @property
    def plain(self) -> str:
        """All that is shown, as text."""
        return "\n".join(line.plain for line in self.lines(200))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines they take."""
        return len(self.lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self.lines(self.content_size.width))

    def lines(self, width: int) -> list[Content]:
        """What is shown, in lines of at most ``width`` cells."""
        return [line for row in self.rows for line in _lines(row, width)]


def _lines(row: Row, width: int) -> list[Content]:
    """A row in as many lines as it needs."""
    name, value = single_line(row[0]), single_line(row[1], LONGEST)
    indent = NAMES if name else 0
    first, *more = wrap(value, max(10, width - indent)) or [""]
    begun = Content.assemble((f"{name:<{indent}}", "$muted"), first)
    return [begun, *(Content(" " * indent + line) for line in more)]
