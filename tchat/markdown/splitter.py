"""Split streaming Markdown into finished blocks, in linear time.

A block is finished by a blank line or by the first line of the next block; in code each line is a
block. A returned block never changes, so CommonMark's constructs that a later block can change,
such as link reference definitions, are not resolved.

The start of a line tells the kind of its block, by CommonMark's rules
(https://spec.commonmark.org/0.31.2/#container-blocks-and-leaf-blocks) with GitHub's tables, as far
as one line at a time allows. Inline markup is not parsed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from tchat.markdown.math import awaited_end


@dataclass(frozen=True, slots=True)
class _OpenItem:
    """A list item that further lines can belong to."""

    marker: ListMarker
    column: int
    number: int | None


@dataclass(slots=True)
class _OpenBlock:
    """The unfinished block: its source lines, and for an item the text behind its marker."""

    kind: BlockKind
    lines: list[str]
    indent: int
    first: str | None = None
    number: int | None = None
    math: str = ""  # the closing mark of an open formula over several lines

    def add(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)
        if self.kind in (BlockKind.PARAGRAPH, BlockKind.ITEM):
            self.math = awaited_end(self.math, line.strip())

    def block(self) -> Block:
        """The finished block."""
        if self.kind is BlockKind.HTML:
            texts = [dedent(line, self.indent) for line in self.lines]
        else:
            texts = [line.lstrip(" \t") for line in self.lines]
        if self.first is not None:
            texts[0] = self.first
        text = "".join(texts).removesuffix("\n")
        return Block(self.kind, "".join(self.lines), text, indent=self.indent, number=self.number)


class BlockSplitter:
    """Splits streamed text into finished blocks.

    The blocks do not depend on how the text is chunked; their sources, joined with `pending`, are
    the text fed so far.
    """

    def __init__(self) -> None:
        self._rest: list[str] = []  # the line that has no newline yet
        self._open: _OpenBlock | None = None
        self._fence: CodeFence | None = None
        self._items: list[_OpenItem] = []
        self._done: list[Block] = []

    @property
    def pending(self) -> str:
        """The source of the unfinished block."""
        lines = self._open.lines if self._open else []
        return "".join(lines + self._rest)

    def feed(self, text: str) -> list[Block]:
        """Add text; returns the blocks that it finished."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._line("".join(self._rest) + line + "\n")
            self._rest.clear()
        if rest:
            self._rest.append(rest)
        return self._take()

    def close(self) -> list[Block]:
        """End of the text; returns the remaining blocks."""
        if self._rest:
            self._line("".join(self._rest))
            self._rest.clear()
        self._commit()
        return self._take()

    def preview(self) -> list[Block]:
        """The blocks that `close` would return now; the state does not change.

        Takes time by the length of `pending`.
        """
        copy = BlockSplitter()
        copy._rest = ["".join(self._rest)] if self._rest else []
        copy._open = replace(self._open, lines=self._open.lines.copy()) if self._open else None
        copy._fence, copy._items = self._fence, self._items.copy()
        return copy.close()

    def _take(self) -> list[Block]:
        done, self._done = self._done, []
        return done

    def _line(self, line: str) -> None:
        if self._fence:
            self._code(line, self._fence)
        elif not line.strip():
            self._commit()
            self._done.append(Block(BlockKind.BLANK, line))
        elif (behind := fence_behind(line.rstrip())) and behind[1].info:
            self._line(behind[0])
            self._commit()
            base = self._base(line)
            self._begin_fence(line[len(behind[0]) :], base, base)
        elif not (self._open and self._extends(self._open, line)):
            self._commit()
            self._begin(line)

    def _commit(self) -> None:
        """Finish the open block."""
        if self._open:
            self._done.append(self._open.block())
            self._open = None

    def _code(self, line: str, fence: CodeFence) -> None:
        if fence.closes(line):
            self._fence = None
            self._emit(BlockKind.FENCE_CLOSE, line, fence.indent)
        else:
            self._emit_code(line, fence.indent)

    def _emit_code(self, line: str, indent: int) -> None:
        text = dedent(line, indent).removesuffix("\n")
        self._done.append(Block(BlockKind.CODE, line, text, indent=indent))

    def _emit(self, kind: BlockKind, source: str, indent: int, info: str = "") -> None:
        self._done.append(Block(kind, source, source.strip(), info, indent))

    # Where a line belongs.

    def _base(self, line: str) -> int:
        """The content column of the innermost list item that ``line`` stands in; 0 without one."""
        have = columns(line)
        contents = (item.marker.content for item in reversed(self._items))
        return next((content for content in contents if content <= have), 0)

    def _extends(self, open_: _OpenBlock, line: str) -> bool:
        """Add ``line`` to the open block if it belongs to it."""
        text = line.strip()
        if open_.math and not fence(text):
            open_.add(line)
            return True
        if open_.kind is BlockKind.PARAGRAPH and self._underlines(line, text):
            open_.lines.append(line)
            open_.kind = BlockKind.HEADING
            self._commit()
            return True
        if self._header_above(open_, text):
            self._split_table(open_, line)
            return True
        if self._ends(open_.kind, line, text):
            return False
        open_.add(line)
        return True

    def _underlines(self, line: str, text: str) -> bool:
        base = self._items[-1].marker.content if self._items else 0
        return is_underline(text) and 0 <= columns(line) - base < TAB_STOP

    def _header_above(self, open_: _OpenBlock, text: str) -> bool:
        """Whether the open block's last line is the header of a table that ``text`` delimits."""
        if open_.kind is not BlockKind.PARAGRAPH and (
            open_.kind is not BlockKind.ITEM or not open_.lines[1:]
        ):
            return False
        return is_delimiter(text, open_.lines[-1])

    def _split_table(self, open_: _OpenBlock, delimiter: str) -> None:
        header = open_.lines.pop()
        if open_.lines:
            self._commit()
        self._open = _OpenBlock(BlockKind.TABLE, [header, delimiter], self._base(header))

    def _ends(self, kind: BlockKind, line: str, text: str) -> bool:
        """Whether ``line`` begins a block of its own below an open one of this ``kind``."""
        if kind is BlockKind.HTML:
            return fence(text) is not None
        if columns(line) - self._base(line) >= TAB_STOP:
            return False
        if kind is BlockKind.TABLE and not cells(text):
            return True
        if kind is BlockKind.QUOTE and text.startswith(">"):
            return False
        if found := marker(text):
            return self._interrupts(line, found)
        return self._leaf_kind(text) is not BlockKind.PARAGRAPH

    def _interrupts(self, line: str, found: ListMarker) -> bool:
        """Whether a marker begins an item here; it may be a number or dash of a sentence."""
        sibling = bool(self._items) and columns(line) < self._items[-1].marker.content
        return sibling or (bool(found.text) and found.number in (None, 1))

    def _leaf_kind(self, text: str) -> BlockKind:
        """The kind of the block, other than an item, that ``text`` begins."""
        if fence(text):
            return BlockKind.FENCE_OPEN
        if is_heading(text):
            return BlockKind.HEADING
        if is_rule(text):
            return BlockKind.RULE
        if is_html(text):
            return BlockKind.HTML
        return BlockKind.QUOTE if text.startswith(">") else BlockKind.PARAGRAPH

    # How a block begins.

    def _begin(self, line: str) -> None:
        text, column, base = line.strip(), columns(line), self._base(line)
        code = column - base >= TAB_STOP
        if not code and (found := marker(line.lstrip(" \t"), column)):
            self._begin_item(line, column, found)
            return
        self._items = [item for item in self._items if item.marker.content <= column]
        if code:
            self._emit_code(line, base + TAB_STOP)
            return
        kind = self._leaf_kind(text)
        if kind is BlockKind.FENCE_OPEN:
            self._begin_fence(line, column, base)
        elif kind in (BlockKind.HEADING, BlockKind.RULE):
            self._emit(kind, line, base)
        else:
            math = awaited_end("", text) if kind is BlockKind.PARAGRAPH else ""
            self._open = _OpenBlock(kind, [line], base, math=math)

    def _begin_fence(self, line: str, column: int, base: int) -> None:
        self._fence = fence(line.strip(), column, base)
        self._emit(BlockKind.FENCE_OPEN, line, column, self._fence.info if self._fence else "")

    def _begin_item(self, line: str, column: int, found: ListMarker) -> None:
        before: _OpenItem | None = None
        while self._items and self._items[-1].marker.content > column:
            before = self._items.pop()
        number = found.number
        if before and before.marker.type == found.type and before.number is not None:
            number = before.number + 1
        self._items.append(_OpenItem(found, column, number))
        if fence(found.text.strip()):
            cut = len(line) - len(found.text)
            self._done.append(Block(BlockKind.ITEM, line[:cut], indent=column, number=number))
            self._begin_fence(line[cut:], found.content, found.content)
        else:
            math = awaited_end("", found.text.strip())
            self._open = _OpenBlock(BlockKind.ITEM, [line], column, found.text, number, math)


TAB_STOP = 4

_MARKER = re.compile(r"([-*+]|(\d{1,9})([.)]))(?=[ \t]|$)")
_HEADING = re.compile(r"#{1,6}(?=[ \t]|$)")
_FENCE = re.compile(r"(`{3,}|~{3,})(.*)", re.DOTALL)
_FENCE_BEHIND = re.compile(r"(.*[^`\s][ \t]*)(`{3,})([\w+#.-]*)[ \t]*")
_RUN = re.compile("`{3,}")
_HTML = re.compile(r"<(?:[!?]|/?[A-Za-z][A-Za-z0-9-]*(?=[\s/>]))")


class BlockKind(StrEnum):
    """The kind of a block."""

    BLANK = "blank"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"  # one list item, up to its first blank line or nested item
    FENCE_OPEN = "fence open"
    CODE = "code"  # one line, of a fence or of indented code
    FENCE_CLOSE = "fence close"
    TABLE = "table"
    QUOTE = "quote"
    RULE = "rule"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block of Markdown.

    Attributes:
        kind: Its kind.
        source: Its exact source; the sources of all blocks, joined, are the input.
        text: The text to render: the source without the indentation and marker of list items
            around it, and without its last newline. For an item, the text behind its marker.
        info: Info string of an opening fence, for example ``python``.
        indent: Columns of indentation; for an item, those of its marker.
        number: Number of an ordered item, counted from the list's first; ``None`` for a bullet.
    """

    kind: BlockKind
    source: str
    text: str = ""
    info: str = ""
    indent: int = 0
    number: int | None = None


@dataclass(frozen=True, slots=True)
class CodeFence:
    """An opening code fence: its character, length, column and info string.

    ``base`` is the content column of the list item that it stands in, 0 without one.
    """

    char: str
    length: int
    indent: int
    info: str
    base: int = 0

    def closes(self, line: str) -> bool:
        """Whether ``line`` ends this fence.

        It may be indented by up to three columns; with more it is code, for example in a
        docstring. It may be indented less than the opening fence.
        """
        marks = line.strip()
        if len(marks) < self.length or marks.strip(self.char):
            return False
        return columns(line) - self.base < TAB_STOP


@dataclass(frozen=True, slots=True)
class ListMarker:
    """A list marker.

    Attributes:
        type: Character that the items of one list share: ``-``, ``*``, ``+``, ``.`` or ``)``.
        number: The number as written; ``None`` for a bullet.
        content: Column of the item's content.
        text: Rest of the line behind the marker.
    """

    type: str
    number: int | None
    content: int
    text: str


def columns(text: str, start: int = 0) -> int:
    """Columns of leading white space of ``text``, which begins in column ``start``.

    A tab reaches to the next multiple of 4.
    """
    column = start
    for char in text:
        if char == " ":
            column += 1
        elif char == "\t":
            column += TAB_STOP - column % TAB_STOP
        else:
            break
    return column - start


def dedent(line: str, width: int) -> str:
    """``line`` with up to ``width`` columns of its leading white space removed."""
    have = columns(line)
    return " " * max(0, have - width) + line.lstrip(" \t") if have and width else line


def fence(text: str, column: int = 0, base: int = 0) -> CodeFence | None:
    """The code fence that ``text``, which begins in ``column``, opens in an item at ``base``."""
    if not (match := _FENCE.match(text)):
        return None
    marks, info = match[1], match[2].strip()
    if marks[0] == "`" and "`" in info:
        return None  # inline code, not a fence
    return CodeFence(marks[0], len(marks), column, info, base)


def fence_behind(text: str, base: int = 0) -> tuple[str, CodeFence] | None:
    """The code fence at the end of ``text``, as in ``Sure: ```python``, and the text before it."""
    match = _FENCE_BEHIND.fullmatch(text)
    if match is None or len(_RUN.findall(match[1])) % 2:
        return None  # it closes inline code
    return match[1], CodeFence("`", len(match[2]), base, match[3], base)


def marker(text: str, column: int = 0) -> ListMarker | None:
    """The list marker that ``text``, which begins in ``column``, begins with."""
    if is_rule(text) or not (match := _MARKER.match(text)):
        return None
    rest = text[match.end() :]
    content = rest.lstrip(" \t")
    gap = columns(rest, column + match.end())
    if gap > TAB_STOP or not content.strip():
        gap = 1  # more columns belong to the content
    number = int(match[2]) if match[2] else None
    return ListMarker(match[3] or match[1], number, column + match.end() + gap, content)


def is_heading(text: str) -> bool:
    """Whether ``text`` is a heading marked with ``#``."""
    return _HEADING.match(text) is not None


def is_rule(text: str) -> bool:
    """Whether ``text`` is a thematic break: three or more of one of ``-*_`` and white space."""
    marks = "".join(text.split())
    return len(marks) >= 3 and marks[0] in "-*_" and not marks.strip(marks[0])


def is_underline(text: str) -> bool:
    """Whether ``text`` is the underline of a setext heading."""
    marks = text.strip()
    return bool(marks) and marks[0] in "=-" and not marks.strip(marks[0])


def is_html(text: str) -> bool:
    """Whether ``text`` is a line of HTML: a comment, or text between two tags."""
    match = _HTML.match(text)
    return bool(match) and (text[1] in "!?" or text.rstrip().endswith(">"))


def cells(row: str) -> int:
    """Number of cells of a table row; 0 without a ``|``."""
    bars = row.count("|") - row.count("\\|")
    if not bars:
        return 0
    inner = row.strip()
    return bars + 1 - inner.startswith("|") - (inner.endswith("|") and not inner.endswith("\\|"))


def is_delimiter(row: str, header: str) -> bool:
    """Whether ``row`` is the delimiter row of a table with the line ``header`` above it."""
    parts = row.strip().strip("|").split("|")
    return cells(row) == cells(header) > 0 and all(_is_dashes(part.strip()) for part in parts)


def _is_dashes(cell: str) -> bool:
    return "-" in cell and not cell.removeprefix(":").removesuffix(":").strip("-")
