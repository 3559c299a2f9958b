"""Calls of MiniMax M3: elements within elements, each tag behind a mark of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.arguments import typed, types_of
from tchat.tools.syntaxes.reader import DEEPEST, BrokenCall, NotACall, Reader, Steps, too_deep
from tchat.tools.syntaxes.reply import Calls
from tchat.translation import tr

_NAME = re.compile(r"[^<>\[\]\"]*")
_ITEM = "item"  # the name of a list's elements
_CHOICES = ("anyOf", "oneOf", "allOf")


@dataclass(frozen=True, slots=True)
class NestedCalls:
    """A `CallReader` of elements whose tags stand behind ``mark``."""

    mark: str
    at_start: tuple[str, ...] = ()

    @property
    def openings(self) -> tuple[str, ...]:
        """See `CallReader`."""
        return (f'{self.mark}<invoke name="',)

    @property
    def closings(self) -> tuple[str, ...]:
        """See `CallReader`."""
        return (f"{self.mark}</invoke>",)

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        del opening
        name = yield from reader.run(_NAME)
        if not name or not (yield from reader.literal('">')):
            raise NotACall
        calls.start(name)
        schema = calls.schema(name)
        elements = yield from self._elements(reader, "invoke", schema, schema, 0)
        calls.finish(dict(elements))

    def _elements(
        self, reader: Reader, parent: str, schema: Any, root: Any, depth: int
    ) -> Steps[list[tuple[str, Any]]]:
        """The elements up to the end of ``parent``."""
        if depth > DEEPEST:
            raise BrokenCall(too_deep())
        found: list[tuple[str, Any]] = []
        end = f"{self.mark}</{parent}>"
        while True:
            yield from reader.space()
            mark = yield from reader.literal(end, f"{self.mark}<")
            if mark == end:
                return found
            name = yield from reader.run(_NAME)
            if not mark or not name or not (yield from reader.literal(">")):
                raise BrokenCall(tr("what stands between its arguments is not known"))
            own = next(_inner(schema, name), {})
            found.append((name, (yield from self._value(reader, name, own, root, depth + 1))))

    def _value(self, reader: Reader, name: str, schema: Any, root: Any, depth: int) -> Steps[Any]:
        types = types_of(schema, root)
        if "string" not in types:
            here = reader.at
            yield from reader.space()
            # The end of an empty element begins like an element within it.
            ended = yield from reader.literal(f"{self.mark}</")
            nested = "" if ended else (yield from reader.literal(f"{self.mark}<"))
            reader.at = here
            if nested:
                elements = yield from self._elements(reader, name, schema, root, depth)
                is_list = all(each == _ITEM for each, _ in elements)
                if is_list and ("array" in types or not types):
                    return [value for _, value in elements]
                return dict(elements)
        start = reader.at
        end = yield from reader.until((f"{self.mark}</{name}>",))
        if not end:
            raise BrokenCall(tr("an argument does not end"))
        text = reader.since(start).removesuffix(end)
        if not text.strip() and types in ({"array"}, {"object"}):
            return [] if types == {"array"} else {}
        return typed(text, schema, root)


def _inner(schema: Any, name: str) -> Iterator[Mapping[str, Any]]:
    """The schemas of an element within one of ``schema``."""
    if not isinstance(schema, Mapping):
        return
    properties, items = schema.get("properties"), schema.get("items")
    if isinstance(properties, Mapping) and isinstance(properties.get(name), Mapping):
        yield properties[name]
    if name == _ITEM and isinstance(items, Mapping):
        yield items
    for word in _CHOICES:
        branches = schema.get(word)
        for branch in branches if isinstance(branches, list) else ():
            yield from _inner(branch, name)
