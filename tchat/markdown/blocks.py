"""Markdown blocks, and the rules by which the start of a line tells the kind of its block.

The rules are CommonMark's (https://spec.commonmark.org/0.31.2/#container-blocks-and-leaf-blocks)
with GitHub's tables, as far as one line at a time allows. Inline markup is not parsed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

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
