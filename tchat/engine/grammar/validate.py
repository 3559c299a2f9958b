"""Validation by a JSON schema: with its own formats and patterns, and without any connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from tchat.engine.grammar.alternatives import ANNOTATIONS
from tchat.engine.grammar.formats import FORMATS, follows
from tchat.engine.grammar.keywords import key_of
from tchat.engine.grammar.regex import PatternUnsupported, python_pattern
from tchat.engine.grammar.schema_document import Schema

T = TypeVar("T")

_LATEST = "https://json-schema.org/draft/2020-12/schema"
# A schema without $schema is of the newest draft that finds no fault in it.
_DRAFTS = (
    _LATEST,
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-04/schema#",
)
_SHARED = ("const", "contains", "propertyNames", "if", "dependencies")
_WERE_BOOLEAN = ("exclusiveMinimum", "exclusiveMaximum", "required")
_LEGACY = re.compile(r"draft-0[3467]")
_DEEPEST = 100_000  # frames of a validation on its own stack


@dataclass(frozen=True, slots=True)
class Dialect:
    """A draft of JSON Schema."""

    validator: Any
    legacy: bool  # draft 7 or before: nothing beside $ref counts


def dialect_of(schema: Schema) -> Dialect:
    """The draft that a schema is of.

    That is the one it states; where it states none, or is written in the form of an older one,
    the newest draft that finds no fault in it.
    """
    from jsonschema.validators import Draft202012Validator, validator_for

    stated = None if isinstance(schema, bool) else _known(schema)
    first = stated or Draft202012Validator
    if _looks_old(schema):
        drafts = [first, *(validator_for({"$schema": draft}) for draft in _DRAFTS)]
        fitting = (one for one in drafts if next(faults_of(schema, one), None) is None)
        first = next(fitting, first)
    return Dialect(first, bool(_LEGACY.search(str(first.META_SCHEMA.get("$schema", "")))))


def _known(schema: Mapping[str, Any]) -> Any:
    """The validator of the draft that a schema states; None for an unknown one."""
    from jsonschema.validators import validator_for

    if not isinstance(schema.get("$schema", ""), str):
        return None
    return validator_for(schema, default=None)  # type: ignore[arg-type]  # None is handed back


def _looks_old(schema: Schema) -> bool:
    """Whether it has keywords in a form that the newest draft does not know."""
    waiting: list[Any] = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if any(isinstance(one.get(key), bool) for key in _WERE_BOOLEAN):
                return True
            if isinstance(one.get("items"), list):
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


def faults_of(schema: Schema, validator: Any) -> Iterator[Any]:
    """What is wrong with a schema by a draft; its patterns and formats are not looked at."""
    from jsonschema import FormatChecker

    plain = validator(validator.META_SCHEMA, format_checker=FormatChecker(formats=()))
    return deeply(lambda: iter(list(plain.iter_errors(schema))))


def deeply(work: Callable[[], T]) -> T:
    """The outcome of ``work``, which has no effects; again on a large stack where it nests deeply.

    Raises:
        RecursionError: It nests more deeply than the large stack holds.
    """
    try:
        return work()
    except RecursionError:
        pass
    import sys

    from tchat.engine.engine_thread import on_large_stack

    def raised() -> T:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, _DEEPEST))
        try:
            return work()
        finally:
            sys.setrecursionlimit(limit)

    return on_large_stack(raised)


@dataclass(slots=True)
class Validity:
    """Decides whether values follow a schema and its parts.

    Args:
        schema: The whole schema.
        dialect: As of `dialect_of`.
    """

    schema: Schema
    dialect: Dialect
    _validator: Any = field(init=False)
    _patterns: dict[str, re.Pattern[str] | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        from jsonschema import FormatChecker
        from jsonschema.validators import Draft7Validator, extend
        from referencing import Registry

        # The grammar knows them in every draft: so does the check.
        known = self.dialect.validator.VALIDATORS
        keywords = {
            **{key: Draft7Validator.VALIDATORS[key] for key in _SHARED if key not in known},
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "multipleOf": _multiple_of,
            **_BOUNDS,
        }
        kind = extend(self.dialect.validator, keywords)  # type: ignore[no-untyped-call]
        checker = FormatChecker(formats=())
        checker.checkers = {name: (_format(name), ()) for name in FORMATS}
        # An empty registry: references out of the document lead nowhere, and open nothing.
        self._validator = kind(
            _undeclared(self.schema), registry=Registry(), format_checker=checker
        )

    def faults(self, value: Any) -> Iterable[Any]:
        """What is wrong with a value, as jsonschema's errors."""
        found: list[Any] = deeply(lambda: list(self._validator.iter_errors(value)))
        return found

    def holds(self, schema: Schema, value: Any) -> bool:
        """Whether a value is valid by a part of the schema; True where that cannot be decided."""
        from referencing.exceptions import Unresolvable

        part = self._validator.evolve(schema=_undeclared(schema))
        try:
            return bool(deeply(lambda: part.is_valid(value)))
        except (Unresolvable, re.error, RecursionError):
            return True

    def kept(self, schema: Schema, values: Sequence[Any]) -> list[Any]:
        """Those of ``values`` that are valid by a part of the schema."""
        if isinstance(schema, bool):
            return list(values) if schema else []
        # Looked up, since jsonschema compares with each value of an enum in turn.
        listed = [*([[schema["const"]]] if "const" in schema else [])]
        listed += [schema["enum"]] if "enum" in schema else []
        allowed = [set(map(key_of, one)) for one in listed]
        rest = {
            key: value
            for key, value in schema.items()
            if key not in ("const", "enum") and key not in ANNOTATIONS
        }
        return [
            value
            for value in values
            if all(key_of(value) in keys for keys in allowed)
            and (not rest or self.holds(rest, value))
        ]

    def is_checked(self, pattern: str) -> bool:
        """Whether a pattern can be checked at all."""
        return self._compiled(pattern) is not None

    def _compiled(self, pattern: str) -> re.Pattern[str] | None:
        if pattern not in self._patterns:
            try:
                self._patterns[pattern] = re.compile(python_pattern(pattern))
            except PatternUnsupported:
                self._patterns[pattern] = None
        return self._patterns[pattern]

    def _matches(self, pattern: str, text: str) -> bool:
        compiled = self._compiled(pattern)
        return compiled is None or compiled.search(text) is not None

    def _pattern(self, _: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
        from jsonschema import ValidationError

        if isinstance(instance, str) and not self._matches(pattern, instance):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")

    def _pattern_properties(
        self, validator: Any, patterns: Mapping[str, Any], instance: Any, _: Any
    ) -> Iterator[Any]:
        for pattern, schema in patterns.items() if isinstance(instance, dict) else ():
            for key, value in instance.items():
                if self._matches(pattern, key):
                    yield from validator.descend(value, schema, path=key, schema_path=pattern)

    def _additional_properties(
        self, validator: Any, additional: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[Any]:
        from jsonschema import ValidationError

        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for key in instance if isinstance(instance, dict) else ():
            if key in named or any(self._matches(pattern, key) for pattern in patterns):
                continue
            if additional is False:
                yield ValidationError(f"the property {key!r} is not allowed")
            else:
                yield from validator.descend(instance[key], additional, path=key)


def _undeclared(schema: Schema) -> Schema:
    """``schema`` without its draft, at which jsonschema would leave our keywords for its own."""
    if isinstance(schema, bool) or "$schema" not in schema:
        return schema
    return {key: value for key, value in schema.items() if key != "$schema"}


def _multiple_of(_: Any, of: Any, instance: Any, __: Any) -> Iterator[Any]:
    """In decimals: 0.07 is a multiple of 0.01, which binary fractions deny."""
    from jsonschema import ValidationError

    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    number, divisor = Decimal(repr(instance)), Decimal(repr(of))
    (n, m), (p, q) = number.as_integer_ratio(), divisor.as_integer_ratio()
    if n * q % (m * p):
        yield ValidationError(f"{instance!r} is not a multiple of {of!r}")


def _bound(keyword: str, fails: Callable[[Decimal, Decimal, bool], bool]) -> Callable[..., Any]:
    """The check of a bound, in decimals as the grammar reads it: 1e30 is 10 to the 30th.

    Args:
        keyword: ``minimum`` or ``maximum``, or what excludes it.
        fails: Of a number, the bound, and whether the bound is excluded.
    """

    def check(_: Any, bound: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        from jsonschema import ValidationError

        if isinstance(bound, bool) or isinstance(instance, bool):
            return
        if not isinstance(instance, int | float):
            return
        excluded = keyword.startswith("excl")
        excluded = excluded or schema.get(f"exclusiveM{keyword[1:]}") is True  # in draft 4
        if fails(Decimal(repr(instance)), Decimal(repr(bound)), excluded):
            yield ValidationError(f"{instance!r} does not keep the {keyword} of {bound!r}")

    return check


def _is_under(number: Decimal, bound: Decimal, excluded: bool) -> bool:
    return number < bound or (excluded and number == bound)


def _is_over(number: Decimal, bound: Decimal, excluded: bool) -> bool:
    return number > bound or (excluded and number == bound)


_BOUNDS = {
    "minimum": _bound("minimum", _is_under),
    "exclusiveMinimum": _bound("exclusiveMinimum", _is_under),
    "maximum": _bound("maximum", _is_over),
    "exclusiveMaximum": _bound("exclusiveMaximum", _is_over),
}


def _format(name: str) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or follows(name, value)
