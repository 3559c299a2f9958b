"""A JSON schema: its subschemas and references, and keywords that hold together for one value.

Nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import unquote, urljoin

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.grammar.automata import Language, Languages
    from tchat.engine.grammar.rules import Expression, Rules

Schema: TypeAlias = "Mapping[str, Any] | bool"

# Keywords with schemas.
_SINGLE = (
    *("additionalProperties", "propertyNames", "items", "additionalItems", "contains", "not"),
    *("if", "then", "else", "unevaluatedItems", "unevaluatedProperties"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS = (
    *("properties", "patternProperties", "dependentSchemas", "dependencies"),
    *("$defs", "definitions"),
)
_DEFINITIONS = frozenset(["$defs", "definitions"])
# Keywords whose schemas apply to the same instance.
_IN_PLACE = frozenset(
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"]
)
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


@dataclass(frozen=True, slots=True, eq=False)
class Subschema:
    """A schema inside the document; ``base`` is the base URI of its references."""

    schema: Schema
    base: str

    @property
    def keywords(self) -> Mapping[str, Any]:
        """Its keywords; a boolean has none."""
        return self.schema if isinstance(self.schema, Mapping) else {}


class SchemaDocument:
    """A whole schema, checked: references lead to its own parts, and not in a circle.

    Args:
        schema: The schema.
        legacy: Of draft 7 and before, where nothing beside ``$ref`` counts.

    Raises:
        UsageError: A reference leads outside or nowhere, or the schema refers to itself endlessly.
    """

    def __init__(self, schema: Schema, *, legacy: bool = False) -> None:
        self.legacy = legacy
        self._parts: dict[tuple[int, str], Subschema] = {}
        self._made: list[Schema] = []  # kept alive: parts are identified by id()
        self._resources: dict[str, Subschema] = {}
        self._anchors: dict[tuple[str, str], Subschema] = {}
        self._dynamic: dict[str, int] = {}
        self._own: set[int] = set()
        self.root = self.part(schema, "")
        self.circular: set[Subschema] = set()  # parts that refer to themselves in one place
        self._index()
        self.reached = self._reachable(self.root, in_place=False)  # what an instance can meet
        self._check()

    def part(self, schema: Schema, base: str) -> Subschema:
        """The part of a schema with this ``base``; one object for one place."""
        if isinstance(schema, Mapping):
            name = self._identity(schema)
            beside = self.legacy and "$ref" in schema
            if isinstance(name, str) and not beside and not name.startswith("#"):
                base = _joined(base, name)
        key = (id(schema), base)
        if key not in self._parts:
            self._made.append(schema)
            self._parts[key] = Subschema(schema, base)
        return self._parts[key]

    def knows(self, schema: Schema) -> bool:
        """Whether a schema is one of the document's own."""
        return id(schema) in self._own

    def child(self, part: Subschema, schema: Schema) -> Subschema:
        """A schema that stands inside ``part``."""
        return self.part(schema, part.base)

    def reference(self, part: Subschema) -> Subschema | None:
        """What a part refers to; None without a reference, or when it is dynamic.

        Raises:
            UsageError: It leads outside or nowhere.
        """
        keywords = part.keywords
        if isinstance(reference := keywords.get("$ref"), str):
            return self._target(part, reference)
        if isinstance(reference := keywords.get("$dynamicRef"), str):
            target = self._target(part, reference)
            name = target.keywords.get("$dynamicAnchor")
            plain = not isinstance(name, str) or not reference.endswith(f"#{name}")
            return target if plain or self._dynamic.get(str(name), 0) < 2 else None
        if isinstance(reference := keywords.get("$recursiveRef"), str):
            return self._target(part, reference) if "$recursive" not in self._dynamic else None
        return None

    def is_dynamic(self, part: Subschema) -> bool:
        """Whether its reference depends on where it is used."""
        return any(key in part.keywords for key in REFERENCES) and self.reference(part) is None

    def children(self, part: Subschema) -> Iterator[tuple[str, Subschema]]:
        """The schemas directly inside a part, with their keyword."""
        keywords = part.keywords
        if self.legacy and "$ref" in keywords:
            return
        found = [(key, keywords.get(key)) for key in _SINGLE]
        found += [
            (key, member)
            for key in _LISTS
            if isinstance(keywords.get(key), list)
            for member in keywords[key]
        ]
        found += [(key, member) for key in _MAPS for member in schemas_by_name(part, key).values()]
        for key, schema in found:
            if isinstance(schema, Mapping | bool):
                yield key, self.child(part, schema)

    def _identity(self, keywords: Mapping[str, Any]) -> object:
        return keywords.get("$id", keywords.get("id") if self.legacy else None)

    def _index(self) -> None:
        self._resources[""] = self.root
        waiting, seen = [self.root], {self.root}
        while waiting:
            part = waiting.pop()
            keywords = part.keywords
            self._own.add(id(part.schema))
            self._resources.setdefault(part.base, part)
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(keywords.get(key), str):
                    self._anchors.setdefault((part.base, keywords[key]), part)
            name = self._identity(keywords)
            if isinstance(name, str) and name.startswith("#"):
                self._anchors.setdefault((part.base, name[1:]), part)
            if isinstance(dynamic := keywords.get("$dynamicAnchor"), str):
                self._dynamic[dynamic] = self._dynamic.get(dynamic, 0) + 1
            if keywords.get("$recursiveAnchor"):
                self._dynamic["$recursive"] = 1
            found = [child for _, child in self.children(part) if child not in seen]
            seen.update(found)
            waiting += found

    def _check(self) -> None:
        """Refuse a schema whose validation never ends, whatever the value."""
        done: set[Subschema] = set()
        for start in self.reached:
            self._find_circles(start, done)
        if not self.circular.isdisjoint(self._reachable(self.root, in_place=True)):
            raise UsageError(
                tr("the JSON schema refers to itself without end"),
                tr("every loop of $ref needs a property or an item on the way"),
            )

    def _reachable(self, start: Subschema, *, in_place: bool) -> list[Subschema]:
        """The parts that apply where ``start`` does; ``in_place``, only those to the same value."""
        found, seen = [start], {start}
        for part in found:
            for child in self._followers(part, in_place=in_place):
                if child not in seen:
                    seen.add(child)
                    found.append(child)
        return found

    def _find_circles(self, start: Subschema, done: set[Subschema]) -> None:
        path: dict[Subschema, Iterator[Subschema]] = {}
        current: Subschema | None = start
        while current is not None or path:
            if current is not None and current not in done:
                if current in path:
                    members = list(path)
                    self.circular.update(members[members.index(current) :])
                    done |= self.circular
                    return  # those before it are checked again as starts of their own
                path[current] = self._followers(current, in_place=True)
            if not path:
                return
            last = next(reversed(path))
            current = next(path[last], None)
            if current is None:
                done.add(last)
                del path[last]

    def _followers(self, part: Subschema, *, in_place: bool) -> Iterator[Subschema]:
        target = self.reference(part)
        if target is not None:
            yield target
        for key, child in self.children(part):
            if key in _IN_PLACE or (not in_place and key not in _DEFINITIONS):
                yield child

    def _target(self, part: Subschema, reference: str) -> Subschema:
        shown = single_line(reference, limit=200)
        if reference.startswith("#"):
            address, fragment = part.base, reference[1:]
        else:
            address, _, fragment = _joined(part.base, reference).partition("#")
        resource = self._resources.get(address)
        if resource is None:
            raise UsageError(
                tr(
                    "the JSON schema refers to {shown}, and only its own parts can be used",
                    shown=shown,
                ),
                tr('put the definition under "$defs" and refer to it as "#/$defs/…"'),
            )
        fragment = unquote(fragment)
        if not fragment:
            return resource
        found: Subschema | None = None
        if fragment.startswith("/"):
            found = self._resolve_pointer(resource, fragment, shown)
        else:
            found = self._anchors.get((resource.base, fragment))
        if found is None:
            raise UsageError(
                tr("the JSON schema refers to {shown}, which is not in it", shown=shown),
                tr("check the $ref"),
            )
        return found

    def _resolve_pointer(self, resource: Subschema, pointer: str, shown: str) -> Subschema | None:
        target: Any = resource.schema
        base = resource.base
        for step in pointer.split("/")[1:]:
            if isinstance(target, Mapping):  # a schema with an id changes the base
                base = self.part(target, base).base
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key) if isinstance(target, list) else key]
            except (LookupError, TypeError, ValueError):
                return None
        if not isinstance(target, Mapping | bool):
            raise UsageError(
                tr("the JSON schema refers to {shown}, which is not a schema", shown=shown), ""
            )
        return self.part(target, base)


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference).removesuffix("#")
    except ValueError:  # invalid brackets
        return reference


# Own keywords, in schemas that stand for negations.
ABSENT, UNEQUAL, UNLIKE = "\0absent", "\0unequal", "\0unlike"


class SchemaConverter(Protocol):
    """Converts schemas to rules. ``parts`` are schemas that all hold for one value."""

    document: SchemaDocument
    rules: Rules
    languages: Languages
    texts: dict[tuple[Language, bool], Expression]  # rules by language and whether in a string

    def value(self, parts: Sequence[Subschema], name: str) -> Expression:
        """The values that all of ``parts`` allow."""

    def flatten(self, parts: Sequence[Subschema]) -> tuple[Subschema, ...] | None:
        """``parts`` with references and ``allOf`` resolved; None when one is false."""

    def is_valid(self, part: Subschema, instance: Any) -> bool:
        """Whether an instance is valid by ``part``."""

    def listed_values(self, parts: Sequence[Subschema]) -> list[Any] | None:
        """The values that ``const`` and ``enum`` allow; None without either."""

    def mark_unchecked(self, keyword: str) -> None:
        """Report a keyword that the grammar does not enforce."""


def all_values(parts: Sequence[Subschema], keyword: str) -> list[Any]:
    """The values of a keyword in the parts that have it."""
    return [part.keywords[keyword] for part in parts if keyword in part.keywords]


def listed_by(parts: Sequence[Subschema]) -> list[list[Any]]:
    """The values of each ``const`` and ``enum``."""
    return [*([value] for value in all_values(parts, "const")), *all_values(parts, "enum")]


def mark_unchecked(
    converter: SchemaConverter, parts: Sequence[Subschema], keywords: Iterable[str]
) -> None:
    """Report those ``keywords`` that the parts have."""
    for keyword in keywords:
        if all_values(parts, keyword):
            converter.mark_unchecked(keyword)


def lower_limit(parts: Sequence[Subschema], keyword: str) -> int:
    """The strictest value of a keyword like ``minItems``."""
    return max((int(count) for count in all_values(parts, keyword)), default=0)


def upper_limit(parts: Sequence[Subschema], keyword: str) -> int | None:
    """The strictest value of a keyword like ``maxItems``."""
    return min((int(count) for count in all_values(parts, keyword)), default=None)


def schemas_by_name(part: Subschema, keyword: str) -> Mapping[str, Any]:
    """The value of a keyword with schemas by name; empty without it."""
    found = part.keywords.get(keyword)
    return found if isinstance(found, Mapping) else {}


# Keywords that imply the type where `type` is missing.
HINTS: Mapping[str, tuple[str, ...]] = {
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", ABSENT),
        *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
    ),
    "array": (
        *("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"),
        *("additionalItems", "unevaluatedItems"),
    ),
    "string": ("pattern", "format", "minLength", "maxLength", UNLIKE),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")


def types_of(parts: Sequence[Subschema]) -> list[str]:
    """The types that all parts allow; ``integer`` only without ``number``."""
    allowed = stated_types(parts)
    if not all_values(parts, "type"):
        hinted = {
            kind
            for kind, keys in HINTS.items()
            if any(key in part.keywords for part in parts for key in keys)
        }
        allowed = (hinted or allowed) | ({"integer"} if "number" in hinted else set())
    if "number" in allowed:
        allowed.discard("integer")
    return [kind for kind in TYPES if kind in allowed]


def stated_types(parts: Sequence[Subschema]) -> set[str]:
    """The types that ``type`` allows, where parts have it."""
    allowed = set(TYPES)
    for value in all_values(parts, "type"):
        given = {value} if isinstance(value, str) else set(value)
        allowed &= given | ({"integer"} if "number" in given else set())
    return allowed


def equality_key(value: Any) -> str:
    """A key that is equal for values that JSON Schema calls equal: 1 and 1.0, not 1 and true."""
    if not isinstance(value, dict | list):
        return _scalar(value)
    written: list[str] = []
    waiting: list[tuple[Any, str]] = [(value, "")]  # values, and the text behind them
    while waiting:
        one, behind = waiting.pop()
        if isinstance(one, dict):
            written.append("{")
            waiting.append((_END, "}" + behind))
            for key in sorted(one, reverse=True):
                waiting += [(one[key], ","), (_END, json.dumps(key) + ":")]
        elif isinstance(one, list):
            written.append("[")
            waiting.append((_END, "]" + behind))
            waiting += [(each, ",") for each in reversed(one)]
        else:
            written.append(behind if one is _END else _scalar(one) + behind)
    return "".join(written)


_END = object()  # no value: only the text behind it


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
