"""Code blocks of a complete reply: CommonMark's fences, and fences as models write them.

A closing fence follows CommonMark: the same character, at least as many, indented by at most three
columns, nothing behind. Models also open fences behind text (``Sure: ```python``), or leave the
opening fence out. These are recognized with the whole reply at hand, which
`tchat.markdown.BlockSplitter` cannot do line by line.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tchat.markdown.splitter import (
    TAB_STOP,
    CodeFence,
    columns,
    dedent,
    fence,
    fence_behind,
    marker,
)

_QUOTE = re.compile(r" {0,3}> ?")
_FENCE_LIKE = re.compile(r"[ \t>]*(?:`{3}|~{3})")
# An opening that CommonMark takes for code in a sentence: ```py title=`x`
_TICKED = re.compile(r"(`{3,})(?!.*`{3})([\w+#.-]+[ \t].*`.*)")
_IN_ONE_LINE = re.compile(r"```+(?!`)([^`\n]+)```+")


class CodeBlock(NamedTuple):
    """One block of code.

    Attributes:
        info: Info string of the fence, for example ``python``.
        code: The code without its last newline.
    """

    info: str
    code: str


def code_blocks(text: str) -> list[CodeBlock]:
    """The code blocks of ``text``, without blank ones."""
    found = _CodeScanner(text.split("\n")).blocks()
    if not found and (match := _IN_ONE_LINE.fullmatch(text.strip())):
        found = [CodeBlock("", match[1].strip())]
    return [block for block in found if block.code.strip()]


def first_code_block(text: str) -> str | None:
    """The code of the first non-blank block in ``text``; ``None`` when there is none."""
    blocks = code_blocks(text)
    return blocks[0].code if blocks else None


@dataclass(frozen=True, slots=True)
class _Opening:
    """An opening fence and the prefix of its lines.

    Attributes:
        fence: The fence.
        quotes: Depth of block quotes around it.
        dedent: Columns of indentation to remove from its lines.
        behind: Whether it stands behind text.
    """

    fence: CodeFence
    quotes: int
    dedent: int
    behind: bool = False


class _CodeScanner:
    """One pass over the lines of a reply."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._fences = [at for at, line in enumerate(lines) if _FENCE_LIKE.match(line)]
        self._items: list[int] = []  # content columns of the enclosing list items
        self._after = 0  # the first line behind the last block

    def blocks(self) -> list[CodeBlock]:
        """All blocks, also blank ones."""
        found: list[CodeBlock] = []
        at = 0
        while at < len(self._lines):
            opening = self._opening(at)
            if opening is None:
                at += 1
                continue
            if self._is_closing(at, opening):
                found.append(CodeBlock("", self._unopened(at)))
                at += 1
            else:
                block, at = self._read(at, opening)
                found.append(block)
            self._after = at
        return found

    def _opening(self, at: int) -> _Opening | None:
        """The fence that a line opens."""
        line, quotes = _unquoted(self._lines[at].rstrip("\r"))
        base = self._base(line)
        text, column = line.lstrip(" \t"), columns(line)
        while found := marker(text, column):
            text, column = found.text, found.content
            base = column
            self._items.append(column)
        # With four columns it would be indented code, which models do not mean.
        opened = fence(text.rstrip(), column, base if column - base < TAB_STOP else column)
        if opened is None and (ticked := _TICKED.fullmatch(text.rstrip())):
            opened = CodeFence("`", len(ticked[1]), column, ticked[2], base)
        if opened:
            return _Opening(opened, quotes, column)
        if behind := fence_behind(text.rstrip(), base):
            opening = _Opening(behind[1], quotes, base, behind=True)
            after = self._next_fence(at, opening)
            # A sentence may end in such marks: `put it between ```.
            if after is not None and not after.info:
                return opening
            if opening.fence.info and self._next_fence(at, opening, closing=True) is None:
                return opening
        return None

    def _base(self, line: str) -> int:
        """The content column of the list item that ``line`` stands in; 0 without one."""
        if line.strip():
            have = columns(line)
            self._items = [column for column in self._items if column <= have]
        return self._items[-1] if self._items else 0

    def _next_fence(self, at: int, opening: _Opening, *, closing: bool = False) -> CodeFence | None:
        """The next line behind ``at`` that could close the fence, or opens another like it.

        With ``closing`` only one that could close it.
        """
        like = opening.fence
        for place in self._fences[bisect_right(self._fences, at) :]:
            text = _unquoted(self._lines[place].rstrip("\r"), opening.quotes)[0]
            found = fence(text.strip(), columns(text), like.base)
            same = found and found.char == like.char and found.length >= like.length
            opens = found and found.info and not closing
            if found and same and (opens or like.closes(text)):
                return found
        return None

    def _is_closing(self, at: int, opening: _Opening) -> bool:
        """Whether a fence without info string closes code whose opening fence is missing."""
        before = self._lines[self._after : at]
        if opening.fence.info or not "".join(before).strip():
            return False
        after = self._next_fence(at, opening)
        if after is not None and not after.info:
            return False  # a pair
        behind = self._lines[at + 1 :]
        if not "".join(behind).strip():
            return True
        last = before[-1].strip()
        return bool(last) and not last.endswith(":") and not behind[0].strip()

    def _unopened(self, at: int) -> str:
        """The code before the closing fence in line ``at``, whose opening fence is missing."""
        before = bisect_left(self._fences, at)
        last = self._fences[before - 1] if before else -1
        return _code(self._lines[max(last + 1, self._after) : at])

    def _read(self, at: int, opening: _Opening) -> tuple[CodeBlock, int]:
        """The block that a line opens, and the line behind it."""
        code: list[str] = []
        for number in range(at + 1, len(self._lines)):
            line, quotes = _unquoted(self._lines[number], opening.quotes)
            if quotes < opening.quotes:  # the end of the quote ends its code
                return CodeBlock(opening.fence.info, "\n".join(code)), number
            if opening.fence.closes(line.rstrip("\r")):
                return CodeBlock(opening.fence.info, "\n".join(code)), number + 1
            code.append(dedent(line, opening.dedent))
        return CodeBlock(opening.fence.info, _unclosed(code, opening)), len(self._lines)


def _unquoted(line: str, most: int = TAB_STOP * TAB_STOP) -> tuple[str, int]:
    """``line`` without at most ``most`` quote markers, and their number."""
    quotes = 0
    while quotes < most and (match := _QUOTE.match(line)):
        line = line[match.end() :]
        quotes += 1
    return line, quotes


def _unclosed(code: Sequence[str], opening: _Opening) -> str:
    """Code without a closing fence line: a fence may stand behind its last line.

    When the opening fence stands behind text, a fence with text behind it closes too.
    """
    opened = opening.fence
    for number, line in enumerate(code if opening.behind else ()):
        marks = line.lstrip(" ").split(maxsplit=1)
        if len(marks) == 2 and opened.closes(marks[0]) and columns(line) < TAB_STOP:
            return "\n".join(code[:number])
    text = "\n".join(code).removesuffix("\n")
    kept = text.rstrip().rstrip(opened.char)
    return kept if len(text.rstrip()) - len(kept) >= opened.length else text


def _code(lines: Sequence[str]) -> str:
    """Code without an opening fence: the lines, blank ones around them removed."""
    return "\n".join(lines).strip("\r\n")
