"""The parts of a JSON schema: what a reference names, and what ``allOf`` adds up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from tchat.errors import UsageError

Schema: TypeAlias = "Mapping[str, Any] | bool"

# Keywords that tell the type where `type` is missing.
HINTS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
# Keywords that constrain, of those that a grammar can say.
SAID = frozenset(
    [
        *("$ref", "const", "enum", "allOf", "anyOf", "oneOf", "type"),
        *(key for keys in HINTS.values() for key in keys),
    ]
)


def _same_properties(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    shared = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
    return {**one, **other, **shared}


# What two parts of ``allOf`` say together, where both have the keyword.
_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    "properties": _same_properties,
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "enum": lambda one, other: [value for value in one if value in other],
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minItems", "minLength"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxItems", "maxLength"), min),
}


def target_of(root: Schema, reference: str) -> Schema:
    """The part of ``root`` that a local reference names, by JSON pointer.

    Raises:
        UsageError: The reference leads outside, or to nothing.
    """
    if reference != "#" and not reference.startswith("#/"):
        raise UsageError(
            f"the JSON schema refers to {reference}, and only its own parts can be used",
            'put the definition under "$defs" and refer to it as "#/$defs/…"',
        )
    target: Any = root
    for part in reference.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        try:
            target = target[int(key) if isinstance(target, list) else key]
        except (LookupError, TypeError, ValueError) as error:
            raise UsageError(
                f"the JSON schema refers to {reference}, which is not in it", "check the $ref"
            ) from error
    if not isinstance(target, Mapping | bool):
        raise UsageError(f"the JSON schema refers to {reference}, which is no schema", "")
    return target


def all_of(root: Schema, schema: Mapping[str, Any], unchecked: set[str]) -> dict[str, Any]:
    """One schema for all parts of ``allOf`` and what stands beside it.

    Args:
        root: The whole schema, for references.
        schema: The part with the keyword ``allOf``.
        unchecked: Gets the keywords that cannot be added up.
    """
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        for key, value in _flat(root, part, unchecked).items():
            if key not in merged or merged[key] == value:
                merged[key] = value
            elif key in _MERGES:
                merged[key] = _MERGES[key](merged[key], value)
            elif key in SAID:
                unchecked.add(f"allOf ({key})")
    return merged


def _flat(root: Schema, part: Schema, unchecked: set[str]) -> Mapping[str, Any]:
    if isinstance(part, bool):
        return {} if part else {"enum": []}
    if "$ref" in part:
        rest = {key: value for key, value in part.items() if key != "$ref"}
        return all_of(root, {"allOf": [target_of(root, part["$ref"]), rest]}, unchecked)
    return all_of(root, part, unchecked) if "allOf" in part else part
