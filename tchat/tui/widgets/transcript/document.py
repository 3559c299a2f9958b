"""Markdown, code and plain text as lines, final block by block while they stream in."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from tchat.markdown import Block, BlockKind, BlockSplitter
from tchat.translation import tr
from tchat.tui.widgets.transcript.lines import (
    Flow,
    Line,
    Palette,
    break_code,
    cut,
    filled,
    inline,
    line,
    linked,
    on,
    prefixed,
    width,
)
from tchat.tui.widgets.transcript.table import Table

if TYPE_CHECKING:
    from rich.text import Text

_DEEPEST = 4  # quotes in quotes
_NARROWEST = 8  # cells of text beside its quote marks and list markers

_FENCED = (BlockKind.FENCE_OPEN, BlockKind.CODE, BlockKind.FENCE_CLOSE)
# Blocks with an empty line around them, and those with one above or below only.
_APART = (BlockKind.TABLE, BlockKind.QUOTE, BlockKind.RULE, BlockKind.HTML)
_APART_ABOVE = (*_APART, BlockKind.HEADING, BlockKind.FENCE_OPEN)
_APART_BELOW = (*_APART, BlockKind.FENCE_CLOSE)

_BULLETS = "•◦▪"
_BOXES = {"[ ]": "☐", "[x]": "☑", "[X]": "☑"}
_BOX = re.compile(r"\[[ xX]\](?=\s)")
_QUOTE_MARK = re.compile(r"^ {0,3}> ?", re.MULTILINE)
_HEADING = re.compile(r"(#{1,6})[ \t]*(.*?)[ \t]*(?:(?<![^ \t])#+[ \t]*)?", re.DOTALL)


class Document:
    """A reply in Markdown, or a quote in it, as lines of ``cells``, at least 8.

    Attributes:
        lines: The final lines, a pure function of the text; they only get more.
        tail: The lines of the unfinished rest.
        fences: The blocks of code by their numbers.
    """

    def __init__(
        self, palette: Palette, cells: int, fences: list[Fence] | None = None, depth: int = 0
    ) -> None:
        self.lines: list[Line] = []
        self.tail: list[Line] = []
        self.fences: list[Fence] = [] if fences is None else fences
        self._splitter = BlockSplitter()
        self._drawing = _Drawing(palette, cells, self.fences, depth)

    def feed(self, text: str) -> None:
        """Add text, which is printable."""
        for block in self._splitter.feed(text):
            self.lines += self._drawing.draw(block)
        self.tail = self._drawing.preview(self._splitter.preview())

    def close(self) -> None:
        """End the text."""
        for block in self._splitter.close():
            self.lines += self._drawing.draw(block)
        self.tail = []


class _Drawing:
    """Draws the blocks of a document in their order."""

    def __init__(self, palette: Palette, cells: int, fences: list[Fence], depth: int) -> None:
        self._palette = palette
        self._cells = cells
        self._fences = fences
        self._depth = depth
        self._fence: Fence | None = None
        self._above: BlockKind | None = None
        self._blank = False
        self._final = True
        # Caches of unfinished blocks, from one preview to the next, by their width.
        self._flows: dict[int, Flow] = {}
        self._tables: dict[int, Table] = {}
        self._quotes: dict[int, Quote] = {}

    def draw(self, block: Block) -> list[Line]:
        """The lines of ``block`` with the gap above it."""
        if block.kind is BlockKind.BLANK:
            self._blank = True
            return []
        gap = [Line()] if self._gap(block) else []
        self._above, self._blank = block.kind, False
        return gap + self._lines(block)

    def preview(self, blocks: Sequence[Block]) -> list[Line]:
        """The lines of unfinished ``blocks``; the state stays as it is."""
        twin = copy.copy(self)
        twin._final = False
        return [row for block in blocks for row in twin.draw(block)]

    def _gap(self, block: Block) -> bool:
        if self._above is None or (
            self._fence and block.kind in (BlockKind.CODE, BlockKind.FENCE_CLOSE)
        ):
            return False
        if self._blank:
            return True
        listed = block.kind is BlockKind.ITEM or block.indent > 0
        return not listed and (block.kind in _APART_ABOVE or self._above in _APART_BELOW)

    def _lines(self, block: Block) -> list[Line]:
        indent = min(block.indent, max(0, self._cells - _NARROWEST), self._cells // 2)
        space = [Segment(" " * indent, self._palette.base)] if indent else []
        cells = self._cells - indent
        if block.kind in _FENCED:
            return prefixed(self._code(block, cells), space)
        if block.kind is BlockKind.ITEM:
            return self._item(block, space)
        if block.kind is BlockKind.TABLE:
            return prefixed(self._table(cells).lines(block.text, final=self._final), space)
        if block.kind is BlockKind.QUOTE:
            return prefixed(self._quote(block.text, cells), space)
        return prefixed(self._text(block, cells), space)

    def _text(self, block: Block, cells: int) -> list[Line]:
        if block.kind is BlockKind.RULE:
            return [line([Segment("─" * cells, self._palette.rule)])]
        if block.kind is BlockKind.HEADING:
            return self._heading(block.text, cells)
        if block.kind is BlockKind.HTML:
            literal = Flow(lambda text: [Segment(text, self._palette.base)], cells)
            return literal.lines(block.text)
        return self._paragraph(block.text, cells)

    def _paragraph(self, text: str, cells: int) -> list[Line]:
        if cells not in self._flows:
            self._flows[cells] = Flow(self._read, cells)
        return self._flows[cells].lines(text)

    def _read(self, text: str) -> list[Segment]:
        return inline(text, self._palette.base, self._palette)

    def _heading(self, text: str, cells: int) -> list[Line]:
        match = _HEADING.fullmatch(text) if text.startswith("#") else None
        if match:
            level, title = len(match[1]), match[2]
        else:
            title, _, underline = text.rpartition("\n")
            level = 1 if underline.strip().startswith("=") else 2
        style = self._palette.heading + _level_style(level)
        flow = Flow(lambda piece: inline(piece, style, self._palette), cells)
        return flow.lines(title)

    def _item(self, block: Block, space: list[Segment]) -> list[Line]:
        text, marker = block.text, _BULLETS[(block.indent // 2) % len(_BULLETS)]
        if block.number is not None:
            marker = f"{block.number}."
        elif _BOX.match(text):
            marker, text = _BOXES[text[:3]], text[4:]
        mark = [*space, Segment(marker + " ", self._palette.bullet)]
        taken = sum(len(part.text) for part in mark)
        rows = self._paragraph(text, max(2, self._cells - taken))
        return prefixed(rows, mark, [Segment(" " * taken, self._palette.base)])

    def _table(self, cells: int) -> Table:
        if cells not in self._tables:
            self._tables[cells] = Table(self._read, self._palette, cells)
        return self._tables[cells]

    def _quote(self, text: str, cells: int) -> list[Line]:
        if self._depth >= _DEEPEST or cells - 2 < _NARROWEST:
            return Flow(self._read, cells).lines(text)
        if cells not in self._quotes:
            self._quotes[cells] = Quote(self._palette, cells, self._fences, self._depth)
        return self._quotes[cells].lines(text, final=self._final)

    def _code(self, block: Block, cells: int) -> list[Line]:
        if block.kind is BlockKind.FENCE_OPEN:
            self._fence = Fence(block.info, len(self._fences), self._palette, cells)
            if self._final:
                self._fences.append(self._fence)
            return [self._fence.header()]
        if block.kind is BlockKind.FENCE_CLOSE:
            self._fence = None
            return []
        fence = self._fence or Fence("", -1, self._palette, cells)
        return fence.lines(block.text, finished=self._final)


class Quote:
    """The lines of a quote behind a bar; a source that continues the one before costs little."""

    def __init__(self, palette: Palette, cells: int, fences: list[Fence], depth: int) -> None:
        self._bar = [Segment("▎ ", palette.quote)]
        self._fences = fences
        self._new_document = partial(Document, palette, cells - 2, fences, depth + 1)
        self._begin()

    def _begin(self) -> None:
        self._text = ""
        self._before = 0  # blocks of code before the quote
        self._document = self._new_document()
        self._rows: list[Line] = []  # the final lines behind their bar
        self._tail: list[tuple[Line, Line]] = []  # the other lines, each with itself behind its bar

    def lines(self, source: str, *, final: bool) -> list[Line]:
        """The lines of ``source``, a quote with its marks; ``final`` if it is complete."""
        text = _QUOTE_MARK.sub("", source)
        if not text.startswith(self._text):
            # An unfinished line turned out to be no part of the quote.
            del self._fences[self._before :]
            self._begin()
        if not self._text:
            self._before = len(self._fences)
        self._document.feed(text[len(self._text) :])
        self._text = text
        if final:
            self._document.close()
        self._rows += self._barred(self._document.lines[len(self._rows) :])
        rows = [*self._rows, *self._barred_tail()]
        if final:
            self._begin()
        return rows

    def _barred(self, rows: list[Line]) -> list[Line]:
        return prefixed(rows, self._bar, self._bar)

    def _barred_tail(self) -> list[Line]:
        """The unfinished lines; one that did not change is the same object as before."""
        known = self._tail
        self._tail = [
            known[at] if at < len(known) and known[at][0] is row else (row, self._barred([row])[0])
            for at, row in enumerate(self._document.tail)
        ]
        return [row for _, row in self._tail]


def _level_style(level: int) -> Style:
    return Style(bold=True, underline=level == 1 or None, italic=level > 2 or None)


CODE = "code"  # the key of the block's number in a style's meta data

_TAB = 4
_EDGE = "▎"
_CONTINUED = "↪ "  # before the rest of a line of code


class Fence:
    """A block of code, line by line.

    Args:
        info: The text behind the marks of the fence.
        number: The number of the block in its message.
        cells: Width of its background.
    """

    def __init__(self, info: str, number: int, palette: Palette, cells: int) -> None:
        from tchat.markdown.highlight import Highlighter, language

        self._language = language(info)
        self._number = number
        self._palette = palette
        self._cells = cells
        self._highlighter = Highlighter(self._language, palette.syntax)
        self.source: list[str] = []

    def header(self) -> Line:
        """The line with the language and the copy action."""
        style = self._palette.code_header
        click = style + Style(meta={CODE: self._number})
        copy = [Segment(tr("copy"), on(click, self._palette.action)), Segment(" ", click)]
        room = max(1, self._cells - width(copy) - 2)
        name = cut([Segment(self._language or tr("text"), click)], room)
        space = Segment(" " * (room - width(name)), click)
        start = [Segment(_EDGE, on(self._palette.code, self._palette.rule)), Segment(" ", click)]
        shown = line([*start, *name, space, *copy])
        return line(shown.segments, lead=len(shown.text))

    def lines(self, text: str, *, finished: bool = True) -> list[Line]:
        """A line of code, folded where it is too wide; unless ``finished``, it may grow."""
        if finished:
            self.source.append(text)
        shown = text.expandtabs(_TAB)
        highlight = self._highlighter.line if finished else self._highlighter.preview
        ground, cells = self._palette.code, max(1, self._cells - 3)
        indent = min(len(shown) - len(shown.lstrip()), cells // 3)
        mark = " " * indent + _CONTINUED if cells >= _NARROWEST else ""
        rows = break_code(self._on_ground(highlight(shown)), cells, cells - len(mark))
        drawn = [line(rows[0].segments), *(line(row, joint=joint) for row, joint in rows[1:])]
        edge = Segment(_EDGE, on(ground, self._palette.rule))
        before = [edge, Segment(" ", ground)]
        goes_on = [*before, Segment(mark, on(ground, self._palette.muted))]
        return [filled(row, self._cells, ground) for row in prefixed(drawn, before, goes_on)]

    def _on_ground(self, text: Text) -> list[Segment]:
        """The segments of ``text`` in its colours on the background of the palette."""
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


class PlainText:
    """Text as typed, in one style, without empty lines at its start and end.

    Attributes:
        lines: The final lines; they only get more.
        tail: The line that has no end yet.

    Args:
        cells: Width of the lines.
        first: Segments before the first line.
        rest: Segments before each other line, as wide as ``first``.
        band: Whether the background reaches the end of each line.
    """

    def __init__(
        self,
        style: Style,
        palette: Palette,
        cells: int,
        *,
        first: Sequence[Segment] = (),
        rest: Sequence[Segment] = (),
        band: bool = False,
    ) -> None:
        self._style = style
        self._palette = palette
        self._cells = cells
        self._first, self._others = first, rest
        self._band = band
        self._flow = Flow(self._read, cells - width(first))
        self._rest = ""
        self._blanks = 0
        self.lines: list[Line] = []
        self.tail: list[Line] = []

    def _read(self, text: str) -> list[Segment]:
        return list(linked(text, self._style, self._palette))

    def feed(self, text: str) -> None:
        """Add text, which is printable."""
        *ended, self._rest = (self._rest + text).split("\n")
        for piece in ended:
            self._end_line(piece)
        self.tail = self._drawn(self._rest) if self._rest.strip() else []

    def close(self) -> None:
        """End the text."""
        self.lines += self.tail
        self._rest, self.tail = "", []

    def _end_line(self, text: str) -> None:
        if text.strip():
            self.lines += self._drawn(text)
            self._blanks = 0
        else:
            self._blanks += 1

    def _drawn(self, text: str) -> list[Line]:
        """The rows of ``text`` below the empty lines above it."""
        blanks = self._blanks if self.lines else 0
        rows = [Line()] * blanks + self._flow.lines(text)
        drawn = prefixed(rows, self._others if self.lines else self._first, self._others)
        return [filled(row, self._cells, self._style) for row in drawn] if self._band else drawn
