"""Read JSON incrementally: enter a container, read its items one by one."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from tchat.decoding import byte_order_mark
from tchat.translation import tr

CHUNK = 1 << 16  # bytes read at a time
_SPACE = re.compile(r"[ \t\n\r]*")
_BEHIND = tuple(" \t\n\r,]}")  # what ends a number


def texts_of(file: IO[bytes]) -> Iterator[str]:
    """Decode a file in chunks: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""
    data = file.read(CHUNK)
    mark, encoding = byte_order_mark(data)
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")("replace")
    data = data[len(mark) :]
    while data:
        yield decoder.decode(data)
        data = file.read(CHUNK)
    yield decoder.decode(b"", final=True)


class _NotFinite(ValueError):
    """A number that cannot be stored, whatever follows."""


class _TooLarge(ValueError):
    """A value that is longer than what is allowed."""


def _refuse(text: str) -> float:
    raise _NotFinite(tr("{text} is no number that can be stored", text=text[:40]))


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise _NotFinite(
            tr("an integer of {digits:,} digits is too long", digits=len(digits))
        ) from None


class JsonReader:
    """A cursor in a JSON text that comes in pieces.

    Whoever iterates over `members` or `items` reads each value before the next step, by `value` or
    by entering it.

    A value of more than ``largest`` characters is refused, before it is read as a whole.

    Raises, from every method:
        ValueError: It is no JSON; NaN, Infinity and numbers that are too large are none.
    """

    def __init__(self, texts: Iterable[str], *, largest: int | None = None) -> None:
        self._texts = iter(texts)
        self._largest = largest
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder(
            parse_float=_finite, parse_int=_whole, parse_constant=_refuse
        )

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The next value, whole."""
        if not self.peek():
            raise ValueError("it ends too early")
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except _NotFinite:
                raise
            except RecursionError:
                raise ValueError("it is nested too deep") from None
            except ValueError as error:
                length = len(self._text) - self._at
                if self._largest is not None and length > self._largest:
                    raise _TooLarge(
                        tr("a value is longer than {most:,} characters", most=self._largest)
                    ) from None
                if not self._more():
                    raise ValueError(str(error)) from error
                continue
            closed = self._text[end - 1] in '"]}' or self._text[end : end + 1] in _BEHIND
            length = end - self._at
            if not closed and self._more():
                continue  # a number may go on
            self._at += length
            return found

    def members(self) -> Iterator[str]:
        """Enter an object: the name of each member."""
        self._expect("{")
        if self._accept("}"):
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise ValueError("a name is no string")  # noqa: TRY004  it is no JSON
            self._expect(":")
            yield name
            if self._accept("}"):
                return
            self._expect(",")

    def items(self) -> Iterator[None]:
        """Enter an array: a step for each item."""
        self._expect("[")
        if self._accept("]"):
            return
        while True:
            yield
            if self._accept("]"):
                return
            self._expect(",")

    def end(self) -> None:
        """Require the end of the text."""
        if self.peek():
            raise ValueError("something follows it")

    def _accept(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._accept(character):
            raise ValueError(f"{character!r} is missing")

    def _more(self) -> bool:
        """Read more: double the buffer, so that a long value is parsed few times."""
        self._text = self._text[self._at :]
        self._at = 0
        size, parts = max(1, len(self._text)), [self._text]
        while size > 0 and not self._ended:
            piece = next(self._texts, None)
            if piece is None:
                self._ended = True
                break
            parts.append(piece)
            size -= len(piece)
        grown = len(parts) > 1
        self._text = "".join(parts)
        return grown
