"""Replies in a form: JSON by a schema, or one of a few labels."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tchat.engine.gbnf import SchemaGrammar, to_gbnf
from tchat.engine.patterns import literal
from tchat.engine.subschemas import Schema
from tchat.errors import TchatError, UsageError
from tchat.paths import expanded

__all__ = [
    "ReplyMismatch",
    "Schema",
    "SchemaGrammar",
    "choice_grammar",
    "parse_schema",
    "to_gbnf",
    "validate",
]

_MAX_FILE = 1 << 20  # bytes


class ReplyMismatch(TchatError):
    """The reply is no JSON, or not of the schema's form."""


def parse_schema(text_or_path: str) -> dict[str, Any]:
    """A JSON schema given inline, or as the path of a file.

    Raises:
        UsageError: It cannot be read, is no JSON (with line and column), or is no schema.
    """
    if text_or_path.lstrip().startswith("{"):
        text, origin = text_or_path, "the JSON schema"
    else:
        text, origin = _read(expanded(text_or_path)), text_or_path
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{origin} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            'a schema looks like {"type": "object", "properties": {"name": {"type": "string"}}}',
        ) from error
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply", "flatten it") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{origin} is no JSON object", "a schema begins with {")
    _check(schema, origin)
    return schema


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
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise UsageError(
            f"{origin} is no valid JSON schema: {_one_line(error.message)} (at {place})",
            "see https://json-schema.org/learn",
        ) from error


def validate(reply: str, schema: Schema) -> Any:
    """The value that a reply says, checked against the schema.

    Raises:
        ReplyMismatch: The reply is no JSON, or does not follow the schema.
    """
    from jsonschema import ValidationError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for

    try:
        value = json.loads(reply)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReplyMismatch(
            f"the model's reply is no JSON: {_one_line(str(error))}",
            "it may have been cut off: try a larger --max-tokens",
        ) from error
    fault: ValidationError | None = best_match(validator_for(schema)(schema).iter_errors(value))
    if fault is not None:
        place = "/".join(map(str, fault.absolute_path)) or "the top"
        raise ReplyMismatch(
            f"the model's reply does not follow the schema: {_one_line(fault.message)}"
            f" (at {place})",
            "try again, or a larger model",
        )
    return value


def choice_grammar(labels: Sequence[str]) -> str:
    """GBNF that allows exactly one of ``labels``.

    Raises:
        UsageError: There are fewer than two labels, or one is empty or there twice.
    """
    if len(labels) < 2:
        raise UsageError("a choice needs at least two labels", "for example: --choose yes,no")
    if not all(label.strip() for label in labels):
        raise UsageError("a label of the choice is empty", "for example: --choose yes,no")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"the label {_one_line(twice)} is there twice", "name each label once")
    return "root ::= " + " | ".join(map(literal, labels)) + "\n"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"
