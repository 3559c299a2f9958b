"""Objects and arrays of a schema, as rules.

JSON Schema leaves every object open that does not close itself, and a small model would go on
adding properties. So a schema that declares its dialect (``$schema``), as published ones do, is
taken to the letter. In any other, an object has the properties that the schema names, and others
only where it allows them (``additionalProperties``, ``patternProperties``) or names none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from tchat.engine.grammar.automata import ANY, Language
from tchat.engine.grammar.regex import (
    PatternUnsupported,
    lengths,
    marked,
    match_language,
    parse_pattern,
    python_pattern,
)
from tchat.engine.grammar.rules import (
    ARRAY,
    CHAR,
    EMPTY,
    IMPOSSIBLE,
    OBJECT,
    WS,
    Expression,
    Ref,
    Repeat,
    Rules,
    Text,
    chain,
    choice,
    constant,
    prefix_tree,
    repeated,
)
from tchat.engine.grammar.scalars import string_languages, text_rule
from tchat.engine.grammar.schema import (
    ABSENT,
    Schema,
    SchemaConverter,
    Subschema,
    all_values,
    listed_by,
    lower_limit,
    mark_unchecked,
    schemas_by_name,
    types_of,
    upper_limit,
)

_MOST_PATTERNS = 3  # whose overlaps are told apart
_OBJECT_KEYWORDS = (
    *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties", "unevaluatedProperties", ABSENT),
)


def object_rule(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The objects that all of ``parts`` allow."""
    if not any(key in part.keywords for part in parts for key in _OBJECT_KEYWORDS):
        return OBJECT
    return _Object(converter, parts, name).rule()


@dataclass(slots=True)
class _Object:
    converter: SchemaConverter
    parts: Sequence[Subschema]
    name: str

    def rule(self) -> Expression:
        least = lower_limit(self.parts, "minProperties")
        most = upper_limit(self.parts, "maxProperties")
        required = {str(key) for keys in all_values(self.parts, "required") for key in keys}
        named = self._named(required)
        is_open = self._is_open(named, least)
        pairs = [(self._pair(key), key in required) for key in named]
        extras = self._extras(named, is_open=is_open)
        members = Members(self.converter.rules, self.name, pairs, extras, least, most)
        if extras and least - len(required) > 1:  # two of them may have the same name
            self.converter.mark_unchecked("minProperties")
        if not members.counted:
            mark_unchecked(self.converter, self.parts, ("minProperties", "maxProperties"))
        return chain(Text("{"), WS, members.expression(), Text("}"))

    def _named(self, required: set[str]) -> list[str]:
        """The property names, in the order of the schema."""
        named = dict.fromkeys(
            key for part in self.parts for key in schemas_by_name(part, "properties")
        )
        for keys in all_values(self.parts, "required"):
            named |= dict.fromkeys(map(str, keys))
        absent = dict.fromkeys(key for keys in all_values(self.parts, ABSENT) for key in keys)
        kept = [key for key in named if key in required or key not in absent]
        # An absent name must not appear as an additional property either.
        return [*kept, *(key for key in absent if key not in kept)]

    def _is_open(self, named: Sequence[str], least: int) -> bool:
        """Whether the object may have properties that no keyword names."""
        more = all_values(self.parts, "additionalProperties")
        unevaluated = all_values(self.parts, "unevaluatedProperties")
        if more or unevaluated:  # what additionalProperties allows is evaluated
            return not any(schema is False for schema in (more or unevaluated))
        properties = any(schemas_by_name(part, "properties") for part in self.parts)
        patterns = any(schemas_by_name(part, "patternProperties") for part in self.parts)
        return (
            "$schema" in self.converter.document.root.keywords
            or least > len(named)
            or not (properties or patterns)
        )

    def _children(self, key: str) -> list[Subschema] | None:
        """The schemas of the value of a key; None when the key is not allowed."""
        if any(key in keys for keys in all_values(self.parts, ABSENT)):
            return None

        def own(part: Subschema) -> list[Schema]:
            patterns = schemas_by_name(part, "patternProperties")
            found = [schema for pattern, schema in patterns.items() if self._matches(pattern, key)]
            properties = schemas_by_name(part, "properties")
            return [*found, properties[key]] if key in properties else found

        found = self._evaluated(own)
        for part in self.parts:
            if "propertyNames" in part.keywords and not self.converter.is_valid(
                self.converter.document.child(part, part.keywords["propertyNames"]), key
            ):
                return None
        return found

    def _evaluated(self, own: Callable[[Subschema], list[Schema]]) -> list[Subschema]:
        """The schemas of a property: the ``own`` of each part, or else its other keywords'."""
        found: list[Subschema] = []
        unknown = True
        for part in self.parts:
            schemas = own(part)
            unknown = unknown and not schemas
            if not schemas and "additionalProperties" in part.keywords:
                schemas.append(part.keywords["additionalProperties"])
            found += [self.converter.document.child(part, schema) for schema in schemas]
        for part in self.parts if unknown else ():
            if "additionalProperties" not in part.keywords:
                schemas = all_values([part], "unevaluatedProperties")
                found += [self.converter.document.child(part, schema) for schema in schemas]
        return found

    def _pair(self, key: str) -> Expression:
        """A named pair, from behind the opening quote of its key."""
        children = self._children(key)
        if children is None:
            return IMPOSSIBLE
        value = self.converter.value(children, f"{self.name}-{key}")
        spelled = {json.dumps(key, ensure_ascii=False)[1:], json.dumps(key)[1:]}
        pair = chain(prefix_tree(spelled), WS, Text(":"), WS, value, WS)
        return self.converter.rules.add(f"{self.name}-{key}-pair", pair)

    def _extras(self, named: Sequence[str], *, is_open: bool) -> list[Expression]:
        """Pairs whose names the schema does not list, from behind the opening quote."""
        by_part = [schemas_by_name(part, "patternProperties") for part in self.parts]
        patterns = list(dict.fromkeys(pattern for mine in by_part for pattern in mine))
        make = self.converter.languages
        names = self._name_languages(named)
        try:
            kinds = {one: match_language(make, parse_pattern(one)) for one in patterns}
        except (PatternUnsupported, RecursionError):
            self.converter.mark_unchecked("patternProperties")
            return [self._extra(names, [], "any")]
        if len(patterns) > _MOST_PATTERNS:
            self.converter.mark_unchecked("patternProperties")
        found = []
        for number, chosen in enumerate(_combinations(patterns)):
            if not chosen and not is_open:
                continue
            sides = [
                kinds[one] if one in chosen else make.complement(kinds[one])
                for one in patterns
                if len(patterns) <= _MOST_PATTERNS or one in chosen or not chosen
            ]
            children = self._evaluated(partial(_chosen_patterns, chosen))
            if not any(child.schema is False for child in children):
                found.append(self._extra([*names, *sides], children, f"more-{number}"))
        return found

    def _name_languages(self, named: Sequence[str]) -> list[Language]:
        """The languages of the names of other properties."""
        make = self.converter.languages
        found = [make.complement(marked(make, make.text(key))) for key in named]
        for part in self.parts:
            if "propertyNames" not in part.keywords:
                continue
            child = self.converter.document.child(part, part.keywords["propertyNames"])
            flat = self.converter.flatten([child])
            if flat is None or "string" not in types_of(flat):
                return [make.nothing]
            found += self._names_by(flat)
        return found

    def _names_by(self, flat: Sequence[Subschema]) -> list[Language]:
        make = self.converter.languages
        if any(key in _OTHER for part in flat for key in part.keywords):
            self.converter.mark_unchecked("propertyNames")
        found = string_languages(self.converter, flat)
        least, most = lower_limit(flat, "minLength"), upper_limit(flat, "maxLength")
        if least or most is not None:
            found.append(lengths(make, least, most))
        for values in listed_by(flat):
            texts = [make.text(value) for value in values if isinstance(value, str)]
            found.append(marked(make, make.union(texts)))
        return found

    def _extra(
        self, names: Sequence[Language], children: list[Subschema], label: str
    ) -> Expression:
        name = f"{self.name}-{label}"
        make = self.converter.languages
        any_key = Repeat(CHAR, 0, None)
        all_names = [*names, marked(make, make.repeat(make.char(ANY), 0))]
        key = text_rule(self.converter, all_names, f"{name}-key") if names else any_key
        if key is None:
            patterns = all_values(self.parts, "patternProperties")
            self.converter.mark_unchecked("patternProperties" if patterns else "properties")
            key = any_key
        if key == IMPOSSIBLE:
            return IMPOSSIBLE
        value = self.converter.value(children, name)
        return self.converter.rules.add(
            f"{name}-pair", chain(key, Text('"'), WS, Text(":"), WS, value, WS)
        )

    def _matches(self, pattern: str, key: str) -> bool:
        try:
            return re.search(python_pattern(pattern), key) is not None
        except PatternUnsupported:
            self.converter.mark_unchecked("patternProperties")
            return False


def _chosen_patterns(patterns: Sequence[str], part: Subschema) -> list[Schema]:
    mine = schemas_by_name(part, "patternProperties")
    return [mine[one] for one in patterns if one in mine]


_OTHER = frozenset([*("anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "dependentSchemas")])


def _combinations(patterns: Sequence[str]) -> list[tuple[str, ...]]:
    """Sets of patterns that a name may match together; of many, each alone."""
    if len(patterns) > _MOST_PATTERNS:
        return [(), *((one,) for one in patterns)]
    masks = range(1 << len(patterns))
    return [tuple(p for at, p in enumerate(patterns) if mask & (1 << at)) for mask in masks]


# Up to so many properties may come in any order: each doubles the rules.
MOST_IN_ANY_ORDER = 7
_MOST_STATES = 4000


class _MemberState(NamedTuple):
    """A position among the members: kind of rule, pairs left, number of pairs written."""

    kind: str  # first: after {; enter: a pair follows; take: a named pair; rest: a comma or }
    left: int  # in order, the next pair; in any order, a bit for each pair not yet written
    written: int


@dataclass(slots=True)
class Members:
    """Writes the rules of one object's members."""

    rules: Rules
    name: str  # prefix of the rules' names
    pairs: Sequence[tuple[Expression, bool]]  # without the opening quote; whether it is required
    extras: Sequence[Expression]  # other pairs
    least: int = 0
    most: int | None = None  # None is without limit
    counted: bool = field(init=False)  # whether least and most are enforced
    _any_order: bool = field(init=False)
    _known: dict[_MemberState, str] = field(init=False, default_factory=dict)
    _waiting: list[_MemberState] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        required = sum(needed for _, needed in self.pairs)
        below = self.most is not None and (bool(self.extras) or self.most < len(self.pairs))
        has_bounds = self.least > required or below
        top = max(self.least, self.most or 0) + 1
        self.counted = has_bounds and len(self.pairs) * top <= _MOST_STATES and top <= _MOST_STATES
        self.counted = self.counted or not has_bounds
        sets = 1 << len(self.pairs)
        self._any_order = 1 < len(self.pairs) <= MOST_IN_ANY_ORDER and sets <= self.rules.sets
        if self._any_order:
            self.rules.sets -= sets
        if not has_bounds or not self.counted:
            self.least, self.most = 0, None

    def expression(self) -> Expression:
        """The expression between the braces."""
        everything = (1 << len(self.pairs)) - 1 if self._any_order else 0
        start = self._rule(_MemberState("first", everything, 0))
        while self._waiting:
            state = self._waiting.pop()
            self.rules.bodies[self._known[state]] = self._body(state)
        return start

    def _rule(self, state: _MemberState) -> Expression:
        if state not in self._known:
            self._known[state] = self.rules.reserve(f"{self.name}-{state.kind}")
            self._waiting.append(state)
        return Ref(self._known[state])

    def _body(self, state: _MemberState) -> Expression:
        kind, left, written = state
        if kind == "take":
            return choice(self._taken(left, written))
        if kind == "enter":
            return self._entered(left, written)
        ends = [EMPTY] if self._may_end(left, written) else []
        is_full = self.most is not None and written >= self.most
        if is_full or not (self.extras or self._left(left)):
            return choice(ends)
        # With extras, what follows is long, and two rules continue with it.
        enter = state._replace(kind="enter")
        pair = self._rule(enter) if self.extras else self._entered(left, written)
        return choice([*ends, chain(Text(","), WS, pair) if kind == "rest" else pair])

    def _entered(self, left: int, written: int) -> Expression:
        """A pair, from its opening quote on, and what follows."""
        following = (
            self._rule(_MemberState("rest", left, self._after(written))) if self.extras else EMPTY
        )
        branches = [chain(extra, following) for extra in self.extras]
        if self._left(left):
            taken = self._taken(left, written) if self._any_order else []
            branches += taken or [self._rule(_MemberState("take", left, written))]
        return chain(Text('"'), choice(branches))

    def _taken(self, left: int, count: int) -> list[Expression]:
        """The next named pair and what follows; in order, or a later one."""
        after = self._after(count)
        if self._any_order:
            return [
                chain(pair, self._rule(_MemberState("rest", left & ~(1 << number), after)))
                for number, (pair, _) in enumerate(self.pairs)
                if left & (1 << number)
            ]
        pair, required = self.pairs[left]
        taken = chain(pair, self._rule(_MemberState("rest", left + 1, after)))
        if required or left + 1 == len(self.pairs):
            return [taken]
        return [taken, self._rule(_MemberState("take", left + 1, count))]

    def _left(self, left: int) -> bool:
        """Whether named pairs are left."""
        return left != 0 if self._any_order else left < len(self.pairs)

    def _may_end(self, left: int, count: int) -> bool:
        if self._any_order:
            missing = any(
                needed and left & (1 << number) for number, (_, needed) in enumerate(self.pairs)
            )
        else:
            missing = any(needed for _, needed in self.pairs[left:])
        return not missing and count >= self.least

    def _after(self, count: int) -> int:
        if self.most is not None:
            return count + 1
        return min(count + 1, self.least)


_ARRAY_KEYWORDS = (
    *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "contains"),
    *("unevaluatedItems", "uniqueItems"),
)
_MOST_FIXED = 1000
_MOST_DIFFERENT = 7  # each doubles the rules


def array_rule(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The arrays that all of ``parts`` allow.

    An array with schemas for its first items has no others unless the schema says so.
    """
    if not any(key in part.keywords for part in parts for key in _ARRAY_KEYWORDS):
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
            found.append(converter.document.child(part, schema))
    if not said:
        found += [
            converter.document.child(part, part.keywords["unevaluatedItems"])
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
    contained = converter.document.child(asking[0], asking[0].keywords["contains"])
    comma = chain(Text(","), WS)
    item = chain(converter.value(children, f"{name}-item"), WS)
    found = chain(converter.value([*children, contained], f"{name}-found"), WS)
    further = repeated(chain(comma, item), 0, None)
    return chain(repeated(chain(item, comma), 0, None), found, further)
