"""Cuts Markdown into finished blocks while it streams in, in linear time.

A block is finished at a blank line, at the next block's first line, and in code at each line's
end. What was given out is never taken back, so the few constructs of CommonMark that a later
block can change, such as the address of a link given further down, are left as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tchat.markdown import blocks
from tchat.markdown.blocks import Block, Fence, Kind, Marker
from tchat.markdown.math import awaited


@dataclass(frozen=True, slots=True)
class _Item:
    """A list item that lines can still belong to, by the columns of its marker and content."""

    marker: Marker
    column: int
    number: int | None


@dataclass(slots=True)
class _Open:
    """The block that is not finished: its source lines, and for an item what follows the marker."""

    kind: Kind
    lines: list[str]
    indent: int
    first: str | None = None
    number: int | None = None
    math: str = ""  # what ends the formula over several lines that is open

    def add(self, line: str) -> None:
        """Take another line."""
        self.lines.append(line)
        if self.kind in (Kind.PARAGRAPH, Kind.ITEM):
            self.math = awaited(self.math, line.strip())

    def block(self) -> Block:
        """The finished block."""
        if self.kind is Kind.HTML:
            texts = [blocks.dedent(line, self.indent) for line in self.lines]
        else:
            texts = [line.lstrip(" \t") for line in self.lines]
        if self.first is not None:
            texts[0] = self.first
        text = "".join(texts).removesuffix("\n")
        return Block(self.kind, "".join(self.lines), text, indent=self.indent, number=self.number)


class BlockSplitter:
    """Text in, finished blocks out.

    However the text is cut into chunks, the blocks are the same, and their sources joined with
    `pending` are the text fed so far.
    """

    def __init__(self) -> None:
        self._rest: list[str] = []  # the line that has no newline yet
        self._open: _Open | None = None
        self._fence: Fence | None = None
        self._items: list[_Item] = []
        self._done: list[Block] = []

    @property
    def pending(self) -> str:
        """The source that is not part of a finished block yet."""
        lines = self._open.lines if self._open else []
        return "".join(lines + self._rest)

    def feed(self, text: str) -> list[Block]:
        """Take the next piece of text; give the blocks that it finished."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._line("".join(self._rest) + line + "\n")
            self._rest.clear()
        if rest:
            self._rest.append(rest)
        return self._take()

    def close(self) -> list[Block]:
        """No more text comes: give what was open."""
        if self._rest:
            self._line("".join(self._rest))
            self._rest.clear()
        self._commit()
        return self._take()

    def preview(self) -> list[Block]:
        """What `close` would give now; nothing changes, and more text may come.

        Costs the length of `pending`.
        """
        twin = BlockSplitter()
        twin._rest = ["".join(self._rest)] if self._rest else []
        twin._open = replace(self._open, lines=self._open.lines.copy()) if self._open else None
        twin._fence, twin._items = self._fence, self._items.copy()
        return twin.close()

    def _take(self) -> list[Block]:
        done, self._done = self._done, []
        return done

    def _line(self, line: str) -> None:
        if self._fence:
            self._code(line, self._fence)
        elif not line.strip():
            self._commit()
            self._done.append(Block(Kind.BLANK, line))
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

    def _code(self, line: str, fence: Fence) -> None:
        if fence.closes(line):
            self._fence = None
            self._emit(Kind.FENCE_CLOSE, line, fence.indent)
        else:
            self._emit_code(line, fence.indent)

    def _emit_code(self, line: str, indent: int) -> None:
        text = blocks.dedent(line, indent).removesuffix("\n")
        self._done.append(Block(Kind.CODE, line, text, indent=indent))

    def _emit(self, kind: Kind, source: str, indent: int, info: str = "") -> None:
        self._done.append(Block(kind, source, source.strip(), info, indent))

    # Where a line belongs.

    def _base(self, line: str) -> int:
        """The content column of the innermost list item that ``line`` stands in; 0 without one."""
        have = blocks.columns(line)
        contents = (item.marker.content for item in reversed(self._items))
        return next((content for content in contents if content <= have), 0)

    def _extends(self, open_: _Open, line: str) -> bool:
        """Add ``line`` to the open block if it belongs to it."""
        text = line.strip()
        if open_.math and not blocks.fence(text):
            open_.add(line)
            return True
        if open_.kind is Kind.PARAGRAPH and self._underlines(line, text):
            open_.lines.append(line)
            open_.kind = Kind.HEADING
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

    def _header_above(self, open_: _Open, text: str) -> bool:
        """Whether the open block's last line is the header of a table that ``text`` delimits."""
        if open_.kind is not Kind.PARAGRAPH and (
            open_.kind is not Kind.ITEM or not open_.lines[1:]
        ):
            return False
        return blocks.is_delimiter(text, open_.lines[-1])

    def _split_table(self, open_: _Open, delimiter: str) -> None:
        header = open_.lines.pop()
        if open_.lines:
            self._commit()
        self._open = _Open(Kind.TABLE, [header, delimiter], self._base(header))

    def _ends(self, kind: Kind, line: str, text: str) -> bool:
        """Whether ``line`` begins a block of its own below an open one of this ``kind``."""
        if kind is Kind.HTML:
            return blocks.fence(text) is not None
        if blocks.columns(line) - self._base(line) >= blocks.TAB_STOP:
            return False
        if kind is Kind.TABLE and not blocks.cells(text):
            return True
        if kind is Kind.QUOTE and text.startswith(">"):
            return False
        if found := blocks.marker(text):
            return self._interrupts(line, found)
        return self._leaf_kind(text) is not Kind.PARAGRAPH

    def _interrupts(self, line: str, found: Marker) -> bool:
        """Whether a marker begins an item here, and is no number or dash of a sentence."""
        sibling = bool(self._items) and blocks.columns(line) < self._items[-1].marker.content
        return sibling or (bool(found.text) and found.number in (None, 1))

    def _leaf_kind(self, text: str) -> Kind:
        """The kind of the block, other than an item, that ``text`` begins."""
        if blocks.fence(text):
            return Kind.FENCE_OPEN
        if blocks.is_heading(text):
            return Kind.HEADING
        if blocks.is_rule(text):
            return Kind.RULE
        if blocks.is_html(text):
            return Kind.HTML
        return Kind.QUOTE if text.startswith(">") else Kind.PARAGRAPH

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
        if kind is Kind.FENCE_OPEN:
            self._begin_fence(line, column, base)
        elif kind in (Kind.HEADING, Kind.RULE):
            self._emit(kind, line, base)
        else:
            math = awaited("", text) if kind is Kind.PARAGRAPH else ""
            self._open = _Open(kind, [line], base, math=math)

    def _begin_fence(self, line: str, column: int, base: int) -> None:
        self._fence = blocks.fence(line.strip(), column, base)
        self._emit(Kind.FENCE_OPEN, line, column, self._fence.info if self._fence else "")

    def _begin_item(self, line: str, column: int, found: Marker) -> None:
        before: _Item | None = None
        while self._items and self._items[-1].marker.content > column:
            before = self._items.pop()
        number = found.number
        if before and before.marker.type == found.type and before.number is not None:
            number = before.number + 1
        self._items.append(_Item(found, column, number))
        if blocks.fence(found.text.strip()):
            cut = len(line) - len(found.text)
            self._done.append(Block(Kind.ITEM, line[:cut], indent=column, number=number))
            self._begin_fence(line[cut:], found.content, found.content)
        else:
            math = awaited("", found.text.strip())
            self._open = _Open(Kind.ITEM, [line], column, found.text, number, math)
