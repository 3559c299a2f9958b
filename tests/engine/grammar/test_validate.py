"""Schemas read and checked, replies validated, and grammars of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.grammar import scalars
from tchat.engine.grammar.json_schema import to_gbnf
from tchat.engine.grammar.scalars import has_format
from tchat.engine.grammar.validate import ReplyMismatch, ReplyValidator, parse_schema, validate
from tchat.errors import UsageError
from tests.engine.grammar.test_json_schema import PERSON

# Schemas


def test_a_schema_is_read_inline_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "person.json"
    file.write_text("\ufeff" + json.dumps(PERSON), encoding="utf-8")

    assert parse_schema(json.dumps(PERSON)) == PERSON
    assert parse_schema(str(file)) == PERSON


@pytest.mark.parametrize(
    ("given_text", "message"),
    [
        ('{"type": "object",\n  oops}', "line 2, column 3"),
        ('{"type": "sting"}', "at type"),
        ('{"properties": {"a": {"minimum": "x"}}}', "at properties/a/minimum"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("no-such-file.json", "No such file"),
        ("", "cannot read"),
        ("a\0b", "cannot read"),
    ],
)
def test_what_is_no_schema_is_said_with_its_place(given_text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_schema(given_text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"name": "string", "age": "integer"},
        {"title": "string", "name": "string"},
        {"name": {"type": "string"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "typ": "object"},
        {"$comment": "x", "propertys": {"a": {}}},
    ],
)
def test_a_schema_of_unknown_keywords_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="has no keyword of JSON Schema") as caught:
        parse_schema(json.dumps(schema))
    assert '{"type": "object", "properties": {"name": {"type": "string"}}}' in caught.value.hint
    assert list(schema)[-1] in caught.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"title": "Anything", "description": "All of it"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}, "name": "x"},
        {"x-order": 1},
        {"type": "string", "name": "x"},
    ],
)
def test_a_schema_that_means_to_allow_all_is_kept(schema: dict[str, object]) -> None:
    assert parse_schema(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]", "not a JSON object"), (b"\xff\xfe{", "not UTF-8"), (b" " * (2 << 20), "larger than")],
)
def test_what_is_no_schema_file_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(content)

    with pytest.raises(UsageError, match=message):
        parse_schema(str(file))


def test_a_reply_is_validated() -> None:
    assert validate('{"name": "Ada", "age": 36}', PERSON) == {"name": "Ada", "age": 36}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ('{"name": "Ada", "ag', "is not valid JSON"),
        ('{"age": 36}', "'name' is a required property"),
        ('{"name": "Ada", "age": -1}', "at age"),
        ("", "is not valid JSON"),
    ],
)
def test_a_reply_that_does_not_follow_the_schema_is_refused(reply: str, message: str) -> None:
    with pytest.raises(ReplyMismatch, match=message) as caught:
        validate(reply, PERSON)

    assert "\n" not in str(caught.value)


# What JSON cannot say, and what nests deeply


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("NaN", "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ("1e400", "1e400 is too large"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"\\udc00": 1}', "half of a surrogate pair"),
        ("1" * 5000, "5,000 digits is too long"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ],
)
def test_what_json_cannot_say_is_refused(reply: str, message: str) -> None:
    with pytest.raises(ReplyMismatch, match=message) as caught:
        validate(reply, {})
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        parse_schema('{"const": ' + reply + "}")


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        ({"format": "ipv4"}, '"Greet me"'),
        ({"format": "ipv4"}, '"256.0.0.1"'),
        ({"format": "ipv6"}, '"12345::"'),
        ({"format": "date"}, '"2021-02-30"'),
        ({"format": "date"}, '"0000-01-01"'),
        ({"format": "date-time"}, '"2021-02-30T10:00:00Z"'),
        ({"format": "time"}, '"24:00:00Z"'),
        ({"format": "email"}, '"nobody"'),
        ({"format": "hostname"}, '"-a.example"'),
        ({"format": "uri"}, '"no uri"'),
        ({"format": "uuid"}, '"2eb8aa08"'),
        ({"format": "regex"}, '"("'),
        ({"format": "json-pointer"}, '"a"'),
        ({"format": "duration"}, '"P"'),
        ({"pattern": "^\\p{Lu}"}, '"a"'),
        ({"pattern": "^a$"}, '"a\\n"'),
        ({"patternProperties": {"^\\p{Ll}": {"type": "null"}}}, '{"a": 1}'),
        ({"patternProperties": {"^\\p{Ll}": {}}, "additionalProperties": False}, '{"A": 1}'),
        ({"multipleOf": 0.01}, "0.075"),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "properties": {"a": {"$ref": "#"}, "b": {"pattern": "^\\p{Lu}"}},
            },
            '{"a": {"b": "x"}}',
        ),
    ],
)
def test_formats_and_patterns_are_checked_after_the_reply(schema: Any, reply: str) -> None:
    with pytest.raises(ReplyMismatch, match="does not follow the schema"):
        validate(reply, schema)


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        ({"format": "uuid"}, '"2EB8AA08-AA98-11EA-B4AA-73B441D16380"'),
        ({"format": "time"}, '"23:59:60Z"'),
        ({"format": "unheard-of"}, '"a"'),
        ({"format": "ipv4"}, "1"),
        ({"multipleOf": 0.01}, "0.07"),
        ({"multipleOf": 0.00001}, "1e-05"),
        ({"pattern": "^(?<word>\\p{L}+)\\s\\k<word>$"}, '"da da"'),
    ],
)
def test_valid_formats_and_patterns_pass(schema: Any, reply: str) -> None:
    assert validate(reply, schema) == json.loads(reply)


def test_replies_of_two_hundred_levels_are_checked() -> None:
    schema = {
        "$ref": "#/$defs/n",
        "$defs": {
            "n": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/n"}}]}
        },
    }

    validate("[" * 200 + "1" + "]" * 200, schema)
    with pytest.raises(ReplyMismatch, match="does not follow the schema"):
        validate("[" * 200 + "null" + "]" * 200, schema)


@pytest.mark.parametrize("levels", [100, 300])
def test_schemas_of_many_levels_are_read(levels: int) -> None:
    text = '{"type": "object", "properties": {"a": ' * levels + "{}" + "}}" * levels

    schema = parse_schema(text)
    reply = '{"a": ' * levels + "1" + "}" * levels

    assert validate(reply, schema)


# Connections


def test_no_schema_opens_a_connection_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **_: opened.append(args))
    (tmp_path / "s.json").write_text("{}", encoding="utf-8")
    for target in ("http://127.0.0.1:1/s", (tmp_path / "s.json").as_uri(), "s.json"):
        for keyword in ("$ref", "$dynamicRef"):
            schema = {"enum": [1, 2], "not": {keyword: target}}
            with pytest.raises(UsageError, match="only its own parts can be used"):
                parse_schema(json.dumps(schema))
            with pytest.raises(ReplyMismatch, match="cannot check the reply"):
                validate("1", schema)
    assert opened == []


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        ({"items": [{"type": "null"}], "additionalItems": False}, "[1]"),
        ({"$schema": "http://json-schema.org/schema#", "items": [{"type": "null"}]}, "[1]"),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "items": [{"type": "null"}],
            },
            "[1]",
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, "1"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "const": 2}, "1"),
        ({"dependencies": {"a": ["b"]}}, '{"a": 1}'),
    ],
)
def test_schemas_in_the_form_of_older_drafts_are_read_as_meant(schema: Any, reply: str) -> None:
    assert parse_schema(json.dumps(schema)) == schema
    with pytest.raises(ReplyMismatch, match="does not follow the schema"):
        validate(reply, schema)


# Formats


def test_the_pattern_of_a_format_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_format("uri", "https://example.org/")
    monkeypatch.setattr(scalars, "python_pattern", None)  # any use of it fails
    assert has_format("uri", "mailto:a@example.org")
    assert not has_format("uri", "no uri")


@pytest.mark.parametrize("stated", ["3", "[]", "{}", "null"])
def test_a_draft_that_is_no_text_is_no_schema(stated: str) -> None:
    for schema in (f'{{"$schema": {stated}}}', f'{{"items": {{"$schema": {stated}}}}}'):
        with pytest.raises(UsageError, match=r"is not a JSON schema: .*\$schema"):
            parse_schema(schema)


def test_a_listed_value_may_nest_deeply() -> None:
    nested = "[" * 800 + "]" * 800
    schema = parse_schema(f'{{"enum": [1, {nested}]}}')
    assert to_gbnf(schema).text.count("]") > 800
    assert ReplyValidator(schema).value(nested) == json.loads(nested)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"minimum": 1e30, "maximum": 1e30}, [10**30], [10**30 - 1, 10**30 + 1]),
        ({"exclusiveMinimum": 1e30}, [10**30 + 1], [10**30]),
        ({"exclusiveMaximum": 1e23}, [10**23 - 1, -5], [10**23]),
        ({"maximum": 0.3}, [0.3, True, "x"], [0.31, 1]),
    ],
)
def test_a_bound_is_the_number_that_is_written(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    validator = ReplyValidator(schema)
    for value in good:
        assert validator.value(json.dumps(value)) == value
    for value in bad:
        with pytest.raises(ReplyMismatch, match="violates"):
            validator.value(json.dumps(value))


def test_a_bound_of_draft_4_may_be_excluded() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 2,
        "exclusiveMinimum": True,
    }
    assert ReplyValidator(schema).value("3") == 3
    with pytest.raises(ReplyMismatch, match="minimum"):
        ReplyValidator(schema).value("2")
