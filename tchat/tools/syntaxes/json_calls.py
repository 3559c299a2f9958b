"""Calls that are JSON as a whole: ``{"name": …, "arguments": {…}}``, alone or in a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.arguments import arguments_of, as_arguments, decoded
from tchat.tools.syntaxes.reader import BrokenCall, NotACall, Reader, Steps
from tchat.tools.syntaxes.reply import Calls
from tchat.translation import tr

_NAMES = ("name", "tool_name", "function", "tool")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_IDS = ("id", "tool_call_id", "call_id")
_OTHERS = ("type", "index")
_PYTHON_TOOLS = ("python", "ipython", "code_interpreter", "execute_python")
_CODE_CALL = re.compile(r"\s*([A-Za-z_]\w*)\.call\((.*)\)\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonCalls:
    """A `CallReader` of JSON objects.

    Args:
        openings: See `CallReader`.
        closings: See `CallReader`.
        at_start: See `CallReader`; a bare bracket is a call only if it names a tool that there is.
        code: The one of ``openings`` behind which code may stand instead of JSON.
        has_name_as_key: Whether an object is ``{NAME: {…}}``.
    """

    openings: tuple[str, ...]
    closings: tuple[str, ...] = ()
    at_start: tuple[str, ...] = ()
    code: str = ""
    has_name_as_key: bool = False

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        is_bare = opening in self.at_start
        if opening[-1] in "{[":
            reader.at -= 1
        yield from reader.space()
        first = yield from reader.peek()
        if first == "[":
            yield from reader.literal("[")
        elif first != "{":
            if opening != self.code:
                raise NotACall
            yield from _code(reader, calls)
            return
        while not (yield from self._is_end(reader, first, is_bare=is_bare)):
            if self.has_name_as_key:
                yield from self._key_is_name(reader, calls)
            else:
                yield from _Object(calls, is_bare=is_bare).read(reader)
            is_bare = False
            here = reader.at
            yield from reader.space()
            yield from reader.literal(",", ";")
            yield from reader.space()
            if first == "{" and (yield from reader.peek()) != "{":
                reader.at = here
                return

    @staticmethod
    def _is_end(reader: Reader, first: str, *, is_bare: bool) -> Steps[bool]:
        """Whether a list ends here; else an object was entered."""
        yield from reader.space()
        if first == "[" and (yield from reader.literal("]")):
            return True
        if (yield from reader.literal("{")):
            return False
        if is_bare:
            raise NotACall
        if (yield from reader.peek()):
            raise BrokenCall(tr("it is not a JSON object"))
        return True  # cut off behind a whole call

    @staticmethod
    def _key_is_name(reader: Reader, calls: Calls) -> Steps[None]:
        yield from reader.space()
        calls.start(str(decoded((yield from reader.json_text()))))
        yield from reader.space()
        if not (yield from reader.literal(":")):
            raise BrokenCall(tr("it is not a JSON object"))
        yield from reader.space()
        arguments = arguments_of((yield from reader.json_text()))
        yield from reader.space()
        if not (yield from reader.literal("}")):
            raise BrokenCall(tr("it is not a JSON object"))
        calls.finish(arguments)


class _Object:
    """Reads the members of one call."""

    def __init__(self, calls: Calls, *, is_bare: bool) -> None:
        self._calls = calls
        self._is_bare = is_bare
        self._arguments: dict[str, Any] = {}
        self._id = ""

    def read(self, reader: Reader) -> Steps[None]:
        yield from self._members(reader, depth=0)
        if not self._calls.has_started:
            raise NotACall if self._is_bare else BrokenCall(tr("it names no tool"))
        self._calls.finish(self._arguments, self._id)

    def _members(self, reader: Reader, depth: int) -> Steps[None]:
        """What stands behind an opening bracket, with the closing one."""
        while True:
            yield from reader.space()
            if (yield from reader.literal("}")):
                return
            key = decoded((yield from reader.json_text()))
            yield from reader.space()
            if not isinstance(key, str) or not (yield from reader.literal(":")):
                raise NotACall if self._is_undecided else BrokenCall(tr("it is not a JSON object"))
            if self._is_undecided and key not in (*_NAMES, *_ARGUMENTS, *_IDS, *_OTHERS):
                raise NotACall
            yield from reader.space()
            if key == "function" and not depth and (yield from reader.literal("{")):
                yield from self._members(reader, depth=1)
            else:
                self._take(key, (yield from reader.json_text()))
            yield from reader.space()
            end = yield from reader.literal(",", "}")
            if end == "}":
                return
            if not end:
                raise NotACall if self._is_undecided else BrokenCall(tr("it is not a JSON object"))

    @property
    def _is_undecided(self) -> bool:
        return self._is_bare and not self._calls.has_started

    def _take(self, key: str, text: str) -> None:
        value = decoded(text)
        if key in _NAMES and isinstance(value, str) and not self._calls.has_started:
            if self._is_bare and value not in self._calls.tools:
                raise NotACall
            self._calls.start(value)
        elif key in _ARGUMENTS:
            self._arguments = as_arguments(value)
        elif key in _IDS:
            self._id = str(value)


def _code(reader: Reader, calls: Calls) -> Steps[None]:
    """Code for the interpreter that is among the tools, up to the end of the reply."""
    start = reader.at
    yield from reader.until(())
    code = reader.since(start)
    called = _CODE_CALL.match(code)
    if called and called[1] in calls.tools:
        from tchat.tools.syntaxes.pythonic import keywords_of

        calls.start(called[1])
        calls.finish(keywords_of(called[2]))
        return
    name = next((name for name in _PYTHON_TOOLS if name in calls.tools), "")
    if not name:
        raise BrokenCall(tr("there is no tool that runs code"))
    calls.start(name)
    calls.finish(code_arguments(code, name, calls))


def code_arguments(code: str, name: str, calls: Calls) -> dict[str, Any]:
    """The arguments of a call that has code in the place of JSON.

    Raises:
        BrokenCall: The tool takes no code.
    """
    if name not in calls.tools or name not in _PYTHON_TOOLS:
        raise BrokenCall(tr("its arguments are not a JSON object"))
    properties = calls.schema(name).get("properties")
    names = list(properties) if isinstance(properties, dict) else []
    return {"code" if "code" in names or not names else str(names[0]): code.strip()}
