from __future__ import annotations

from typing import Any

import pytest

from tchat.tools.mcp.schema_limits import SchemaTooLarge, bounded_schema
from tchat.tools.tool import Tool, ToolError


def test_a_schema_of_everyday_is_kept() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/Place"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
            "pattern": {"type": "string", "enum": ["a", "b"]},
        },
        "required": ["place"],
        "additionalProperties": False,
        "$defs": {
            "Place": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "inside": {"$ref": "#/$defs/Place"}},
            }
        },
    }
    assert bounded_schema(schema) == schema


def test_patterns_are_dropped_and_what_they_would_allow_is_allowed() -> None:
    tool = Tool(
        "x",
        "",
        bounded_schema(
            {
                "type": "object",
                "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}},
                "patternProperties": {"^(x+)+$": {"type": "integer"}},
                "additionalProperties": False,
            }
        ),
        lambda _: "ran",
    )
    assert tool.call({"a": "a" * 50 + "!", "x" * 50 + "!": 1}) == "ran"
    with pytest.raises(ToolError):
        tool.call({"a": 1})


@pytest.mark.parametrize(
    ("more", "is_closed"),
    [
        ({}, True),
        ({"additionalProperties": True}, False),
        ({"additionalProperties": {"type": "string"}}, False),
        ({"patternProperties": {"x": {}}}, False),
        ({"allOf": [{"properties": {"b": {}}}]}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": {}}}, False),
    ],
)
def test_an_object_that_says_nothing_else_has_no_other_properties(
    more: dict[str, Any], is_closed: bool
) -> None:
    bounded = bounded_schema({"type": "object", "properties": {"a": {}}, **more})
    assert (bounded.get("additionalProperties") is False) == is_closed


def test_texts_in_it_are_printable() -> None:
    bounded = bounded_schema(
        {"properties": {"a": {"description": "\x1b[2J\u202e" + "x" * 5000, "title": "\x07"}}}
    )
    description = bounded["properties"]["a"]["description"]
    assert description.startswith("␛[2J⟦U+202E⟧x")
    assert len(description) == 1000
    assert bounded["properties"]["a"]["title"] == "␇"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ([], "no schema of an object"),
        ("x", "no schema of an object"),
        ({"type": "string"}, "no schema of an object"),
        ({"description": "x" * 100_000}, "too large"),
        ({"$ref": "https://example.org/schema"}, "another schema"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "another schema"),
        ({"properties": {"a": {"$dynamicRef": "#a"}}}, "another schema"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "not there"),
    ],
)
def test_others_are_refused(schema: object, reason: str) -> None:
    with pytest.raises(SchemaTooLarge, match=reason):
        bounded_schema(schema)


@pytest.mark.parametrize("key", ["allOf", "anyOf", "items", "properties", "not"])
def test_depth_is_bounded_behind_every_key(key: str) -> None:
    inner: Any = {"type": "object"}
    for _ in range(200):
        inner = {key: {"a": inner} if key == "properties" else [inner] if "Of" in key else inner}
    with pytest.raises(SchemaTooLarge, match="nested"):
        bounded_schema(inner)
