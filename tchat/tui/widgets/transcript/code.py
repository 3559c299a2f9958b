"""Code on its own ground, under a header that names the language and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from tchat.tui.widgets.transcript.lines import Line, cut, filled, fold, line, prefixed, width
from tchat.tui.widgets.transcript.palette import Palette, on

if TYPE_CHECKING:
    from rich.text import Text

CODE = "code"  # the key of the block's number in a style's meta data

_TAB = 4
_EDGE = "▎"
_COPY = "copy"


class Fence:
    """One block of code, line by line.

    Args:
        info: What stands behind the marks of the fence.
        number: The block's place among those of its message.
        cells: Width of its ground.
    """

    def __init__(self, info: str, number: int, palette: Palette, cells: int) -> None:
        from tchat.markdown.highlight import Highlighter, language

        self._language = language(info)
        self._number = number
        self._palette = palette
        self._cells = cells
        self._highlighter = Highlighter(self._language, palette.code_theme)
        self.source: list[str] = []

    def header(self) -> Line:
        """The line with the language and the copy action."""
        style = self._palette.code_header
        click = style + Style(meta={CODE: self._number})
        copy = [Segment(_COPY, on(click, self._palette.action)), Segment(" ", click)]
        room = max(1, self._cells - width(copy) - 2)
        name = cut([Segment(self._language or "text", click)], room)
        space = Segment(" " * (room - width(name)), click)
        start = [Segment(_EDGE, on(self._palette.code, self._palette.rule)), Segment(" ", click)]
        shown = line([*start, *name, space, *copy])
        return line(shown.segments, lead=len(shown.text))

    def lines(self, text: str, *, finished: bool = True) -> list[Line]:
        """One line of the code, folded where it is too wide.

        Args:
            text: The line without its end.
            finished: Whether the line is whole; else it may come again with more in it.
        """
        if finished:
            self.source.append(text)
        shown = text.expandtabs(_TAB)
        highlight = self._highlighter.line if finished else self._highlighter.preview
        rows = fold(self._on_ground(highlight(shown)), max(1, self._cells - 3))
        drawn = [line(row, joint="" if number else "\n") for number, row in enumerate(rows)]
        edge = Segment(_EDGE, on(self._palette.code, self._palette.rule))
        before = [edge, Segment(" ", self._palette.code)]
        return [
            filled(row, self._cells, self._palette.code) for row in prefixed(drawn, before, before)
        ]

    def _on_ground(self, text: Text) -> list[Segment]:
        """The segments of ``text`` in its colours, but on the ground of the palette."""
        ground = self._palette.code
        flat = Style.from_color(bgcolor=ground.bgcolor)
        segments: list[Segment] = []
        done = 0
        for start, end, style in text.spans:
            color = ground + style + flat if isinstance(style, Style) else ground
            segments.append(Segment(text.plain[done:start], ground))
            segments.append(Segment(text.plain[start:end], color))
            done = end
        segments.append(Segment(text.plain[done:], ground))
        return [segment for segment in segments if segment.text]
