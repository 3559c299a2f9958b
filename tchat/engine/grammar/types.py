"""The types of a value that several schemas allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tchat.engine.grammar.parts import ABSENT, UNLIKE, all_values
from tchat.engine.grammar.schema_document import Subschema

# Keywords that tell the type where `type` is missing.
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
_ALL = ("object", "array", "string", "number", "integer", "boolean", "null")


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
    return [kind for kind in _ALL if kind in allowed]


def stated_types(parts: Sequence[Subschema]) -> set[str]:
    """The types that ``type`` leaves, where parts have it."""
    allowed = set(_ALL)
    for value in all_values(parts, "type"):
        given = {value} if isinstance(value, str) else set(value)
        allowed &= given | ({"integer"} if "number" in given else set())
    return allowed
