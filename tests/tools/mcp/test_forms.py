"""What a person types into the form of a server."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from tchat.errors import UsageError
from tchat.tools.mcp.elicitation import elicitation_result, form_of
from tchat.tools.mcp.host import FieldKind, FormField, McpForm

OPTIONS = (("s", "Small"), ("m", "Medium"))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldKind.TEXT, " Ada ", "Ada"),
        (FieldKind.INTEGER, "7", 7),
        (FieldKind.NUMBER, "7.5", 7.5),
        (FieldKind.BOOLEAN, "Yes", True),
        (FieldKind.BOOLEAN, "n", False),
        (FieldKind.CHOICE, "medium", "m"),
        (FieldKind.CHOICE, "S", "s"),
        (FieldKind.CHOICES, "Small, m", ["s", "m"]),
        (FieldKind.TEXT, "  ", None),
    ],
)
def test_answers_as_they_are_typed(kind: FieldKind, text: str, value: Any) -> None:
    assert FormField("x", "X", kind=kind, options=OPTIONS).parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (FieldKind.INTEGER, "7.5", "whole number"),
        (FieldKind.INTEGER, "1", "at least 2"),
        (FieldKind.NUMBER, "x", "a number"),
        (FieldKind.NUMBER, "5.5", "at most 5"),
        (FieldKind.NUMBER, "nan", "a number"),
        (FieldKind.BOOLEAN, "perhaps", "yes or no"),
        (FieldKind.CHOICE, "large", "Small, Medium"),
        (FieldKind.CHOICES, "s,large", "Small, Medium"),
        (FieldKind.TEXT, "a", "at least 2"),
        (FieldKind.TEXT, "abcdef", "at most 5"),
        (FieldKind.TEXT, "", "must be answered"),
    ],
)
def test_what_does_not_answer_the_question_is_told(kind: FieldKind, text: str, reason: str) -> None:
    field = FormField("x", "X", kind=kind, options=OPTIONS, is_required=True, low=2, high=5)
    with pytest.raises(UsageError, match=reason):
        field.parse(text)


def form(properties: object, **more: Any) -> McpForm | None:
    schema = {"type": "object", "properties": properties, **more}
    return form_of("s", types.ElicitRequestFormParams(message="m", requested_schema=schema))


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "object"}},
        {"a": {"type": "array"}},
        {"a": 1},
        {"a\x1b": {"type": "string"}},
        {"a": {"type": ["string", "null"]}},
        {f"a{n}": {"type": "string"} for n in range(100)},
        {"a": {"type": "string", "enum": [str(n) for n in range(1000)]}},
        "no",
    ],
)
def test_a_form_that_nobody_can_fill_in_is_none(properties: object) -> None:
    assert form(properties) is None


@pytest.mark.parametrize("kind", ["integer", "number", "string"])
def test_bounds_beyond_all_measure_are_none(kind: str) -> None:
    large = 10**400
    bounds = {"minimum": large, "maximum": -large, "minLength": large, "maxLength": -large}
    found = form({"a": {"type": kind, "default": large, **bounds}})
    assert found is not None
    (field,) = found.fields
    assert (field.low, field.high) == (None, None)
    assert field.parse("5") in (5, "5")


def test_options_with_titles_and_defaults() -> None:
    found = form(
        {
            "a": {"type": "string", "oneOf": [{"const": "x", "title": "An X"}], "default": "x"},
            "b": {"type": "array", "items": {"anyOf": [{"const": "y"}]}, "default": ["z"]},
            "c": {"type": "integer", "default": True, "minimum": 1},
        },
        required=["a"],
    )
    assert found is not None
    a, b, c = found.fields
    assert (a.kind, a.options, a.default, a.is_required) == (
        FieldKind.CHOICE,
        (("x", "An X"),),
        "x",
        True,
    )
    assert (b.kind, b.options, b.default) == (FieldKind.CHOICES, (("y", "y"),), None)
    assert (c.default, c.low) == (None, 1)


def test_answers_that_do_not_fit_are_not_sent() -> None:
    found = form({"a": {"type": "integer"}}, required=["a"])
    assert found is not None
    assert elicitation_result(found, {"a": 1}).content == {"a": 1}
    for answers in ({}, {"a": "1"}, {"a": True}, {"a": 1, "b": 2}):
        assert elicitation_result(found, answers).action == "cancel"
    assert elicitation_result(found, None).action == "decline"


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [("https://a.example/login?x=1", True), ("file:///etc/passwd", False), ("javascript:1", False)],
)
def test_a_page_to_open_is_a_web_address(url: str, is_shown: bool) -> None:
    params = types.ElicitRequestURLParams(message="Sign in", url=url, elicitation_id="1")
    found = form_of("s", params)
    assert (found is not None) == is_shown
    if found is not None:
        assert (found.url, found.fields) == (url, ())
        assert elicitation_result(found, {}).action == "accept"
