"""``anyOf``, ``oneOf``, ``if`` and ``not``: each keyword as a choice of schemas.

The schemas of a choice are added to those beside it. For ``oneOf``, the members must also exclude
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tchat.engine.grammar.regex import PatternUnsupported, parse_pattern
from tchat.engine.grammar.schema import (
    ABSENT,
    TYPES,
    UNEQUAL,
    UNLIKE,
    Schema,
    SchemaConverter,
    SchemaDocument,
    Subschema,
    all_values,
    equality_key,
    listed_by,
    schemas_by_name,
    stated_types,
    types_of,
)

ANNOTATIONS = frozenset(
    [
        *("title", "description", "default", "examples", "example", "$comment", "$schema", "$id"),
        *("id", "$anchor", "$dynamicAnchor", "$defs", "definitions", "deprecated", "readOnly"),
        *("writeOnly", "$vocabulary", "contentMediaType", "contentEncoding", "contentSchema"),
        "$recursiveAnchor",
    ]
)

_MOST_WAYS = 8  # in which the other alternatives can be false


class Branching(NamedTuple):
    """A keyword as a choice: each alternative is a list of schemas that all hold.

    ``exact`` is False where the alternatives allow more than the keyword.
    """

    keyword: str
    alternatives: Sequence[Sequence[Schema]]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Branches:
    """Finds the choices of schemas in ``document``."""

    document: SchemaDocument

    def of(self, part: Subschema) -> Iterator[Branching]:
        """The choices of a part."""
        keywords = part.keywords
        for key in ("anyOf", "oneOf"):
            if key in keywords:
                yield Branching(key, [[one] for one in keywords[key]])
        if "not" in keywords:
            yield self._negated(part, keywords["not"])
        if "if" in keywords and ("then" in keywords or "else" in keywords):
            yield self._condition(part)
        # `dependencies` is of draft 7 and before; in later drafts it is meant the same way.
        for key in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, needed in dict(keywords.get(key, {})).items():
                yield _dependent(f"{key} {name}", name, needed)

    def disjoint_alternatives(
        self, part: Subschema, schemas: Sequence[Schema]
    ) -> list[list[Schema]] | None:
        """``oneOf`` as exclusive alternatives: each with the others negated.

        None when a negation cannot be expressed, or when there would be too many.
        """
        opposites = [self.negation(part, schema) for schema in schemas]
        found: list[list[Schema]] = []
        for at, schema in enumerate(schemas):
            ways: list[list[Schema]] = [[schema]]
            for other, opposite in enumerate(opposites):
                if opposite is None:
                    return None
                if other != at:
                    ways = [[*way, one] for way in ways for one in opposite]
                if len(ways) > _MOST_WAYS:
                    return None
            found += ways
        return found

    def _negated(self, part: Subschema, schema: Schema) -> Branching:
        found = self.negation(part, schema)
        if found is None:
            return Branching("not", [[]], exact=False)
        return Branching("not", [[one] for one in found])

    def _condition(self, part: Subschema) -> Branching:
        keywords = part.keywords
        condition = keywords["if"]
        yes = [condition, *([keywords["then"]] if "then" in keywords else [])]
        other = [keywords["else"]] if "else" in keywords else []
        opposite = self.negation(part, condition)
        if opposite is not None:
            return Branching("if", [yes, *([one, *other] for one in opposite)])
        if not other:
            return Branching("if", [[]], exact=False)
        return Branching("if", [yes, other], exact=False)

    def negation(self, part: Subschema, schema: Schema) -> list[Schema] | None:
        """Schemas of which one holds where ``schema`` does not; None if inexpressible."""
        if isinstance(schema, bool):
            return [] if schema else [True]
        return _joined(
            _NEGATIONS[key](self, part, value) if key in _NEGATIONS else None
            for key, value in schema.items()
            if key not in ANNOTATIONS
        )


def _joined(negations: Iterable[list[Schema] | None]) -> list[Schema] | None:
    """All of them together; None when one is inexpressible."""
    found: list[Schema] = []
    for one in negations:
        if one is None:
            return None
        found += one
    return found


def _dependent(label: str, name: str, needed: Any) -> Branching:
    absent: Schema = {ABSENT: [name]}
    schema = {"required": [name, *needed]} if isinstance(needed, list) else needed
    return Branching(label, [[absent], [schema]])


_Negation = Callable[[Branches, Subschema, Any], "list[Schema] | None"]


def _without_types(_: Branches, __: Subschema, value: Any) -> list[Schema]:
    given = {value} if isinstance(value, str) else set(value)
    if "number" in given:
        given.add("integer")
    left = [kind for kind in TYPES if kind not in given]
    if "integer" in given and "number" in left:
        left.remove("number")  # no keyword says "with a fraction"
    return [{"type": left}] if left else []


def _other_properties(self: Branches, part: Subschema, value: Any) -> list[Schema] | None:
    def others(name: str, schema: Schema) -> list[Schema] | None:
        found = self.negation(part, schema)
        return found and [
            {"type": "object", "required": [name], "properties": {name: one}} for one in found
        ]

    return _joined(others(name, schema) for name, schema in value.items())


def _neither(self: Branches, part: Subschema, value: Any) -> list[Schema] | None:
    """All of the alternatives are false."""
    combined: list[Schema] = []
    for schema in value:
        others = self.negation(part, schema)
        if others is None or len(others) > 1:
            return None
        if not others:
            return []
        combined += others
    return [{"allOf": combined}]


def _any_false(self: Branches, part: Subschema, value: Any) -> list[Schema] | None:
    return _joined(self.negation(part, schema) for schema in value)


def _referred(self: Branches, part: Subschema, value: Any) -> list[Schema] | None:
    target = self.document.reference(self.document.child(part, {"$ref": value}))
    if target is None or target.base != part.base:
        return None
    return self.negation(target, target.schema)


def _other_pattern(_: Branches, __: Subschema, value: Any) -> list[Schema] | None:
    try:
        parse_pattern(value)
    except PatternUnsupported:
        return None
    return [{"type": "string", UNLIKE: value}]


def _bound(kind: str, keyword: str, step: int = 0) -> _Negation:
    def negate(_: Branches, __: Subschema, value: Any) -> list[Schema] | None:
        if isinstance(value, bool):
            return None
        return [{"type": kind, keyword: value + step}] if value + step >= 0 or not step else []

    return negate


_NEGATIONS: Mapping[str, _Negation] = {
    "const": lambda _, __, value: [{UNEQUAL: [value]}],
    "enum": lambda _, __, value: [{UNEQUAL: value}],
    "type": _without_types,
    "required": lambda _, __, value: [{"type": "object", ABSENT: [name]} for name in value],
    "properties": _other_properties,
    "not": lambda _, __, value: [value],
    "anyOf": _neither,
    "allOf": _any_false,
    "$ref": _referred,
    "pattern": _other_pattern,
    "minimum": _bound("number", "exclusiveMaximum"),
    "maximum": _bound("number", "exclusiveMinimum"),
    "exclusiveMinimum": _bound("number", "maximum"),
    "exclusiveMaximum": _bound("number", "minimum"),
    "minLength": _bound("string", "maxLength", -1),
    "maxLength": _bound("string", "minLength", 1),
    "minItems": _bound("array", "maxItems", -1),
    "maxItems": _bound("array", "minItems", 1),
}


_MOST_PAIRS = 2000


def are_exclusive(converter: SchemaConverter, members: Sequence[Sequence[Subschema]]) -> bool:
    """Whether no value that the grammar writes for one member is valid by another too.

    Args:
        converter: Resolves references.
        members: The parts of each alternative.
    """
    if len(members) * (len(members) - 1) > 2 * _MOST_PAIRS:
        return False
    return all(
        _outside(converter, one, other) and _outside(converter, other, one)
        for at, one in enumerate(members)
        for other in members[at + 1 :]
    )


def _outside(
    converter: SchemaConverter, one: Sequence[Subschema], other: Sequence[Subschema]
) -> bool:
    """Whether nothing that the grammar writes for ``one`` is valid by ``other``."""
    # The grammar writes the types that keywords imply; without `type`, others are valid too.
    both = _kinds(one, set(types_of(one))) & _kinds(other, stated_types(other))
    if not both:
        return True
    values, others = _listed(one), _listed(other)
    if values is not None and others is not None:
        return not values & others
    return both == {"object"} and (
        _have_distinct_constant(converter, one, other) or _lacks(one, other)
    )


def _have_distinct_constant(
    converter: SchemaConverter, one: Sequence[Subschema], other: Sequence[Subschema]
) -> bool:
    """Whether a property that one of them requires has different constants in each."""
    for name in _required(one) | _required(other):
        values = _property(converter, one, name)
        others = _property(converter, other, name)
        if values is not None and others is not None and not values & others:
            return True
    return False


def _property(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> set[str] | None:
    named = ((part, schemas_by_name(part, "properties").get(name)) for part in parts)
    flat = converter.flatten(
        [converter.document.child(part, one) for part, one in named if one is not None]
    )
    return set() if flat is None else _listed(flat)


def _lacks(one: Sequence[Subschema], other: Sequence[Subschema]) -> bool:
    """Whether ``other`` requires a property that the grammar never writes for ``one``."""
    keywords = {key for part in one for key in part.keywords}
    closed = any(schema is False for schema in all_values(one, "additionalProperties"))
    named = {name for part in one for name in schemas_by_name(part, "properties")} | _required(one)
    return (
        (closed or keywords.isdisjoint(_OPENING))
        and keywords.isdisjoint(_ADDING)
        and bool(named)
        and bool(_required(other) - named)
    )


_OPENING = frozenset(["additionalProperties", "unevaluatedProperties", "minProperties"])
_ADDING = frozenset(
    [*("patternProperties", "anyOf", "oneOf", "if", "dependentSchemas", "dependencies", "not")]
)


def _required(parts: Sequence[Subschema]) -> set[str]:
    return {str(name) for names in all_values(parts, "required") for name in names}


def _listed(parts: Sequence[Subschema]) -> set[str] | None:
    sets = [set(map(equality_key, values)) for values in listed_by(parts)]
    return set.intersection(*sets) if sets else None


def _kinds(parts: Sequence[Subschema], kinds: set[str]) -> set[str]:
    """``kinds``, limited to those of the listed values."""
    found = kinds | ({"integer"} if "number" in kinds else set())
    for values in listed_by(parts):
        allowed = {_KINDS[type(value)] for value in values}
        if any(isinstance(one, int | float) for one in values):
            allowed |= {"number", "integer"}
        found &= allowed
    return found


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
