"""Formulas in Markdown: TeX between ``$``, ``$$``, ``\\( \\)`` and ``\\[ \\]``.

What is between these marks is no Markdown: its stars, underscores and backslashes stay. A formula
never contains a blank line. Prices such as $5 and $10 are no formulas, and neither is code, nor
what is in brackets that Markdown wants escaped, ``\\[1\\]``.
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
        start: Where its marks begin, in characters.
        end: Where they end.
        tex: What is between them; None where they are not closed: its end is still to come.
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
    """Whether what is between two dollars is no price and no name of a shell's variable."""
    if _SURELY.search(tex) or _ONE.fullmatch(tex):
        return True
    if after.isalpha():
        return False
    return bool(_MATHS.search(tex)) or not (tex[0].isdigit() and " " in tex)


def _is_open(mark: str, rest: str) -> bool:
    return bool((_SURELY if mark == "$" else _MATHS).search(rest))


def is_prose(tex: str) -> bool:
    """Whether there are words and no mathematics: Markdown's own ``\\( and \\)``, most likely."""
    return _MATHS.search(tex) is None and _WORD.search(tex) is not None


def is_open(text: str) -> bool:
    """Whether ``text`` ends inside what may become a formula."""
    end = 0
    for formula in formulas(text):
        if formula.tex is None:
            return True
        end = formula.end
    return _LAST_DOLLAR.search(text, end) is not None


def awaited(mark: str, line: str) -> str:
    """What ends the formula over several lines that is open behind ``line``; empty without one.

    Only one that begins a line may reach over lines that would begin another block.

    Args:
        mark: The same before the line.
    """
    if not mark and not line.startswith(tuple(_ENDS)):
        return ""
    for match in _DISPLAY.finditer(line):
        mark = _ENDS.get(match[0], "") if not mark else mark * (match[0] != mark)
    return mark
