"""Forms of servers: from their JSON schema to fields, and from answers to a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types

from tchat.errors import UsageError
from tchat.sanitize import printable, single_line
from tchat.tools.mcp.host import FieldKind, FieldValue, FormField, McpForm

MAX_FIELDS = 32
MAX_OPTIONS = 200
MAX_MESSAGE = 2000
_LARGEST = 1e15  # of a bound; a larger one is none
_KINDS = {
    "string": FieldKind.TEXT,
    "number": FieldKind.NUMBER,
    "integer": FieldKind.INTEGER,
    "boolean": FieldKind.BOOLEAN,
}
_FORMATS = ("email", "uri", "date", "date-time")


def form_of(server: str, params: types.ElicitRequestParams) -> McpForm | None:
    """The form; None where a person cannot fill it in."""
    message = printable(params.message)[:MAX_MESSAGE]
    if isinstance(params, types.ElicitRequestURLParams):
        url = single_line(params.url, 2000)
        return McpForm(server, message, url=url) if _is_web_address(url) else None
    schema = params.requested_schema
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping) or len(properties) > MAX_FIELDS:
        return None
    names = frozenset(required) if _are_texts(required) else frozenset()
    fields = [_field(name, each, name in names) for name, each in properties.items()]
    known = tuple(field for field in fields if field is not None)
    return McpForm(server, message, known) if len(known) == len(fields) else None


def elicitation_result(
    form: McpForm, answers: Mapping[str, FieldValue] | None
) -> types.ElicitResult:
    """What the server is told; answers that do not fit the form are not sent."""
    if answers is None:
        return types.ElicitResult(action="decline")
    if form.url:
        return types.ElicitResult(action="accept")
    try:
        form.check(answers)
    except UsageError:
        return types.ElicitResult(action="cancel")
    # A list is invariant for the type checker only.
    return types.ElicitResult(action="accept", content=cast("dict[str, Any]", dict(answers)))


def _is_web_address(url: str) -> bool:
    return url.startswith(("https://", "http://")) and " " not in url and "…" not in url


def _field(name: str, schema: object, required: bool) -> FormField | None:
    if not isinstance(schema, Mapping) or single_line(name) != name:
        return None
    kind, options = _kind(schema)
    if kind is None or len(options) > MAX_OPTIONS:
        return None
    text_format = schema.get("format")
    field = FormField(
        name=name,
        title=single_line(str(schema.get("title") or name), 80),
        help=single_line(str(schema.get("description") or ""), 400),
        kind=kind,
        options=options,
        is_required=required,
        format=text_format if text_format in _FORMATS else "",
        low=_number(schema, "minimum", "minLength", "minItems"),
        high=_number(schema, "maximum", "maxLength", "maxItems"),
    )
    return _with_default(field, schema.get("default"))


def _with_default(field: FormField, default: Any) -> FormField:
    from dataclasses import replace

    if isinstance(default, str):
        default = printable(default)[:MAX_MESSAGE]
    try:
        field.check(default)
    except (UsageError, TypeError):
        return field
    return replace(field, default=default)


def _kind(schema: Mapping[str, Any]) -> tuple[FieldKind | None, tuple[tuple[str, str], ...]]:
    """What a field takes, with its options."""
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        options = _options(items) if isinstance(items, Mapping) else ()
        return (FieldKind.CHOICES if options else None), options
    if kind == "string" and (options := _options(schema)):
        return FieldKind.CHOICE, options
    return _KINDS.get(kind) if isinstance(kind, str) else None, ()


def _options(schema: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    named = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(named, list):
        pairs = [
            (each.get("const"), each.get("title")) for each in named if isinstance(each, Mapping)
        ]
    else:
        values = schema.get("enum")
        values = values if isinstance(values, list) else []
        labels = schema.get("enumNames")
        labels = labels if isinstance(labels, list) and len(labels) == len(values) else values
        pairs = list(zip(values, labels, strict=True))
    return tuple(
        (value, single_line(str(label or value), 80))
        for value, label in pairs
        if isinstance(value, str)
    )


def _number(schema: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = schema.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if abs(value) < _LARGEST:
            return value
    return None


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) for each in values)
