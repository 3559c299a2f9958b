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

Property: TypeAlias = tuple[str, str]


class Lines(Widget):
    """A widget of as many lines as it needs."""

    DEFAULT_CSS = "Lines { height: auto; padding: 0 1; }"

    def lines(self, width: int) -> list[Content]:
        """What is shown, in lines of at most ``width`` cells."""
        raise NotImplementedError

    @property
    def plain(self) -> str:
        """All that is shown, as text."""
        return "\n".join(line.plain for line in self.lines(200))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines there are."""
        return len(self.lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self.lines(self.content_size.width))


class PropertyList(Lines):
    """Names and values; a long value goes on beneath its beginning."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._properties: Sequence[Property] = ()

    def show(self, properties: Sequence[Property]) -> None:
        """Show these, raw; one without a name takes the whole width."""
        self._properties = properties
        self.refresh(layout=True)

    def lines(self, width: int) -> list[Content]:
        """Each property in as many lines as it needs."""
        return property_lines(self._properties, width)


def property_lines(properties: Sequence[Property], width: int) -> list[Content]:
    """Names and values in lines of at most ``width`` cells."""
    return [line for each in properties for line in _lines(each, width)]


def _lines(row: Property, width: int) -> list[Content]:
    """A property in as many lines as it needs."""
    name, value = single_line(row[0]), single_line(row[1], LONGEST)
    indent = NAMES if name else 0
    first, *more = wrap(value, max(10, width - indent)) or [""]
    begun = Content.assemble((f"{name:<{indent}}", "$muted"), first)
    return [begun, *(Content(" " * indent + line) for line in more)]
