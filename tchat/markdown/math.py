"""Formulas in Markdown: TeX between ``$``, ``$$``, ``\\( \\)`` and ``\\[ \\]``.

Between these delimiters nothing is Markdown: stars, underscores and backslashes stay. A formula
never contains a blank line. Prices such as $5 and $10, code, and escaped brackets such as
``\\[1\\]`` are not formulas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<skip> (?P<ticks>(?<!`)`+(?!`)) [\s\S]*? (?<!`)(?P=ticks)(?!`)   # code
        | \]\([^()\s]*\) | <[^<>\s]+> | https?://\S+                # addresses
        | \\\\ | \\\$ )                                            # escaped backslash, dollar
    | \\\[ (?P<brackets> (?:\\[^\]]|[^\\])+? ) \\\]
    | \\\( (?P<parentheses> (?:\\[^)]|[^\\])+? ) \\\)
    | \$\$ (?P<dollars> (?:\\[\s\S]|[^\\$]|\$(?!\$))+? ) \$\$
    | (?<![\w$]) \$ (?![\s$]) (?P<dollar> (?:\\.|[^\\$\n])+? ) (?<!\s) \$ (?![\d$])
    | (?P<open> \\\[ | \\\( | (?<![^\n])[ ]*\$\$ | (?<![\w$])\$(?=[^\s$\d][^$\n]*\Z) )
    """,
    re.VERBOSE,
)
_MATHS = re.compile(r"[\\^_{}=+<>|]")
_SURELY = re.compile(r"[\\^]")
_LAST_DOLLAR = re.compile(r"(?<![\w$\\])\$(?=[^\s$\d])[^$\n]*\Z")
_DISPLAY = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\\\|\\\$|\$\$|\\\[|\\\]", re.DOTALL)
_ENDS = {"$$": "$$", "\\[": "\\]"}
_ONE = re.compile(r"\w{1,2}")
_WORD = re.compile(r"[^\W\d_]{3}| (?:or|to) ")


class Formula(NamedTuple):
    """A formula in a text.

    Attributes:
        start: Position of its opening delimiter.
        end: Position behind its closing delimiter.
        tex: The TeX between them; None when it is not closed yet.
    """

    start: int
    end: int
    tex: str | None


def formulas(text: str) -> Iterator[Formula]:
    """The formulas in ``text``, the text of one block."""
    if "$" not in text and "\\" not in text:
        return
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        if match["brackets"] is not None:
            if match["brackets"][0].isspace() or _MATHS.search(match["brackets"]):
                yield Formula(start, end, match["brackets"])
        elif match["dollars"] is not None:
            yield Formula(start, end, match["dollars"])
        elif match["parentheses"] is not None:
            yield Formula(start, end, match["parentheses"])
        elif match["dollar"] is not None:
            if _is_formula(match["dollar"], text[end : end + 1]):
                yield Formula(start, end, match["dollar"])
        elif match["open"] is not None and _is_open(match["open"], text[end:]):
            yield Formula(start, len(text), None)
            return


def _is_formula(tex: str, after: str) -> bool:
    """Whether the text between two dollars is a formula, not a price or a shell variable."""
    if _SURELY.search(tex) or _ONE.fullmatch(tex):
        return True
    if after.isalpha():
        return False
    return bool(_MATHS.search(tex)) or not (tex[0].isdigit() and " " in tex)


def _is_open(mark: str, rest: str) -> bool:
    return bool((_SURELY if mark == "$" else _MATHS).search(rest))


def is_prose(tex: str) -> bool:
    """Whether it holds words and no mathematics: most likely Markdown's escaped brackets."""
    return _MATHS.search(tex) is None and _WORD.search(tex) is not None


def is_open(text: str) -> bool:
    """Whether ``text`` may end inside a formula."""
    end = 0
    for formula in formulas(text):
        if formula.tex is None:
            return True
        end = formula.end
    return _LAST_DOLLAR.search(text, end) is not None


def awaited_end(mark: str, line: str) -> str:
    """The closing mark of the formula that is open behind ``line``; empty for none.

    Only a formula at the start of a line may span lines that would begin another block.

    Args:
        mark: The closing mark of a formula that is open before the line; empty for none.
    """
    if not mark and not line.startswith(tuple(_ENDS)):
        return ""
    for match in _DISPLAY.finditer(line):
        mark = _ENDS.get(match[0], "") if not mark else mark * (match[0] != mark)
    return mark
