"""Arrays of a schema, as rules."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.engine.grammar.json_rules import ARRAY, WS, constant
from tchat.engine.grammar.rules import (
    EMPTY,
    IMPOSSIBLE,
    Expression,
    Ref,
    Text,
    chain,
    choice,
    repeated,
)
from tchat.engine.grammar.schema import (
    Schema,
    SchemaConverter,
    Subschema,
    all_values,
    lower_limit,
    upper_limit,
)

_SHAPING = (
    *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "contains"),
    *("unevaluatedItems", "uniqueItems"),
)
_MOST_FIXED = 1000
_MOST_DIFFERENT = 7  # each doubles the rules


def array_rule(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The arrays that all of ``parts`` allow.

    An array with schemas for its first items has no others unless the schema says so.
    """
    if not any(key in part.keywords for part in parts for key in _SHAPING):
        return ARRAY
    least, most = lower_limit(parts, "minItems"), upper_limit(parts, "maxItems")
    if most is not None and most < least:
        return IMPOSSIBLE
    fixed = max(len(_first(part)) for part in parts)
    fixed = fixed if most is None else min(fixed, most)
    if fixed > _MOST_FIXED:
        converter.mark_unchecked("prefixItems")
        return ARRAY
    body: Expression | None = None
    if any(all_values(parts, "uniqueItems")) and (most is None or most > 1):
        body = _different(converter, parts, name, least, most)
        if body is None:
            converter.mark_unchecked("uniqueItems")
    if body is None and all_values(parts, "contains"):
        simple = not fixed and least < 2 and most is None
        body = _containing(converter, parts, name, simple=simple)
    if body is None:
        body = _items(converter, parts, name, fixed, least, most)
    return chain(Text("["), WS, body, Text("]"))


def _items(  # noqa: PLR0917  the parameters of an array
    converter: SchemaConverter,
    parts: Sequence[Subschema],
    name: str,
    fixed: int,
    least: int,
    most: int | None,
) -> Expression:
    """``fixed`` items with schemas of their own, then others."""
    items = [
        chain(converter.value(_children(converter, parts, at), f"{name}-{at + 1}"), WS)
        for at in range(fixed)
    ]
    rest = _rest(converter, parts, name, fixed, least)
    comma = chain(Text(","), WS)
    further = None if most is None else most - fixed
    if fixed == 0:
        most_more = None if further is None else max(further - 1, 0)
        some = chain(rest, repeated(chain(comma, rest), max(least - 1, 0), most_more))
        return some if least else EMPTY if further == 0 else choice([EMPTY, some])
    more = converter.rules.add(f"{name}-more", chain(comma, rest)) if further != 0 else EMPTY
    after = repeated(more, max(least - fixed, 0), further) if further != 0 else EMPTY
    for at in range(fixed, 1, -1):
        taken = chain(comma, items[at - 1], after)
        body = taken if at <= least else choice([EMPTY, taken])
        after = converter.rules.add(f"{name}-from-{at}", body)
    whole = chain(items[0], after)
    return whole if least else choice([EMPTY, whole])


def _first(part: Subschema) -> Sequence[Schema]:
    """The schemas of the first items; before 2020-12 in ``items``."""
    items = part.keywords.get("items")
    found: Sequence[Schema] = (
        items if isinstance(items, list) else part.keywords.get("prefixItems", [])
    )
    return found


def _others(part: Subschema) -> Schema | None:
    """The schema of the items behind the first; None without one."""
    items = part.keywords.get("items")
    key = "additionalItems" if isinstance(items, list) else "items"
    found: Schema | None = part.keywords.get(key)
    return found


def _children(converter: SchemaConverter, parts: Sequence[Subschema], at: int) -> list[Subschema]:
    """The schemas of an item."""
    found: list[Subschema] = []
    said = False
    for part in parts:
        first = _first(part)
        schema = first[at] if at < len(first) else _others(part)
        said = said or schema is not None
        if schema is not None:
            found.append(converter.child(part, schema))
    if not said:
        found += [
            converter.child(part, part.keywords["unevaluatedItems"])
            for part in parts
            if "unevaluatedItems" in part.keywords
        ]
    return found


def _rest(
    converter: SchemaConverter, parts: Sequence[Subschema], name: str, fixed: int, least: int
) -> Expression:
    """An item behind the first ones, with white space."""
    children = _children(converter, parts, fixed)
    explicit = any(_others(part) is not None for part in parts)
    explicit = explicit or any("unevaluatedItems" in part.keywords for part in parts)
    if fixed and not explicit and least <= fixed:
        return IMPOSSIBLE
    item = chain(converter.value(children, f"{name}-item"), WS)
    return converter.rules.add(f"{name}-of", item)


def _different(
    converter: SchemaConverter, parts: Sequence[Subschema], name: str, least: int, most: int | None
) -> Expression | None:
    """Arrays of unique items out of a few listed values; None where they are not listed."""
    if any(_first(part) or "contains" in part.keywords for part in parts):
        return None
    flat = converter.flatten(_children(converter, parts, 0))
    values = converter.listed_values(flat) if flat else None
    if values is None or not 0 < len(values) <= _MOST_DIFFERENT:
        return None
    limit = len(values) if most is None else min(most, len(values))
    if limit < least:
        return IMPOSSIBLE
    items = [chain(constant(value), WS) for value in values]
    everything = (1 << len(items)) - 1
    names = {everything: converter.rules.reserve(f"{name}-unlike")}
    waiting = [everything]
    while waiting:
        left = waiting.pop()
        taken = len(items) - left.bit_count()
        branches: list[Expression] = [EMPTY] if taken >= least else []
        for number, item in enumerate(items if taken < limit else ()):
            if left & (1 << number):
                rest = left & ~(1 << number)
                if rest not in names:
                    names[rest] = converter.rules.reserve(f"{name}-unlike")
                    waiting.append(rest)
                comma: list[Expression] = [Text(","), WS] if taken else []
                branches.append(chain(*comma, item, Ref(names[rest])))
        converter.rules.bodies[names[left]] = choice(branches)
    return Ref(names[everything])


def _containing(
    converter: SchemaConverter,
    parts: Sequence[Subschema],
    name: str,
    *,
    simple: bool,
) -> Expression | None:
    """Arrays with at least one item by ``contains``; None where that cannot be expressed."""
    having = [part for part in parts if "contains" in part.keywords]
    asking = [part for part in having if part.keywords.get("minContains", 1) > 0]
    limited = any("maxContains" in part.keywords for part in having)
    if not asking and not limited:
        return None
    counts = any(part.keywords.get("minContains", 1) > 1 for part in asking)
    if not simple or limited or counts or len(asking) > 1:
        converter.mark_unchecked("contains")
        return None
    children = _children(converter, parts, 0)
    wanted = converter.child(asking[0], asking[0].keywords["contains"])
    comma = chain(Text(","), WS)
    item = chain(converter.value(children, f"{name}-item"), WS)
    found = chain(converter.value([*children, wanted], f"{name}-found"), WS)
    further = repeated(chain(comma, item), 0, None)
    return chain(repeated(chain(item, comma), 0, None), found, further)
