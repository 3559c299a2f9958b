"""The values of a call's arguments, from JSON or from plain text by their schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tchat.tools.syntaxes.literals import whole_value
from tchat.tools.syntaxes.reader import DEEPEST, BrokenCall, too_deep
from tchat.translation import tr

_CHOICES = ("anyOf", "oneOf", "allOf")
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"),
    (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip


def decoded(text: str) -> Any:
    """A value from JSON; line breaks in strings are taken as they are.

    Raises:
        BrokenCall: It is not JSON.
    """
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise BrokenCall(tr("its arguments are not JSON: {error}", error=error)) from error


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call from a JSON object, or from a string that holds one.

    Raises:
        BrokenCall: It is not an object.
    """
    return as_arguments(decoded(text))


def as_arguments(value: Any) -> dict[str, Any]:
    """``value`` as the arguments of a call; some models put their JSON into a string."""
    if isinstance(value, str):
        value = decoded(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BrokenCall(tr("its arguments are not a JSON object"))
    return value


def storable(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON can hold it: halves of characters become U+FFFD.

    Raises:
        BrokenCall: It is nested too deeply, or holds a number beyond all bounds.
    """
    if depth > DEEPEST:
        raise BrokenCall(too_deep())
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case float() if not math.isfinite(value):
            raise BrokenCall(tr("a number in its arguments is too large"))
        case list():
            return [storable(each, depth + 1) for each in value]
        case dict():
            return {storable(key): storable(each, depth + 1) for key, each in value.items()}
    return value


def typed_argument(text: str, schema: Mapping[str, Any], name: str) -> Any:
    """The value of the argument ``name`` from plain text, by the schema of all arguments."""
    properties = schema.get("properties")
    own = properties.get(name) if isinstance(properties, Mapping) else None
    return typed(text, own if isinstance(own, Mapping) else {}, schema)


def typed(text: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value from plain text by its schema, a part of ``root``.

    What the schema takes only as a string stays as it is written. Anything else is JSON, or stays
    text where it is not: whoever checks the arguments can say more about that.
    """
    types = types_of(schema, root)
    if types == {"string"}:
        return text
    try:
        value = _json_or_python(text.strip())
    except BrokenCall:
        return text
    if "string" in types and (_type(value) not in types or isinstance(value, str)):
        return text
    return value


def _json_or_python(text: str) -> Any:
    try:
        return decoded(text)
    except BrokenCall:
        return whole_value(text)  # as some templates write lists and truths


def types_of(schema: Mapping[str, Any], root: Mapping[str, Any], left: int = 8) -> set[str]:
    """The JSON types that a schema takes; empty where it does not say."""
    said = schema.get("type")
    names = [said] if isinstance(said, str) else said
    if isinstance(names, list):
        return {str(name) for name in names} | ({"integer"} if "number" in names else set())
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return {_type(value) for value in values}
    branches = [b for word in _CHOICES if isinstance(some := schema.get(word), list) for b in some]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        branches.append(_referenced(reference, root))
    schemas = [b for b in branches if isinstance(b, Mapping)] if left else []
    return {name for branch in schemas for name in types_of(branch, root, left - 1)}


def _referenced(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``#/$defs/name`` names; an empty schema where that is nothing."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _type(value: Any) -> str:
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "null")
