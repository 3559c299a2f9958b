"""What the converters share: keywords of several schemas together, types, equality of values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tchat.engine.grammar.automata import Language, Languages
from tchat.engine.grammar.rules import Expression, Rules
from tchat.engine.grammar.schema_document import Schema, SchemaDocument, Subschema

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

    def flat(self, parts: Sequence[Subschema]) -> tuple[Subschema, ...] | None:
        """``parts`` with references and ``allOf`` resolved; None when one is false."""

    def child(self, part: Subschema, schema: Schema) -> Subschema:
        """A schema inside ``part``."""

    def holds(self, part: Subschema, instance: Any) -> bool:
        """Whether an instance is valid by ``part``."""

    def listed(self, parts: Sequence[Subschema]) -> list[Any] | None:
        """The values that ``const`` and ``enum`` allow; None without either."""

    def mark_unchecked(self, keyword: str) -> None:
        """Report a keyword that the grammar does not enforce."""


def all_values(parts: Sequence[Subschema], keyword: str) -> list[Any]:
    """The values of a keyword in the parts that have it."""
    return [part.keywords[keyword] for part in parts if keyword in part.keywords]


def least_of(parts: Sequence[Subschema], keyword: str) -> int:
    """The strictest value of a keyword like ``minItems``."""
    return max((int(count) for count in all_values(parts, keyword)), default=0)


def most_of(parts: Sequence[Subschema], keyword: str) -> int | None:
    """The strictest value of a keyword like ``maxItems``."""
    return min((int(count) for count in all_values(parts, keyword)), default=None)


def mapping_of(part: Subschema, keyword: str) -> Mapping[str, Any]:
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


def key_of(value: Any) -> str:
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
