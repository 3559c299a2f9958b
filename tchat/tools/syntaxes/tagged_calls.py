"""Calls whose tool is named outside JSON: with JSON arguments, or with a tag around each one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.arguments import arguments_of, decoded, typed_argument
from tchat.tools.syntaxes.reader import BrokenCall, NotACall, Reader, Steps
from tchat.tools.syntaxes.reply import Calls
from tchat.translation import tr

_NAME = re.compile(r"[^\s<>\[\]{}()\"'|｜]*")
_CDATA, _CDATA_END = "<![CDATA[", "]]>"


@dataclass(frozen=True, slots=True)
class NamedJsonCalls:
    """A `CallReader` of a name and then JSON: ``<function=NAME>{…}``.

    Args:
        openings: Marks before the name.
        name_ends: Marks between the name and the arguments.
        id_mark: Mark between the name and an id, where there is one.
        id_end: Mark between an id and the name, where the id comes first.
        closings: Marks behind the arguments.
        name_and_id: Makes a name and an id of what stands in the name's place.
        json: The reader of calls for a list or an object in the name's place.
    """

    openings: tuple[str, ...]
    name_ends: tuple[str, ...]
    id_mark: str = ""
    id_end: str = ""
    closings: tuple[str, ...] = ()
    name_and_id: Callable[[str], tuple[str, str]] = lambda name: (name, "")
    json: Any = None
    at_start: tuple[str, ...] = ()

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        if self.json is not None:
            yield from reader.space()
            if (yield from reader.peek()) in ("[", "{"):
                yield from self.json.read(reader, calls, opening)
                return
        first_id = ""
        if self.id_end:
            first_id = yield from reader.run(_NAME)
            if not (yield from reader.literal(self.id_end)):
                raise NotACall
        yield from reader.space()
        written = yield from reader.run(_NAME)
        found = yield from reader.literal(*self.name_ends, *filter(None, [self.id_mark]))
        if not written or not found:
            here = yield from reader.peek()
            if not (written and here == "{" and written in calls.tools):
                raise NotACall
        name, call_id = self.name_and_id(written)
        calls.start(name)
        call_id = first_id or call_id
        if found and found == self.id_mark:
            call_id = yield from reader.run(_NAME)
            if not (yield from reader.literal(*self.name_ends)):
                raise BrokenCall(tr("it has no arguments"))
        yield from reader.space()
        if (yield from reader.literal(*self.closings)):
            calls.finish({}, call_id)
            return
        arguments = arguments_of((yield from reader.json_text()))
        calls.finish(arguments, call_id)


@dataclass(frozen=True, slots=True)
class TaggedCalls:
    """A `CallReader` of a name and then a tag around each argument.

    Args:
        openings: Marks before the name.
        name_ends: Marks behind the name.
        argument: Mark before an argument's name.
        argument_ends: Marks behind an argument's name, and whether the value is text (True), JSON
            (False) or as the schema has it (None).
        value_end: Mark behind a value.
        closings: Marks behind the last argument.
        value_start: Mark before a value, where it does not follow its name at once.
        has_lines: Whether values stand on lines of their own.
        header_end: Mark behind what else stands with the name.
    """

    openings: tuple[str, ...]
    name_ends: tuple[str, ...]
    argument: str
    argument_ends: dict[str, bool | None]
    value_end: str
    closings: tuple[str, ...]
    value_start: str = ""
    has_lines: bool = False
    header_end: str = ""
    at_start: tuple[str, ...] = ()

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        del opening
        yield from reader.space()
        name = yield from reader.run(_NAME)
        yield from reader.space()
        end = yield from reader.literal(*self.name_ends, *self.closings, self.argument)
        if not name or not end:
            raise NotACall
        calls.start(name)
        if self.header_end and not (yield from reader.until((self.header_end,))):
            raise BrokenCall(tr("it has no arguments"))
        arguments: dict[str, Any] = {}
        while end not in self.closings:
            if end != self.argument:
                yield from reader.space()
                end = yield from reader.literal(self.argument, *self.closings)
            if not end:
                raise BrokenCall(tr("what stands between its arguments is not known"))
            if end == self.argument:
                end = yield from self._argument(reader, arguments, calls.schema(name))
        calls.finish(arguments)

    def _argument(self, reader: Reader, arguments: dict[str, Any], schema: Any) -> Steps[str]:
        """Read one argument; what stands behind it."""
        start = reader.at
        mark = yield from reader.until(tuple(self.argument_ends))
        key = reader.since(start)[: len(reader.since(start)) - len(mark)].strip()
        if not mark or not key:
            raise BrokenCall(tr("an argument has no name"))
        if self.value_start:
            yield from reader.space()
            if not (yield from reader.literal(self.value_start)):
                raise BrokenCall(tr("an argument has no value"))
        start = reader.at
        quoted = yield from reader.literal(_CDATA)
        if quoted and not (yield from reader.until((_CDATA_END,))):
            raise BrokenCall(tr("an argument does not end"))
        while True:
            ended = yield from reader.until((self.value_end,))
            if not ended:
                raise BrokenCall(tr("an argument does not end"))
            end = reader.at - len(ended)
            behind = reader.at
            yield from reader.space()
            following = yield from reader.literal(self.argument, *self.closings)
            # The same mark within a value, as in a text about this very syntax, ends nothing.
            if following or not (yield from reader.peek()):
                break
            reader.at = behind
        text = reader.between(start, end)
        if quoted and text.rstrip().endswith(_CDATA_END):
            text = text.rstrip()[len(_CDATA) : -len(_CDATA_END)]
        arguments[key] = self._value(key, text, self.argument_ends[mark], schema)
        return following

    def _value(self, key: str, text: str, is_text: bool | None, schema: Any) -> Any:
        if is_text:
            return text
        if is_text is not None:
            try:
                return decoded(text)
            except BrokenCall:
                return text
        if self.has_lines and text.startswith("\n"):
            text = text[1:].removesuffix("\n")
        return typed_argument(text, schema, key)
