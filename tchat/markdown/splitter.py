"""Split streaming Markdown into finished blocks, in linear time.

A block is finished by a blank line or by the first line of the next block; in code each line is a
block. A returned block never changes, so CommonMark's constructs that a later block can change,
such as link reference definitions, are not resolved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tchat.markdown import blocks
from tchat.markdown.blocks import Block, BlockKind, CodeFence, ListMarker
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
            texts = [blocks.dedent(line, self.indent) for line in self.lines]
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
        elif (behind := blocks.fence_behind(line.rstrip())) and behind[1].info:
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
        text = blocks.dedent(line, indent).removesuffix("\n")
        self._done.append(Block(BlockKind.CODE, line, text, indent=indent))

    def _emit(self, kind: BlockKind, source: str, indent: int, info: str = "") -> None:
        self._done.append(Block(kind, source, source.strip(), info, indent))

    # Where a line belongs.

    def _base(self, line: str) -> int:
        """The content column of the innermost list item that ``line`` stands in; 0 without one."""
        have = blocks.columns(line)
        contents = (item.marker.content for item in reversed(self._items))
        return next((content for content in contents if content <= have), 0)

    def _extends(self, open_: _OpenBlock, line: str) -> bool:
        """Add ``line`` to the open block if it belongs to it."""
        text = line.strip()
        if open_.math and not blocks.fence(text):
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
        return blocks.is_underline(text) and 0 <= blocks.columns(line) - base < blocks.TAB_STOP

    def _header_above(self, open_: _OpenBlock, text: str) -> bool:
        """Whether the open block's last line is the header of a table that ``text`` delimits."""
        if open_.kind is not BlockKind.PARAGRAPH and (
            open_.kind is not BlockKind.ITEM or not open_.lines[1:]
        ):
            return False
        return blocks.is_delimiter(text, open_.lines[-1])

    def _split_table(self, open_: _OpenBlock, delimiter: str) -> None:
        header = open_.lines.pop()
        if open_.lines:
            self._commit()
        self._open = _OpenBlock(BlockKind.TABLE, [header, delimiter], self._base(header))

    def _ends(self, kind: BlockKind, line: str, text: str) -> bool:
        """Whether ``line`` begins a block of its own below an open one of this ``kind``."""
        if kind is BlockKind.HTML:
            return blocks.fence(text) is not None
        if blocks.columns(line) - self._base(line) >= blocks.TAB_STOP:
            return False
        if kind is BlockKind.TABLE and not blocks.cells(text):
            return True
        if kind is BlockKind.QUOTE and text.startswith(">"):
            return False
        if found := blocks.marker(text):
            return self._interrupts(line, found)
        return self._leaf_kind(text) is not BlockKind.PARAGRAPH

    def _interrupts(self, line: str, found: ListMarker) -> bool:
        """Whether a marker begins an item here; it may be a number or dash of a sentence."""
        sibling = bool(self._items) and blocks.columns(line) < self._items[-1].marker.content
        return sibling or (bool(found.text) and found.number in (None, 1))

    def _leaf_kind(self, text: str) -> BlockKind:
        """The kind of the block, other than an item, that ``text`` begins."""
        if blocks.fence(text):
            return BlockKind.FENCE_OPEN
        if blocks.is_heading(text):
            return BlockKind.HEADING
        if blocks.is_rule(text):
            return BlockKind.RULE
        if blocks.is_html(text):
            return BlockKind.HTML
        return BlockKind.QUOTE if text.startswith(">") else BlockKind.PARAGRAPH

    # How a block begins.

    def _begin(self, line: str) -> None:
        text, column, base = line.strip(), blocks.columns(line), self._base(line)
        code = column - base >= blocks.TAB_STOP
        if not code and (found := blocks.marker(line.lstrip(" \t"), column)):
            self._begin_item(line, column, found)
            return
        self._items = [item for item in self._items if item.marker.content <= column]
        if code:
            self._emit_code(line, base + blocks.TAB_STOP)
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
        self._fence = blocks.fence(line.strip(), column, base)
        self._emit(BlockKind.FENCE_OPEN, line, column, self._fence.info if self._fence else "")

    def _begin_item(self, line: str, column: int, found: ListMarker) -> None:
        before: _OpenItem | None = None
        while self._items and self._items[-1].marker.content > column:
            before = self._items.pop()
        number = found.number
        if before and before.marker.type == found.type and before.number is not None:
            number = before.number + 1
        self._items.append(_OpenItem(found, column, number))
        if blocks.fence(found.text.strip()):
            cut = len(line) - len(found.text)
            self._done.append(Block(BlockKind.ITEM, line[:cut], indent=column, number=number))
            self._begin_fence(line[cut:], found.content, found.content)
        else:
            math = awaited_end("", found.text.strip())
            self._open = _OpenBlock(BlockKind.ITEM, [line], column, found.text, number, math)
