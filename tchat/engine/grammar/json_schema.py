"""Convert a JSON schema to GBNF, the grammar that llama.cpp samples by.

Own code, since llama-cpp-python's converter allows raw newlines in strings (invalid JSON), writes
constants in \\u escapes, mixes up definitions of the same name and drops keywords silently.

Every set of schemas that hold for one value becomes one rule, so recursion ends and nothing is
written twice. The grammar need not enforce everything: other keywords are reported as unchecked,
and the reply is validated against the schema afterwards.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tchat.engine.grammar.alternatives import Branches, Branching, are_exclusive
from tchat.engine.grammar.automata import Language, Languages
from tchat.engine.grammar.containers import array_rule, object_rule
from tchat.engine.grammar.gbnf import LONGEST, is_valid_grammar
from tchat.engine.grammar.rules import (
    IMPOSSIBLE,
    PRIMITIVES,
    VALUE,
    Expression,
    Ref,
    Rules,
    Text,
    choice,
    constants,
)
from tchat.engine.grammar.scalars import FORMATS, FREE, number_rule, string_rule
from tchat.engine.grammar.schema import (
    ABSENT,
    UNEQUAL,
    UNLIKE,
    Schema,
    SchemaDocument,
    Subschema,
    all_values,
    equality_key,
    listed_by,
    schemas_by_name,
    types_of,
)
from tchat.engine.grammar.validate import Dialect, SchemaValidator, dialect_of, with_deep_stack
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

# Limits on rules. In a larger schema, validation alone checks the deepest parts.
_MOST_STATES = (10_000, 1500, 200, 1)
_MOST_RULES = 30_000  # of a grammar of LONGEST characters
_MOST_BRANCHES = 300  # products of several choices for one value


@dataclass(frozen=True, slots=True)
class SchemaGrammar:
    """A grammar, and the keywords of the schema that it does not enforce.

    ``unchecked`` ones are validated after the reply, ``ignored`` ones never.
    """

    text: str
    unchecked: tuple[str, ...]
    ignored: tuple[str, ...] = ()


class _RuleState(NamedTuple):
    """What one rule stands for: schemas that all hold, and the choices made among them."""

    parts: tuple[Subschema, ...]
    made: frozenset[tuple[Subschema, str]]
    alone: bool  # whether all of them belong to the first
    width: int  # of the choices made


def to_gbnf(schema: Schema) -> SchemaGrammar:
    """The grammar of the JSON texts that a schema allows.

    Objects have the properties that the schema names, up to seven in any order, more in its order.
    Others follow where the schema allows them: by ``additionalProperties`` or
    ``patternProperties``, or by default in a schema that declares ``$schema``. A part without
    ``type`` is of the type that its keywords imply.

    Raises:
        UsageError: The schema allows nothing, has a broken reference, or never ends.
    """
    return with_deep_stack(lambda: _to_gbnf(schema))


def _to_gbnf(schema: Schema) -> SchemaGrammar:
    dialect = dialect_of(schema)
    for limit in _MOST_STATES:
        grammar = _Converter(schema, dialect, limit).grammar()
        if grammar is not None and is_valid_grammar(grammar.text):
            return grammar
    raise UsageError(
        tr("the JSON schema makes a grammar of more than {longest:,} characters", longest=LONGEST),
        tr("use a smaller schema, or a part of it"),
    )


class _Converter:
    """Writes one rule for each state, from a queue."""

    def __init__(self, schema: Schema, dialect: Dialect, limit: int) -> None:
        self.document = SchemaDocument(schema, legacy=dialect.legacy)
        self.rules = Rules(counts=dict.fromkeys(PRIMITIVES, 1))
        self.languages = Languages()
        self.texts: dict[tuple[Language, bool], Expression] = {}
        self._validator = SchemaValidator(schema, dialect)
        self._branches = Branches(self.document)
        self._names: dict[tuple[object, ...], str] = {}
        self._waiting: deque[tuple[str, _RuleState]] = deque()
        self._limit = limit
        self._unchecked: dict[str, set[str]] = {}
        self._current = "root"
        self._made: dict[str, Schema] = {}

    def grammar(self) -> SchemaGrammar | None:
        """The whole grammar; None when it would be too large."""
        self.rules.bodies[self.rules.reserve("root")] = self.value([self.document.root], "root")
        while self._waiting:
            if len(self.rules.bodies) > _MOST_RULES:
                return None
            self._current, state = self._waiting.popleft()
            self.rules.bodies[self._current] = self._body(state, self._current)
        whole = self.rules.pruned()
        if "root" not in whole.bodies:
            raise UsageError(
                tr("the JSON schema allows nothing: no value can satisfy all of it"),
                tr("look for bounds that cannot be combined, or a required property that is false"),
            )
        text = whole.text()
        if len(text) > LONGEST:
            return None
        left = [words for name, words in self._unchecked.items() if name in whole.bodies]
        return SchemaGrammar(text, tuple(sorted(set[str]().union(*left))), self._ignored())

    def _ignored(self) -> tuple[str, ...]:
        """What is never checked: unknown formats, and invalid patterns."""
        found: set[str] = set()
        for part in self.document.reached:
            form, pattern = part.keywords.get("format"), part.keywords.get("pattern")
            if isinstance(form, str) and form not in FORMATS and form not in FREE:
                found.add(f"format ({form})")
            if isinstance(pattern, str) and not self._validator.is_checked(pattern):
                found.add(f"pattern ({pattern})")
            found |= {
                f"patternProperties ({one})"
                for one in schemas_by_name(part, "patternProperties")
                if not self._validator.is_checked(one)
            }
        return tuple(sorted(single_line(one, 60) for one in found))

    # As of `SchemaConverter`

    def value(self, parts: Sequence[Subschema], name: str) -> Expression:
        flat = self.flatten(parts)
        if flat is None:
            return IMPOSSIBLE
        return self._rule(_RuleState(flat, frozenset(), len(parts) == 1, 1), name)

    def flatten(self, parts: Sequence[Subschema]) -> tuple[Subschema, ...] | None:
        found: dict[Subschema, None] = {}
        waiting = list(reversed(parts))
        while waiting:
            part = waiting.pop()
            if part in found or part.schema is True:
                continue
            if part.schema is False or part in self.document.circular:
                return None
            target = self.document.reference(part)
            if self.document.is_dynamic(part):
                self.mark_unchecked("$dynamicRef")
            if self.document.legacy and target is not None:
                waiting.append(target)
                continue
            found[part] = None
            added = [self.document.child(part, one) for one in part.keywords.get("allOf", ())]
            waiting += reversed([*([target] if target is not None else []), *added])
        return tuple(found)

    def is_valid(self, part: Subschema, instance: Any) -> bool:
        for flat in self.flatten([part]) or ():
            if any(value == instance for value in flat.keywords.get(UNEQUAL, ())):
                return False
            if ABSENT in flat.keywords or UNLIKE in flat.keywords:
                self.mark_unchecked("not")
        return self._validator.is_valid(part.schema, instance)

    def listed_values(self, parts: Sequence[Subschema]) -> list[Any] | None:
        lists = [{equality_key(value): value for value in values} for values in listed_by(parts)]
        if not lists:
            return None
        found = [value for key, value in lists[0].items() if all(key in one for one in lists)]
        for part in parts:
            found = self._validator.filter_valid(part.schema, found)
            for other in part.keywords.get(UNEQUAL, ()):
                found = [value for value in found if equality_key(value) != equality_key(other)]
            if UNLIKE in part.keywords or ABSENT in part.keywords:
                found = [value for value in found if self.is_valid(part, value)]
        return found

    def mark_unchecked(self, keyword: str) -> None:
        self._unchecked.setdefault(self._current, set()).add(keyword)

    # States

    def _rule(self, state: _RuleState, name: str) -> Expression:
        if not state.parts:
            return VALUE
        key = (frozenset(state.parts), state.made, state.alone)
        if key not in self._names:
            if len(self._names) >= self._limit:
                self.mark_unchecked(tr("deeper parts (the schema is too large)"))
                return choice(Ref(kind) for kind in types_of(state.parts))
            self._names[key] = self.rules.reserve(name)
            self._waiting.append((self._names[key], state))
        return Ref(self._names[key])

    def _body(self, state: _RuleState, name: str) -> Expression:
        parts = state.parts
        listed = self.listed_values(parts)
        if listed is not None:
            return constants(listed) if listed else IMPOSSIBLE
        for part in parts:
            for branching in self._branches.of(part):
                mark = (part, branching.keyword)
                if mark in state.made:
                    continue
                chosen = self._chosen(state, part, branching, name)
                if chosen is not None:
                    return chosen
        return self._typed(state, name)

    def _chosen(
        self, state: _RuleState, part: Subschema, branching: Branching, name: str
    ) -> Expression | None:
        """The choice among the alternatives of a keyword; None when it is unchecked."""
        word = branching.keyword.split()[0]
        if not branching.exact:
            self.mark_unchecked(word)
        count = len(branching.alternatives)
        if branching.alternatives == [[]]:
            return None
        if state.width * count > _MOST_BRANCHES and count > 1 and state.width > 1:
            self.mark_unchecked(word)
            return None
        made = state.made | {(part, branching.keyword)}
        members = self._members(state, part, branching.alternatives)
        if branching.keyword == "oneOf" and not are_exclusive(self, members):
            alternatives = self._branches.disjoint_alternatives(part, part.keywords["oneOf"])
            if alternatives is None:
                self.mark_unchecked("oneOf")
            else:
                members = self._members(state, part, alternatives)
        return choice(
            self._rule(_RuleState(flat, made, state.alone, state.width * count), f"{name}-{number}")
            for number, flat in enumerate(members, 1)
        )

    def _members(
        self, state: _RuleState, part: Subschema, alternatives: Sequence[Sequence[Schema]]
    ) -> list[tuple[Subschema, ...]]:
        """The parts of each possible alternative, with those beside it."""
        members: list[tuple[Subschema, ...]] = []
        for alternative in alternatives:
            added = [self.document.child(part, self._interned(schema)) for schema in alternative]
            flat = self.flatten([*state.parts, *added])
            if flat is not None:
                members.append(flat)
        return members

    def _interned(self, schema: Schema) -> Schema:
        """One object for equal negations."""
        if isinstance(schema, bool) or self.document.knows(schema):
            return schema
        return self._made.setdefault(json.dumps(schema, sort_keys=True, default=str), schema)

    def _typed(self, state: _RuleState, name: str) -> Expression:
        parts = state.parts
        writers = {"object": object_rule, "array": array_rule, "string": string_rule}
        unequal = [value for values in all_values(parts, UNEQUAL) for value in values]
        unequal_keys = set(map(equality_key, unequal))
        branches: list[Expression] = []
        for kind in types_of(parts):
            if kind in _UNEVALUATED:
                self._name_unevaluated(state, _UNEVALUATED[kind])
            if kind in writers:
                branches.append(writers[kind](self, parts, name))
            elif kind in ("number", "integer"):
                branches.append(number_rule(self, parts, name, integer=kind == "integer"))
            else:
                texts = ["true", "false"] if kind == "boolean" else ["null"]
                branches += [Text(text) for text in texts if text not in unequal_keys]
            if kind in _UNEVALUATED and any(isinstance(one, dict | list) for one in unequal):
                self.mark_unchecked("not")
        return choice(branches)

    def _name_unevaluated(self, state: _RuleState, key: str) -> None:
        """Report a keyword where the evaluated properties are not those of the grammar."""
        having = [number for number, part in enumerate(state.parts) if key in part.keywords]
        uneven = any(word in part.keywords for part in state.parts for word in _UNEVEN)
        if having and (not state.alone or uneven or max(having) > 0):
            self.mark_unchecked(key)


_UNEVALUATED = {"object": "unevaluatedProperties", "array": "unevaluatedItems"}
# They use properties without evaluating them.
_UNEVEN = ("not", "if", "dependentSchemas", "dependencies", "contains")
