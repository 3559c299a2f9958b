"""Make untrusted text safe to print.

Replies, file names and chat templates can hold escape sequences that write the clipboard, move the
cursor or reverse the reading order. No sequence is parsed: each character is replaced on its own,
so a sequence cannot be hidden across two chunks.

==========================================  =========================================
C0 except newline and tab                   its picture, ESC → ``␛``
DEL; C1                                     ``␡``; ``⟦U+009B⟧``
CRLF, CR, U+2028, U+2029                    newline
bidirectional and shaping controls          ``⟦U+202E⟧``
zero-width space, joiners of words, tags    dropped
ZWJ, ZWNJ, variation selectors              kept: emoji and Persian need them
lone surrogates                             U+FFFD
==========================================  =========================================

Text is stored raw, and sanitized when it is shown.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

_LINE_LIMIT = 200


def _c0() -> Iterable[int]:
    """C0 controls except newline and tab."""
    return (code for code in range(0x20) if chr(code) not in "\n\t")


def _named() -> Iterable[int]:
    """C1 controls, then characters that control reading order or shaping."""
    yield from range(0x80, 0xA0)
    yield from (0x061C, 0x200E, 0x200F)
    yield from range(0x202A, 0x202F)
    yield from range(0x2066, 0x2070)


def _invisible() -> Iterable[int]:
    """Invisible characters, which can carry hidden text."""
    yield from (0x180E, 0x200B, 0xFEFF)
    yield from range(0x2060, 0x2065)
    yield from range(0xFFF9, 0xFFFC)
    yield from range(0xE0000, 0xE0080)


@functools.cache
def _table() -> dict[int, str | None]:
    """The `str.translate` table of unsafe characters."""
    table: dict[int, str | None] = dict.fromkeys(_invisible())
    table.update((code, f"⟦U+{code:04X}⟧") for code in _named())
    table.update(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))
    table.update((code, chr(0x2400 + code)) for code in _c0())
    table[0x7F] = "␡"
    table.update(dict.fromkeys((0x0D, 0x2028, 0x2029), "\n"))
    return table


@functools.cache
def _revealing_table() -> dict[int, str | None]:
    """As `_table`, with a name for what that drops."""
    return {**_table(), **{code: f"⟦U+{code:04X}⟧" for code in _invisible()}}


@functools.cache
def _json_table() -> dict[int, str]:
    """The ``\\u`` escape of each unsafe character, as JSON writes it (in UTF-16 units)."""
    escapes = {}
    for code in _table():
        units = chr(code).encode("utf-16-be", "surrogatepass").hex()
        escapes[code] = "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return escapes


def printable(text: str) -> str:
    """Replace or drop every character of ``text`` that could act on a terminal.

    The result holds no controls except newline and tab, and no bidirectional controls. The function
    is idempotent.
    """
    return text.replace("\r\n", "\n").translate(_table())


def revealed(text: str) -> str:
    """As `printable`, but invisible characters are shown by their numbers, too: ``⟦U+200B⟧``.

    For what others wrote and a model reads, such as results of tools: nothing in it is hidden.
    """
    return text.replace("\r\n", "\n").translate(_revealing_table())


class PrintableStream:
    """`printable` for a stream; chunking does not change the result."""

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, chunk: str) -> str:
        """The safe form of ``chunk``; nothing is buffered."""
        if not chunk:
            return ""
        # The CR of a CRLF across two chunks became a newline already.
        rest = chunk[1:] if self._after_return and chunk[0] == "\n" else chunk
        self._after_return = chunk[-1] == "\r"
        return printable(rest)


def single_line(text: str, limit: int = _LINE_LIMIT) -> str:
    """``text`` on one line of at most ``limit`` characters: for titles, names, error lines.

    Runs of white space become one space; a cut is marked with ``…``.
    """
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def printable_json(json: str) -> str:
    """``json`` with every unsafe character as its ``\\u`` escape: the same value, safe to print.

    In valid JSON such characters occur only inside strings, where an escape is equivalent.
    Newlines and tabs of the layout stay.
    """
    return json.translate(_json_table())
