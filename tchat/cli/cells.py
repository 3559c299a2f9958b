"""Widths in terminal cells, and lines broken at words."""

from __future__ import annotations

import unicodedata

GAP = "  "  # between columns


class WordWrap:
    """Breaks a growing text at words, and at wide characters; a word is never broken.

    Args:
        width: Cells of a line.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._at = 0  # cells of the line so far
        self._gap = ""  # blanks before the word
        self._word = ""

    def feed(self, text: str) -> str:
        """Append ``text``; returns what is final."""
        return "".join(map(self._fed, text))

    def close(self) -> str:
        """The last word."""
        return self._put_word()

    def _fed(self, character: str) -> str:
        if character == "\n":
            done = self._put_word() + "\n"
            self._at, self._gap = 0, ""
            return done
        if character.isspace():
            done = self._put_word()
            self._gap += character
            return done
        done = ""
        # Wide scripts have no blanks: a line can end between any two characters.
        is_wide = 2 in map(_cells_of, self._word[-1:] + character)
        if self._word and is_wide and character not in NEVER_FIRST:
            done = self._put_word()
        self._word += character
        return done

    def _put_word(self) -> str:
        if not self._word:
            return ""
        wide, gap, word = cell_width(self._word), self._gap, self._word
        self._gap = self._word = ""
        if self._at and self._at + len(gap) + wide > self._width:
            self._at = wide
            return f"\n{word}"
        self._at += len(gap) + wide
        return gap + word


NEVER_FIRST = frozenset("，。、；：！？）》」』】”’…,.;:!?)]}")


def wrap_cells(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, as far as its words allow."""
    wrap = WordWrap(width)
    return (wrap.feed(text) + wrap.close()).split("\n")


def wrapped(text: str, width: int) -> str:
    """``text`` with its lines broken at words; the rest of a table's line stays in its column."""
    lines: list[str] = []
    for line in text.split("\n"):
        if cell_width(line) <= width:
            lines.append(line)
            continue
        hang = _last_column(line)
        hang = hang if hang < width // 2 else 0
        first, *rest = wrap_cells(line[hang:], width - cell_width(line[:hang]))
        lines += [line[:hang] + first, *(" " * cell_width(line[:hang]) + each for each in rest)]
    return "\n".join(lines)


def _last_column(line: str) -> int:
    """Where the text behind the last wide gap of ``line`` begins; 0 without one."""
    gap = line.rfind(GAP)
    return gap + len(GAP) if gap >= 0 else 0


def cell_width(text: str) -> int:
    """Terminal cells of a line: CJK and emoji take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def truncate(text: str, width: int) -> str:
    """``text`` within ``width`` cells; what is cut off is marked with ``…``."""
    return text if cell_width(text) <= width else text[: fitting_length(text, width - 1)] + "…"


def fitting_length(text: str, width: int) -> int:
    """How many characters of ``text`` fit into ``width`` cells."""
    if text.isascii():
        return min(len(text), max(width, 0))
    used = 0
    for count, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return count
    return len(text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
