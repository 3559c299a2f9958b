"""Render finished blocks with Rich. Imports Rich."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

from markdown_it.token import Token
from rich import box, markdown
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.segment import Segment, Segments
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from tchat.markdown.highlight import Highlighter, language
from tchat.markdown.inline import parse
from tchat.markdown.splitter import Block, BlockKind

# Rich's own styles have a black background for code, a dark bar on a light terminal.
STYLES = {
    "markdown.code": "bold cyan",
    "markdown.h1": "bold underline",
    "markdown.h2": "bold",
    "markdown.h3": "bold italic",
    "markdown.h4": "italic",
    "markdown.item.number": "bold",
    "markdown.block_quote": "italic",
    "markdown.link": "underline",
    "markdown.link_url": "dim",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
}

# Longer paragraphs are not parsed: a hostile one takes too long.
LONGEST_TEXT = 20_000

_FENCED = (BlockKind.CODE, BlockKind.FENCE_CLOSE)
_APART = (
    BlockKind.HEADING,
    BlockKind.FENCE_OPEN,
    BlockKind.TABLE,
    BlockKind.QUOTE,
    BlockKind.RULE,
    BlockKind.HTML,
)
_APART_BELOW = (
    BlockKind.FENCE_CLOSE,
    BlockKind.TABLE,
    BlockKind.QUOTE,
    BlockKind.RULE,
    BlockKind.HTML,
)


class BlockRenderer:
    """Renders the blocks of one reply in their order.

    Blank lines stand between blocks, never before the first or after the last. The text of blocks
    must be safe to print (`tchat.sanitize.printable`).

    Args:
        code_theme: Theme of Rich or Pygments for code; ``ansi_dark`` uses the terminal's colours.
    """

    def __init__(self, code_theme: str = "ansi_dark") -> None:
        self._code_theme = code_theme
        self._highlighter: Highlighter | None = None
        self._above: BlockKind | None = None
        self._blank = False

    def render(self, block: Block) -> RenderableType | None:
        """The renderable of ``block`` with the blank line above it; ``None`` for a blank line."""
        if block.kind is BlockKind.BLANK:
            self._blank = True
            return None
        gap = self._gap(block)
        self._above, self._blank = block.kind, False
        drawn = self._draw(block)
        return Group(Text(), drawn) if gap else drawn

    def _gap(self, block: Block) -> bool:
        """Whether a blank line stands above ``block``."""
        if self._above is None or self._inside_fence(block):
            return False
        if self._blank:
            return True
        listed = block.kind is BlockKind.ITEM or block.indent > 0
        return not listed and (block.kind in _APART or self._above in _APART_BELOW)

    def _inside_fence(self, block: Block) -> bool:
        return self._highlighter is not None and block.kind in _FENCED

    def _draw(self, block: Block) -> RenderableType:
        if block.kind in (BlockKind.FENCE_OPEN, BlockKind.CODE, BlockKind.FENCE_CLOSE):
            return _code(block, self._code_text(block))
        if block.kind is BlockKind.RULE:
            return Rule(characters="─", style="markdown.hr")
        if block.kind is BlockKind.ITEM:
            return self._item(block)
        body = Text(block.text) if block.kind is BlockKind.HTML else self._text(block.text)
        return Prefixed(" " * block.indent, body) if block.indent else body

    def _code_text(self, block: Block) -> Text:
        if block.kind is BlockKind.CODE:
            return self._highlighter.line(block.text) if self._highlighter else Text(block.text)
        opens = block.kind is BlockKind.FENCE_OPEN
        self._highlighter = Highlighter(language(block.info), self._code_theme) if opens else None
        return Text(block.text, "dim")

    def _item(self, block: Block) -> RenderableType:
        ordered = block.number is not None
        marker = f"{block.number}." if ordered else "•"
        style = "markdown.item.number" if ordered else "markdown.item.bullet"
        return Prefixed(" " * block.indent + marker + " ", self._text(block.text), style)

    def _text(self, text: str) -> RenderableType:
        if len(text) > LONGEST_TEXT:
            return Text(text)
        return self._markdown.of(parse(text))

    @cached_property
    def _markdown(self) -> _Markdown:
        return _Markdown(self._code_theme)


class Prefixed:
    """A renderable with a prefix on each line.

    Args:
        first: Prefix of the first line.
        body: The renderable.
        style: Style of the prefix.
        rest: Prefix of the other lines; spaces of the same width when None.
    """

    def __init__(
        self, first: str, body: RenderableType, style: StyleType = "", rest: str | None = None
    ) -> None:
        self._first = first
        self._body = body
        self._style = style
        self._rest = rest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = cell_len(self._first)
        # At least half of the width is left for the text of deep lists.
        cut = max(0, width - options.max_width // 2)
        first = self._first[cut:]
        rest = " " * (width - cut) if self._rest is None else self._rest
        inner = options.update(width=max(1, options.max_width - (width - cut)))
        style = console.get_style(self._style)
        lines = console.render_lines(self._body, inner, pad=False) or [[]]
        for number, line in enumerate(lines):
            yield Segment(rest if number else first, style)
            yield from line
            yield Segment.line()


def trimmed(segments: Iterable[Segment]) -> Segments:
    """``segments`` without trailing white space, which would be copied with the text."""
    kept: list[Segment] = []
    for line in Segment.split_lines(segments):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            last = line.pop()
            line.append(Segment(last.text.rstrip(), last.style))
        kept += [*line, Segment.line()]
    return Segments(kept)


def _code(block: Block, text: Text) -> Text:
    """A line of code, not wrapped, so that it is copied as one line."""
    line = Text(" " * block.indent, no_wrap=True, overflow="ignore")
    return line.append_text(text)


class _Heading(markdown.Heading):
    """Rich's heading, left-aligned."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _TableElement(markdown.TableElement):
    """Rich's table without the blank lines above and below."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(
            box=box.SIMPLE, pad_edge=False, style="markdown.table.border", show_edge=False
        )
        for cell in self.header.row.cells if self.header and self.header.row else ():
            heading = cell.content.copy()
            heading.stylize("markdown.table.header")
            table.add_column(heading)
        for row in self.body.rows if self.body else ():
            table.add_row(*(cell.content for cell in row.cells))
        yield table


class _Markdown(markdown.Markdown):
    """Rich's Markdown over parsed and sanitized tokens."""

    elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "heading_open": _Heading,
        "table_open": _TableElement,
    }

    def __init__(self, code_theme: str) -> None:
        super().__init__("", code_theme=code_theme, hyperlinks=False)

    def of(self, tokens: list[Token]) -> _Markdown:
        """The same with ``tokens``; a new one makes a parser, which costs more than drawing."""
        made = copy.copy(self)
        made.parsed = tokens
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = super().__rich_console__(console, options)
        # Rich puts a blank line above a container even when nothing stands above it.
        yield from itertools.dropwhile(Segment.line().__eq__, drawn)
