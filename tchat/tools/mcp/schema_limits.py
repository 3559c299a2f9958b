"""Bounds for the JSON schemas of servers: what a hostile one could cost.

A schema is used by a grammar and by a validator. Both may take for ever with one that is large,
deep, or doubles itself by references; a regular expression may too. Patterns are dropped, since the
server checks its arguments itself; other schemas beyond the bounds are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tchat.sanitize import printable

MAX_SCHEMA = 64 << 10  # characters of JSON
MAX_DEPTH = 24
MAX_NODES = 20_000  # with every reference followed
MAX_TEXT = 1000  # characters of a description
_DROPPED = frozenset({"pattern", "patternProperties", "$schema", "$id", "$anchor"})
_CLOSING = frozenset({"additionalProperties", "unevaluatedProperties"})
# What the properties of an object may come from besides `properties`, or what says so itself.
_OPENING = frozenset({"patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if", *_CLOSING})
_DYNAMIC = frozenset({"$dynamicRef", "$recursiveRef"})
_PLAIN = frozenset({"enum", "const", "default", "examples", "required"})  # values, not schemas
_BY_NAME = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_TEXTS = frozenset({"title", "description", "$comment"})


class SchemaTooLarge(ValueError):
    """The schema is beyond the bounds, or is none."""


def bounded_schema(schema: object) -> dict[str, Any]:
    """A copy of a tool's schema that can be used without fear.

    Raises:
        SchemaTooLarge: There is none; tells why.
    """
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise SchemaTooLarge("it is no schema of an object")
    try:
        size = len(json.dumps(schema))
    except (RecursionError, ValueError, TypeError):
        raise SchemaTooLarge("it is nested too deeply") from None
    if size > MAX_SCHEMA:
        raise SchemaTooLarge("it is too large")
    bounded = _copied(schema, 0)
    _expanded_size(bounded, bounded, {}, set())
    # Small models make arguments up where an object is open.
    if not _OPENING & {*schema}:
        bounded["additionalProperties"] = False
    return {**bounded, "type": "object"}


def _copied(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise SchemaTooLarge("it is nested too deeply")
    copy: dict[str, Any] = {}
    # Without their patterns, no properties are known to be too many.
    dropped = _DROPPED | (_CLOSING if "patternProperties" in schema else frozenset())
    for key, value in schema.items():
        if key in dropped:
            continue
        if key in _DYNAMIC or (key == "$ref" and not _is_local(value)):
            raise SchemaTooLarge("it refers to another schema")
        if key in _TEXTS:
            copy[key] = printable(str(value))[:MAX_TEXT]
        elif key in _PLAIN:
            copy[key] = value
        elif key in _BY_NAME and isinstance(value, Mapping):
            copy[key] = {name: _part(each, depth) for name, each in value.items()}
        else:
            copy[key] = _part(value, depth)
    return copy


def _part(value: object, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _copied(value, depth + 1)
    if isinstance(value, list):
        return [_part(each, depth + 1) for each in value]
    return value


def _is_local(reference: object) -> bool:
    return isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))


def _expanded_size(
    value: object, root: Mapping[str, Any], known: dict[str, int], open_references: set[str]
) -> int:
    """The nodes of a schema with its references followed; one that leads to itself counts once."""
    if isinstance(value, list):
        return _limited(sum(_expanded_size(v, root, known, open_references) for v in value))
    if not isinstance(value, Mapping):
        return 1
    size = 1 + sum(
        _expanded_size(each, root, known, open_references)
        for key, each in value.items()
        if key not in _PLAIN and key not in ("$defs", "definitions")
    )
    reference = value.get("$ref")
    if isinstance(reference, str) and reference not in open_references:
        if reference not in known:
            open_references.add(reference)
            known[reference] = _expanded_size(
                _target(reference, root), root, known, open_references
            )
            open_references.discard(reference)
        size += known[reference]
    return _limited(size)


def _target(reference: str, root: Mapping[str, Any]) -> object:
    found: Any = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise SchemaTooLarge("it refers to what is not there")
        found = found[name]
    return found


def _limited(size: int) -> int:
    if size > MAX_NODES:
        raise SchemaTooLarge("it is too large with its references")
    return size
