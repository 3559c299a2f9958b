"""Read a JSON schema, and validate replies against it."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tchat.engine.grammar.schema_document import Schema, SchemaDocument
from tchat.engine.grammar.validate import Dialect, Validity, deeply, dialect_of, faults_of
from tchat.errors import TchatError, UsageError
from tchat.paths import expanded
from tchat.sanitize import single_line

_MAX_FILE = 1 << 20  # bytes
_LONGEST_MESSAGE = 200  # characters


class ReplyMismatch(TchatError):
    """The reply is no JSON, or invalid by the schema."""


class _NoJson(ValueError):
    """The text parses as JSON, but has values that JSON does not allow."""


def parse_schema(text_or_path: str) -> dict[str, Any]:
    """Parse a JSON schema, given inline or as the path of a file.

    Raises:
        UsageError: It cannot be read, is no JSON (with line and column), is no schema, or refers
            to another document.
    """
    if text_or_path.lstrip().startswith("{"):
        text, origin = text_or_path, "the JSON schema"
    else:
        text, origin = _read(expanded(text_or_path)), text_or_path
    try:
        schema = _loaded(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{origin} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            'a schema looks like {"type": "object", "properties": {"name": {"type": "string"}}}',
        ) from error
    except ValueError as error:
        raise UsageError(f"{origin} is no JSON: {error}", "write it otherwise") from error
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply", "flatten it") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{origin} is no JSON object", "a schema begins with {")
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
            raise _NoJson("it holds half of a surrogate pair (\\ud800 to \\udfff)") from error
    return value


def _refuse(name: str) -> NoReturn:
    raise _NoJson(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NoJson(f"the number {single_line(digits, limit=40)} is too large")
    return number


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise _NoJson(f"a number of {len(digits):,} digits is too long") from error


def _read(path: Path) -> str:
    # A FIFO would wait for a writer for ever. Unlike Path's, these never raise.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise UsageError(
            f"cannot read the JSON schema {path}: it is not a file",
            "give the path of a file, or the schema itself beginning with {",
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot read the JSON schema {path}: {reason}",
            "give the path of a file, or the schema itself beginning with {",
        ) from error
    if len(data) > _MAX_FILE:
        raise UsageError(f"the JSON schema {path} is larger than 1 MB", "give a smaller one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"the JSON schema {path} is not UTF-8", "save it as UTF-8") from error


def _check(schema: dict[str, Any], origin: str) -> None:
    from jsonschema.exceptions import best_match

    try:
        dialect = dialect_of(schema)
        fault = best_match(faults_of(schema, dialect.validator))
        SchemaDocument(schema, legacy=dialect.legacy)
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply", "flatten it") from error
    if fault is not None:
        place = "/".join(map(str, fault.absolute_path)) or "the top"
        raise UsageError(
            f"{origin} is no valid JSON schema: {_one_line(fault.message)} (at {_one_line(place)})",
            "see https://json-schema.org/learn",
        )


@dataclass(slots=True)
class ReplyValidator:
    """Validates replies against a schema; make one for many replies.

    Args:
        schema: As of `parse_schema`.
    """

    schema: Schema
    _validity: Validity = field(init=False)

    def __post_init__(self) -> None:
        dialect: Dialect = dialect_of(self.schema)
        self._validity = Validity(self.schema, dialect)

    def value(self, reply: str) -> Any:
        """The value of a reply, validated against the schema.

        Raises:
            ReplyMismatch: The reply is no JSON, or does not follow the schema.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            value = deeply(lambda: _loaded(reply))
            fault = best_match(self._validity.faults(value))
        except json.JSONDecodeError as error:
            raise ReplyMismatch(
                f"the model's reply is no JSON: {_one_line(str(error))}",
                "it may have been cut off: try a larger --max-tokens",
            ) from error
        except _NoJson as error:
            raise ReplyMismatch(f"the model's reply is no JSON: {error}", "try again") from error
        except RecursionError as error:
            raise ReplyMismatch(
                "the model's reply is nested too deeply to be checked", "use a flatter schema"
            ) from error
        except (Unresolvable, re.error) as error:
            raise ReplyMismatch(
                f"the schema cannot check the reply: {_one_line(str(error))}",
                "mend the reference or the pattern",
            ) from error
        if fault is not None:
            place = "/".join(map(str, fault.absolute_path)) or "the top"
            raise ReplyMismatch(
                f"the model's reply does not follow the schema: {_one_line(fault.message)}"
                f" (at {_one_line(place)})",
                "try again, or a larger model",
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
