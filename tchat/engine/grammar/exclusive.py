"""Whether the alternatives of ``oneOf`` exclude each other, so that a choice says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tchat.engine.grammar.equality import key_of
from tchat.engine.grammar.parts import SchemaConverter, all_values, mapping_of
from tchat.engine.grammar.schema_document import Subschema
from tchat.engine.grammar.types import stated_types, types_of

_MOST_PAIRS = 2000


def are_exclusive(converter: SchemaConverter, members: Sequence[Sequence[Subschema]]) -> bool:
    """Whether no value of one member, as the grammar writes it, is valid by another too.

    Args:
        converter: Resolves references.
        members: Each alternative with the parts beside it.
    """
    if len(members) * (len(members) - 1) > 2 * _MOST_PAIRS:
        return False
    return all(
        _exclude(converter, one, other)
        for at, one in enumerate(members)
        for other in members[at + 1 :]
    )


def _exclude(
    converter: SchemaConverter, one: Sequence[Subschema], other: Sequence[Subschema]
) -> bool:
    return _outside(converter, one, other) and _outside(converter, other, one)


def _outside(
    converter: SchemaConverter, one: Sequence[Subschema], other: Sequence[Subschema]
) -> bool:
    """Whether nothing that is written for ``one`` is valid by ``other``."""
    # A text is of the types that the keywords speak of; without `type`, any other is valid too.
    both = _kinds(one, set(types_of(one))) & _kinds(other, stated_types(other))
    if not both:
        return True
    values, others = _listed(one), _listed(other)
    if values is not None and others is not None:
        return not values & others
    return both == {"object"} and (_told_apart(converter, one, other) or _lacks(one, other))


def _told_apart(
    converter: SchemaConverter, one: Sequence[Subschema], other: Sequence[Subschema]
) -> bool:
    """Whether a property has other constants in each, and one of them requires it."""
    required = _required(one) | _required(other)
    for name in required:
        values = _property(converter, one, name)
        others = _property(converter, other, name)
        if values is not None and others is not None and not values & others:
            return True
    return False


def _property(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> set[str] | None:
    children = [
        converter.child(part, mapping_of(part, "properties")[name])
        for part in parts
        if name in mapping_of(part, "properties")
    ]
    flat = converter.flat(children)
    return set() if flat is None else _listed(flat)


def _lacks(one: Sequence[Subschema], other: Sequence[Subschema]) -> bool:
    """Whether ``other`` requires a property that ``one``, as the grammar writes it, never has."""
    closed = any(schema is False for schema in all_values(one, "additionalProperties")) or not any(
        key in part.keywords
        for part in one
        for key in ("additionalProperties", "unevaluatedProperties", "minProperties")
    )
    patterns = any("patternProperties" in part.keywords for part in one)
    conditions = any(
        key in part.keywords
        for part in one
        for key in ("anyOf", "oneOf", "if", "dependentSchemas", "dependencies", "not")
    )
    named = {name for part in one for name in mapping_of(part, "properties")} | _required(one)
    return (
        closed
        and bool(named)
        and not patterns
        and not conditions
        and bool(_required(other) - named)
    )


def _required(parts: Sequence[Subschema]) -> set[str]:
    return {str(name) for names in all_values(parts, "required") for name in names}


def _listed(parts: Sequence[Subschema]) -> set[str] | None:
    lists = [*all_values(parts, "enum"), *([value] for value in all_values(parts, "const"))]
    if not lists:
        return None
    sets: list[set[Any]] = [set(map(key_of, values)) for values in lists]
    return set.intersection(*sets)


def _kinds(parts: Sequence[Subschema], kinds: set[str]) -> set[str]:
    """``kinds`` that are among the listed values too, where values are listed."""
    found = kinds | ({"integer"} if "number" in kinds else set())
    for values in [*all_values(parts, "enum"), *([one] for one in all_values(parts, "const"))]:
        found &= {_KINDS[type(value)] for value in values} | _wider(values)
    return found


def _wider(values: Sequence[Any]) -> set[str]:
    return {"number", "integer"} if any(isinstance(one, int | float) for one in values) else set()


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
