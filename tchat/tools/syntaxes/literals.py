"""Values in notations that are nearly JSON: Python's literals, and Gemma's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.reader import DEEPEST, BrokenCall, Reader, Steps, ended, too_deep
from tchat.translation import tr

WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_PLAIN = re.compile(r"[^\s,:=\[\]{}()<\"']*")
_PLAIN_NAME = re.compile(r"[^,:\[\]{}<\"']*")
_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")
_QUOTES = ('"""', "'''", '"', "'")
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0",
    "\n": "",
}  # fmt: skip
_DIGITS = {"x": 2, "u": 4, "U": 8}
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


@dataclass(frozen=True, slots=True)
class Notation:
    """How values are written.

    Args:
        quote: A mark around strings in which nothing is escaped, besides Python's quotes.
        has_plain_text: Whether an unknown word is a string.
    """

    quote: str = ""
    has_plain_text: bool = False


PYTHON = Notation()
GEMMA = Notation(quote='<|"|>', has_plain_text=True)


def read_value(reader: Reader, notation: Notation, depth: int = 0) -> Steps[Any]:
    """Read a value.

    Raises:
        BrokenCall: There is none.
    """
    if depth > DEEPEST:
        raise BrokenCall(too_deep())
    quote = yield from reader.literal(*_QUOTES, *filter(None, [notation.quote]))
    if quote:
        return (yield from _text(reader, quote, escapes=quote in _QUOTES))
    bracket = yield from reader.literal(*_CLOSING)
    if bracket == "{":
        return (yield from read_members(reader, notation, ":", "}", depth))
    if bracket:
        return (yield from _items(reader, notation, _CLOSING[bracket], depth))
    word = yield from reader.run(_PLAIN)
    if word in WORDS:
        return WORDS[word]
    if _NUMBER.match(word):
        return _number(word)
    if notation.has_plain_text and word:
        return word
    raise BrokenCall(tr("a value in it cannot be read: {word}", word=word or "?"))


def read_members(
    reader: Reader, notation: Notation, colon: str, closing: str, depth: int = 0
) -> Steps[dict[str, Any]]:
    """Read names and values behind an opening bracket, with the ``closing`` one."""
    found: dict[str, Any] = {}
    while True:
        yield from reader.space()
        if (yield from reader.literal(closing)):
            return found
        quote = yield from reader.literal(*_QUOTES, *filter(None, [notation.quote]))
        if quote:
            name = yield from _text(reader, quote, escapes=quote in _QUOTES)
        else:
            written = yield from reader.run(_PLAIN_NAME if notation.has_plain_text else _PLAIN)
            name = written.rstrip()
        yield from reader.space()
        if not (name or quote) or not (yield from reader.literal(colon)):
            raise BrokenCall(tr("an argument has no name"))
        yield from reader.space()
        found[name] = yield from read_value(reader, notation, depth + 1)
        if (yield from _end_of_item(reader, closing)):
            return found


def whole_value(text: str, notation: Notation = PYTHON) -> Any:
    """The value that is all of ``text``.

    Raises:
        BrokenCall: It is none.
    """
    reader = Reader()
    reader.add(text)
    reader.finish()
    value = ended(read_value(reader, notation))
    if reader.since(0) != text:
        raise BrokenCall(tr("a value in it cannot be read: {word}", word=text[:40]))
    return value


def _items(reader: Reader, notation: Notation, closing: str, depth: int) -> Steps[list[Any]]:
    found: list[Any] = []
    while True:
        yield from reader.space()
        if (yield from reader.literal(closing)):
            return found
        found.append((yield from read_value(reader, notation, depth + 1)))
        if (yield from _end_of_item(reader, closing)):
            return found


def _end_of_item(reader: Reader, closing: str) -> Steps[bool]:
    """Pass over what stands behind an item; whether the bracket closes."""
    yield from reader.space()
    end = yield from reader.literal(",", closing)
    if not end:
        raise BrokenCall(tr("its brackets do not match"))
    return end == closing


def _text(reader: Reader, quote: str, *, escapes: bool) -> Steps[str]:
    pieces: list[str] = []
    while True:
        start = reader.at
        mark = yield from reader.until((quote, "\\") if escapes else (quote,))
        if not mark:
            raise BrokenCall(tr("a text in its arguments does not end"))
        pieces.append(reader.between(start, reader.at - len(mark)))
        if mark == quote:
            text = "".join(pieces)
            return _SURROGATES.sub(_character, text)
        pieces.append((yield from _escaped(reader)))


def _escaped(reader: Reader) -> Steps[str]:
    sign = yield from reader.take(1)
    if sign not in _DIGITS:
        return _ESCAPES.get(sign, sign if sign in "\\'\"/" else f"\\{sign}")
    digits = yield from reader.take(_DIGITS[sign])
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        return f"\\{sign}{digits}"


def _character(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _number(word: str) -> int | float:
    digits = word.replace("_", "")
    try:
        return int(digits)
    except ValueError:
        return float(digits)
