"""Read a text that arrives in chunks as if it were there as a whole.

Syntaxes are written as generators that pause where they need more text. All of them read through
`Reader`, which looks at a character only once what it means cannot depend on where a chunk ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeVar

from tchat.tools.syntaxes.protocol import CallEvent, OpenCall
from tchat.translation import tr

T = TypeVar("T")
Steps = Generator[None, None, T]

DEEPEST = 64  # brackets within brackets; no tool's arguments come near
_SPACE = re.compile(r"\s*")
_JSON_SIGN = re.compile(r'["{}\[\]]')
_STRING_SIGN = re.compile(r'["\\]')
_SCALAR = re.compile(r"[^\s,:\[\]{}<\"]*")


class NotACall(Exception):
    """What looked like a call is text."""


class BrokenCall(Exception):
    """A call that cannot be read; the message says why."""


def too_deep() -> str:
    """The reason for refusing brackets within brackets within brackets …"""
    return tr("its arguments are nested deeper than {limit} levels", limit=DEEPEST)


class Reader:
    """The text of a reply, as far as it has come, and a position in it.

    Attributes:
        at: The position.
        in_reasoning: Whether the text is reasoning.
        in_call: Whether it is a call, which begins where the text does.
        in_arguments: Whether it is the arguments of a call, which begin where the text does.
        name: The tool that is called, once it is known.
    """

    def __init__(self) -> None:
        self.at = 0
        self.in_reasoning = self.in_call = self.in_arguments = False
        self.name = ""
        self._text = ""
        self._coming: list[str] = []
        self._length = 0  # of what is coming
        self._is_whole = False

    def add(self, text: str) -> bool:
        """Whether a parser should go on: in a very long call it does so only now and then."""
        self._coming.append(text)
        self._length += len(text)
        # Each time, the text is copied: a call of megabytes in chunks of a few characters must
        # not take forever.
        if self._length <= len(self._text) >> 10:
            return False
        self._join()
        return True

    @property
    def text(self) -> str:
        """All that was not forgotten, also what comes next."""
        return self._text + "".join(self._coming)

    def leave_call(self) -> None:
        """A call is over."""
        self.in_call = self.in_arguments = False
        self.name = ""

    def finish(self) -> None:
        """No more text will come."""
        self._join()
        self._is_whole = True

    def _join(self) -> None:
        self._text += "".join(self._coming)
        self._coming.clear()
        self._length = 0

    def forget(self) -> None:
        """Drop what was read; positions before are void."""
        if self.at:
            self._text = self._text[self.at :]
            self.at = 0

    def since(self, start: int) -> str:
        """The text from ``start`` to here."""
        return self._text[start : self.at]

    def between(self, start: int, end: int) -> str:
        """The text from ``start`` to ``end``."""
        return self._text[start:end]

    def _more(self, size: int) -> Steps[bool]:
        """Wait until more than ``size`` characters have come; False if none will."""
        while len(self._text) <= size:
            if self._is_whole:
                return False
            yield
        return True

    def peek(self) -> Steps[str]:
        """The next character; empty at the end."""
        there = yield from self._more(self.at)
        return self._text[self.at] if there else ""

    def space(self) -> Steps[str]:
        """Pass over whitespace."""
        start = self.at
        while True:
            found = _SPACE.match(self._text, self.at)
            self.at = found.end() if found else self.at
            if not (yield from self._more(self.at)) or not self._text[self.at].isspace():
                return self._text[start : self.at]

    def literal(self, *options: str) -> Steps[str]:
        """Pass over the longest of ``options`` that stands here; empty for none."""
        longest = max(map(len, options), default=0)
        while True:
            rest = self._text[self.at : self.at + longest]
            waiting = any(len(o) > len(rest) and o.startswith(rest) for o in options)
            if not waiting or not (yield from self._more(self.at + len(rest))):
                break
        found = max((o for o in options if rest.startswith(o)), key=len, default="")
        self.at += len(found)
        return found

    def take(self, count: int) -> Steps[str]:
        """Pass over ``count`` characters, or what there is."""
        yield from self._more(self.at + count - 1)
        taken = self._text[self.at : self.at + count]
        self.at += len(taken)
        return taken

    def run(self, pattern: re.Pattern[str]) -> Steps[str]:
        """Pass over characters of ``pattern``, a repeated class of characters."""
        start = self.at
        while True:
            found = pattern.match(self._text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self._text) or not (yield from self._more(self.at)):
                return self._text[start : self.at]

    def until(
        self, marks: tuple[str, ...], write: Callable[[str], None] | None = None
    ) -> Steps[str]:
        """Pass over text up to and with one of ``marks``, and return it; empty at the end.

        Args:
            marks: What ends the text; none, and all of it is passed over.
            write: Takes the text before the mark, which is then forgotten; else it is kept.
        """
        finder = _finder(marks)
        while True:
            found = finder.search(self._text, self.at)
            end = found.start() if found else len(self._text)
            # A longer mark may begin where a shorter one, or the end of a chunk, stands.
            held = -1 if self._is_whole else _unfinished(self._text, self.at, end, marks)
            stop = held if held >= 0 else end
            if write is not None and stop > self.at:
                write(self._text[self.at : stop])
            self.at = stop
            if found and held < 0:
                self.at = found.end()
                return found[0]
            if self._is_whole:
                return ""
            if write is not None:
                self.forget()
            size = len(self._text)
            while len(self._text) == size and not self._is_whole:
                yield

    def json_text(self) -> Steps[str]:
        """Pass over a JSON value, which need not be valid; its brackets and strings balance."""
        start = self.at
        first = yield from self.peek()
        if first == '"':
            yield from self._string()
        elif first and first in "{[":
            yield from self._brackets()
        else:
            yield from self.run(_SCALAR)
        return self._text[start : self.at]

    def _brackets(self) -> Steps[None]:
        open_brackets = ""
        while True:
            found = _JSON_SIGN.search(self._text, self.at)
            self.at = found.start() if found else len(self._text)
            if not (yield from self._more(self.at)):
                raise BrokenCall(tr("its arguments do not end"))
            if not found:
                continue
            sign = found[0]
            if sign == '"':
                yield from self._string()
                continue
            self.at += 1
            if sign in "{[":
                open_brackets += sign
                if len(open_brackets) > DEEPEST:
                    raise BrokenCall(too_deep())
            elif open_brackets[-1] + sign not in ("{}", "[]"):
                raise BrokenCall(tr("its brackets do not match"))
            else:
                open_brackets = open_brackets[:-1]
            if not open_brackets:
                return

    def _string(self) -> Steps[None]:
        self.at += 1
        while True:
            found = _STRING_SIGN.search(self._text, self.at)
            self.at = found.start() if found else len(self._text)
            length = 2 if found and found[0] == "\\" else 1
            if not (yield from self._more(self.at + length - 1)):
                raise BrokenCall(tr("a text in its arguments does not end"))
            if found:
                self.at += length
                if length == 1:
                    return


@lru_cache(maxsize=256)
def _finder(marks: tuple[str, ...]) -> re.Pattern[str]:
    if not marks:
        return re.compile(r"(?!)")
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


def _unfinished(text: str, start: int, end: int, marks: tuple[str, ...]) -> int:
    """Where, from ``start`` to ``end``, the last of ``text`` may begin a mark; or -1."""
    longest, prefixes = _prefixes(marks)
    for at in range(max(start, len(text) - longest), min(end + 1, len(text))):
        if text[at:] in prefixes:
            return at
    return -1


@lru_cache(maxsize=256)
def _prefixes(marks: tuple[str, ...]) -> tuple[int, frozenset[str]]:
    """The length of the longest text that can become one of ``marks``, and all those texts."""
    prefixes = frozenset(mark[:length] for mark in marks for length in range(1, len(mark)))
    return max(map(len, prefixes), default=0), prefixes


def ended(steps: Steps[T]) -> T:
    """The result of steps that have all of their text."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value


class Parse:
    """A `CallParser` of steps that read from a reader and add to a list of events."""

    def __init__(self, reader: Reader, events: list[CallEvent], steps: Steps[None]) -> None:
        self._reader = reader
        self._events = events
        self._steps: Steps[None] | None = steps
        self._go_on()  # so that it is known where the reply begins

    @property
    def in_reasoning(self) -> bool:
        """See `CallParser`."""
        return self._reader.in_reasoning

    @property
    def open_call(self) -> OpenCall | None:
        """See `CallParser`."""
        reader = self._reader
        if not (reader.in_call or reader.in_arguments):
            return None
        return OpenCall(reader.name, reader.text, reader.in_arguments)

    def feed(self, text: str) -> list[CallEvent]:
        """See `CallParser`."""
        if text and self._reader.add(text):
            self._go_on()
        return self._taken()

    def close(self) -> list[CallEvent]:
        """See `CallParser`."""
        self._reader.finish()
        self._go_on()
        return self._taken()

    def _go_on(self) -> None:
        if self._steps is not None:
            try:
                next(self._steps)
            except StopIteration:
                self._steps = None

    def _taken(self) -> list[CallEvent]:
        taken = self._events[:]
        self._events.clear()
        return taken
