"""Read a JSON schema, and validate replies against it with its own formats, and offline."""

from __future__ import annotations

import json
import math
import operator
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from tchat.engine.grammar.alternatives import ANNOTATIONS
from tchat.engine.grammar.regex import PatternUnsupported, python_pattern
from tchat.engine.grammar.scalars import FORMATS, decimal, has_format
from tchat.engine.grammar.schema import Schema, SchemaDocument, equality_key
from tchat.errors import TchatError, UsageError
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.translation import tr

_MAX_FILE = 1 << 20  # bytes
_LONGEST_MESSAGE = 200  # characters


class ReplyMismatch(TchatError):
    """The reply is not valid JSON, or invalid by the schema."""


class _NoJson(ValueError):
    """The text parses as JSON, but has values that JSON does not allow."""


def parse_schema(text_or_path: str) -> dict[str, Any]:
    """Parse a JSON schema, given inline or as the path of a file.

    Raises:
        UsageError: It cannot be read, is no JSON (with line and column), is no schema, or refers
            to another document.
    """
    if text_or_path.lstrip().startswith("{"):
        text, origin = text_or_path, tr("the JSON schema")
    else:
        text, origin = _read(expanded(text_or_path)), text_or_path
    try:
        schema = _loaded(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            tr(
                "{origin} is not valid JSON: {reason} in line {lineno}, column {colno}",
                origin=origin,
                reason=error.msg,
                lineno=error.lineno,
                colno=error.colno,
            ),
            _schema_example(),
        ) from error
    except ValueError as error:
        raise UsageError(
            tr("{origin} is not valid JSON: {error}", origin=origin, error=error),
            tr("check its syntax"),
        ) from error
    except RecursionError as error:
        raise UsageError(
            tr("{origin} is nested too deeply", origin=origin), tr("flatten it")
        ) from error
    if not isinstance(schema, dict):
        raise UsageError(
            tr("{origin} is not a JSON object", origin=origin), tr("a schema begins with {")
        )
    _check(schema, origin)
    return schema


def _loaded(text: str) -> Any:
    """Parse standard JSON: no NaN, no numbers beyond floats, no lone surrogates."""
    value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    # A lone surrogate is no text, and could not be written anywhere.
    if re.search(r"\\u[dD][89a-fA-F]", text) or not text.isascii():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise _NoJson(tr("it holds half of a surrogate pair (\\ud800 to \\udfff)")) from error
    return value


def _refuse(name: str) -> NoReturn:
    raise _NoJson(tr("{name} is not a JSON number", name=name))


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NoJson(tr("the number {digits} is too large", digits=single_line(digits, limit=40)))
    return number


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise _NoJson(
            tr("a number of {digits:,} digits is too long", digits=len(digits))
        ) from error


def _read(path: Path) -> str:
    # A FIFO would wait for a writer for ever. Unlike Path's, these never raise.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise UsageError(
            tr("cannot read the JSON schema {path}: it is not a file", path=path),
            tr("give the path of a file, or the schema itself beginning with {"),
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            tr("cannot read the JSON schema {path}: {reason}", path=path, reason=reason),
            tr("give the path of a file, or the schema itself beginning with {"),
        ) from error
    if len(data) > _MAX_FILE:
        raise UsageError(
            tr("the JSON schema {path} is larger than 1 MB", path=path), tr("give a smaller one")
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            tr("the JSON schema {path} is not UTF-8", path=path), tr("save it as UTF-8")
        ) from error


def _check(schema: dict[str, Any], origin: str) -> None:
    from jsonschema.exceptions import best_match

    try:
        dialect = dialect_of(schema)
        fault = best_match(schema_errors(schema, dialect.validator))
        SchemaDocument(schema, legacy=dialect.legacy)
    except RecursionError as error:
        raise UsageError(
            tr("{origin} is nested too deeply", origin=origin), tr("flatten it")
        ) from error
    if fault is not None:
        path = "/".join(map(str, fault.absolute_path)) or tr("the top")
        raise UsageError(
            tr(
                "{origin} is not a JSON schema: {reason} (at {pointer})",
                origin=origin,
                reason=_one_line(fault.message),
                pointer=_one_line(path),
            ),
            tr("see https://json-schema.org/learn"),
        )
    if unknown := _unknown_keywords(schema, dialect):
        raise UsageError(
            tr(
                "{origin} has no keyword of JSON Schema that says what the reply is, only {names}",
                origin=origin,
                names=_one_line(", ".join(unknown)),
            ),
            _schema_example(),
        )


def _schema_example() -> str:
    return tr('a schema looks like {"type": "object", "properties": {"name": {"type": "string"}}}')


def _unknown_keywords(schema: dict[str, Any], dialect: Dialect) -> list[str]:
    """The unknown keywords of a schema that has them and constrains nothing.

    That is what ``{"name": "string"}`` is: each key would be ignored, and any reply allowed.
    """
    constraining = {*dialect.validator.VALIDATORS, *_SHARED, "then", "else"}
    if not constraining.isdisjoint(schema):
        return []
    return [key for key in schema if key not in ANNOTATIONS and not key.startswith(("$", "x-"))]


class ReplyValidator:
    """Validates replies against a schema; make one for many replies.

    Args:
        schema: As of `parse_schema`.
    """

    def __init__(self, schema: Schema) -> None:
        self._validator = SchemaValidator(schema, dialect_of(schema))

    def value(self, reply: str) -> Any:
        """The value of a reply, validated against the schema.

        Raises:
            ReplyMismatch: The reply is not valid JSON, or does not follow the schema.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            value = with_deep_stack(lambda: _loaded(reply))
            fault = best_match(self._validator.errors(value))
        except json.JSONDecodeError as error:
            raise ReplyMismatch(
                tr(
                    "the model's reply is not valid JSON: {reason}",
                    reason=_one_line(str(error)),
                ),
                tr("it may have been cut off: try a larger --max-tokens"),
            ) from error
        except _NoJson as error:
            raise ReplyMismatch(
                tr("the model's reply is not valid JSON: {error}", error=error), tr("try again")
            ) from error
        except RecursionError as error:
            raise ReplyMismatch(
                tr("the model's reply is nested too deeply to be checked"),
                tr("use a flatter schema"),
            ) from error
        except (Unresolvable, re.error) as error:
            raise ReplyMismatch(
                tr("the schema cannot check the reply: {reason}", reason=_one_line(str(error))),
                tr("mend the reference or the pattern"),
            ) from error
        if fault is not None:
            path = "/".join(map(str, fault.absolute_path)) or tr("the top")
            raise ReplyMismatch(
                tr(
                    "the model's reply does not follow the schema: {reason} (at {pointer})",
                    reason=_one_line(fault.message),
                    pointer=_one_line(path),
                ),
                tr("try again, or a larger model"),
            )
        return value


def validate(reply: str, schema: Schema) -> Any:
    """The value of one reply, validated against the schema.

    Raises:
        ReplyMismatch: As `ReplyValidator.value`.
    """
    return ReplyValidator(schema).value(reply)


def _one_line(text: str) -> str:
    return single_line(" ".join(text.split()), _LONGEST_MESSAGE)


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
# The limit of frames is the process's own, and so is the lock of those who raise it. Raised to
# this, it still guards the other threads: a stack of 8 MB holds some 25,000 frames of a validation.
_DEEPEST = 10_000
_DEEP_STACK = 32 << 20  # bytes
_RAISING = threading.Lock()  # held while the limit is raised
_raised = ContextVar("raised", default=False)  # whether this thread raised it


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
        fitting = (one for one in drafts if next(schema_errors(schema, one), None) is None)
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


def schema_errors(schema: Schema, validator: Any) -> Iterator[Any]:
    """The errors in a schema by a draft; patterns and formats are not checked."""
    from jsonschema import FormatChecker

    plain = validator(validator.META_SCHEMA, format_checker=FormatChecker(formats=()))
    return with_deep_stack(lambda: iter(list(plain.iter_errors(schema))))


def with_deep_stack(work: Callable[[], T]) -> T:
    """The outcome of ``work``, which has no effects; again on a large stack where it nests deeply.

    Raises:
        RecursionError: It nests more deeply than the large stack holds, or there is none.
    """
    try:
        return work()
    except RecursionError as error:
        if _raised.get():
            raise
        from tchat.engine.engine_thread import on_large_stack

        with suppress(MemoryError):
            return on_large_stack(lambda: _with_frames(work), least=_DEEP_STACK)
        raise RecursionError from error


def _with_frames(work: Callable[[], T]) -> T:
    """The outcome of ``work``, on this thread's large stack, with a raised limit of frames."""
    with _RAISING:
        _raised.set(True)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, _DEEPEST))
        try:
            return work()
        finally:
            sys.setrecursionlimit(limit)


class SchemaValidator:
    """Validates values by a schema and its parts.

    Args:
        schema: The whole schema.
        dialect: As of `dialect_of`.
    """

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        from jsonschema import FormatChecker
        from jsonschema.validators import Draft7Validator, extend
        from referencing import Registry

        # The grammar knows them in every draft: so does the check.
        known = dialect.validator.VALIDATORS
        keywords = {
            **{key: Draft7Validator.VALIDATORS[key] for key in _SHARED if key not in known},
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "multipleOf": _multiple_of,
            **_BOUNDS,
        }
        kind = extend(dialect.validator, keywords)  # type: ignore[no-untyped-call]
        checker = FormatChecker(formats=())
        checker.checkers = {name: (_format(name), ()) for name in FORMATS}
        # An empty registry: references out of the document lead nowhere, and open nothing.
        self._validator = kind(_undeclared(schema), registry=Registry(), format_checker=checker)
        self._patterns: dict[str, re.Pattern[str] | None] = {}

    def errors(self, value: Any) -> Iterable[Any]:
        """The errors in a value, as jsonschema's."""
        found: list[Any] = with_deep_stack(lambda: list(self._validator.iter_errors(value)))
        return found

    def is_valid(self, schema: Schema, value: Any) -> bool:
        """Whether a value is valid by a part of the schema; True where that is undecidable."""
        from referencing.exceptions import Unresolvable

        part = self._validator.evolve(schema=_undeclared(schema))
        try:
            return bool(with_deep_stack(lambda: part.is_valid(value)))
        except (Unresolvable, re.error, RecursionError):
            return True

    def filter_valid(self, schema: Schema, values: Sequence[Any]) -> list[Any]:
        """The ``values`` that are valid by a part of the schema."""
        if isinstance(schema, bool):
            return list(values) if schema else []
        # Looked up, since jsonschema compares with each value of an enum in turn.
        listed = [[schema["const"]]] if "const" in schema else []
        listed += [schema["enum"]] if "enum" in schema else []
        allowed = [set(map(equality_key, one)) for one in listed]
        rest = {
            key: value
            for key, value in schema.items()
            if key not in ("const", "enum") and key not in ANNOTATIONS
        }
        return [
            value
            for value in values
            if all(equality_key(value) in keys for keys in allowed)
            and (not rest or self.is_valid(rest, value))
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
            yield ValidationError(
                tr("{instance!r} does not match {pattern!r}", instance=instance, pattern=pattern)
            )

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
                yield ValidationError(tr("the property {key!r} is not allowed", key=key))
            else:
                yield from validator.descend(instance[key], additional, path=key)


def _undeclared(schema: Schema) -> Schema:
    """``schema`` without its draft, at which jsonschema would leave our keywords for its own."""
    if isinstance(schema, bool) or "$schema" not in schema:
        return schema
    return {key: value for key, value in schema.items() if key != "$schema"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _multiple_of(_: Any, of: Any, instance: Any, __: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if _is_number(instance):
        (n, m), (p, q) = decimal(instance).as_integer_ratio(), decimal(of).as_integer_ratio()
        if n * q % (m * p):
            yield ValidationError(
                tr("{instance!r} is not a multiple of {of!r}", instance=instance, of=of)
            )


_Compare: TypeAlias = Callable[[Decimal, Decimal], bool]


def _bound(keyword: str, is_beyond: _Compare, is_at_or_beyond: _Compare) -> Callable[..., Any]:
    """The check of a bound, in decimals as the grammar reads it."""

    def check(_: Any, bound: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        from jsonschema import ValidationError

        if _is_number(bound) and _is_number(instance):
            # Draft 4 has a boolean beside the bound.
            excluded = keyword.startswith("excl") or schema.get(f"exclusiveM{keyword[1:]}") is True
            fails = is_at_or_beyond if excluded else is_beyond
            if fails(decimal(instance), decimal(bound)):
                yield ValidationError(
                    tr(
                        "{instance!r} violates {keyword} {bound!r}",
                        instance=instance,
                        keyword=keyword,
                        bound=bound,
                    )
                )

    return check


_BOUNDS = {
    "minimum": _bound("minimum", operator.lt, operator.le),
    "exclusiveMinimum": _bound("exclusiveMinimum", operator.lt, operator.le),
    "maximum": _bound("maximum", operator.gt, operator.ge),
    "exclusiveMaximum": _bound("exclusiveMaximum", operator.gt, operator.ge),
}


def _format(name: str) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or has_format(name, value)
