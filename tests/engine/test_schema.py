"""Replies in a form: schemas read and checked, grammars that allow what they should."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tchat.engine.cancel import Cancel
from tchat.engine.digits import integers
from tchat.engine.llama import backend
from tchat.engine.model import Model
from tchat.engine.schema import ReplyMismatch, choice_grammar, parse_schema, to_gbnf, validate
from tchat.errors import UsageError

Accepts = Callable[[str, str], bool]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}


@pytest.fixture(scope="module")
def accepts(tiny_model: Path) -> Iterator[Accepts]:
    """Whether llama.cpp, sampling by a grammar, could write a text and end there."""
    model = Model(tiny_model, cancel=Cancel())
    lib = backend().lib

    def allowed(sampler: Any, token: int) -> bool:
        single = lib.llama_token_data(token, 1.0, 0.0)
        array = lib.llama_token_data_array(ctypes.pointer(single), 1, -1, False)
        lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return bool(array.data[0].logit != float("-inf"))

    def check(grammar: str, text: str) -> bool:
        sampler = lib.llama_sampler_init_grammar(model.vocab, grammar.encode(), b"root")
        assert sampler, grammar
        try:
            for token in model.tokenize(text, special=False):
                if not allowed(sampler, token):
                    return False
                lib.llama_sampler_accept(sampler, token)
            return allowed(sampler, lib.llama_vocab_eos(model.vocab))
        finally:
            lib.llama_sampler_free(sampler)

    yield check
    model.close()


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
    ("content", "message"),
    [(b"[1]", "no JSON object"), (b"\xff\xfe{", "not UTF-8"), (b" " * (2 << 20), "larger than")],
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
        ('{"name": "Ada", "ag', "is no JSON"),
        ('{"age": 36}', "'name' is a required property"),
        ('{"name": "Ada", "age": -1}', "at age"),
        ("", "is no JSON"),
    ],
)
def test_a_reply_that_does_not_follow_the_schema_is_refused(reply: str, message: str) -> None:
    with pytest.raises(ReplyMismatch, match=message) as caught:
        validate(reply, PERSON)

    assert "\n" not in str(caught.value)


# Grammars

CASES: list[tuple[Any, list[str], list[str]]] = [
    (True, ['{"a": [1, null]}', "[]", '"x"', "-1.5e3", "true"], ["", "{a: 1}", "01", "'x'"]),
    ({}, ["{}", "1"], ["nothing"]),
    ({"type": "string"}, ['""', '"é日\\n\\u00e9\\""'], ['"a\nb"', "a", '"\\x"', '"a']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"日本語"'], ['"a"', '"abcd"']),
    ({"type": "boolean"}, ["true", "false"], ["True", "yes"]),
    ({"type": "null"}, ["null"], ["none"]),
    ({"type": ["string", "null"]}, ['"a"', "null"], ["1"]),
    ({"type": "integer"}, ["0", "-12"], ["1.5", "+1", "00"]),
    ({"type": "integer", "minimum": -3, "maximum": 12}, ["-3", "-1", "0", "12"], ["-4", "13"]),
    ({"type": "integer", "exclusiveMinimum": 5}, ["6", "10", "123456"], ["5", "-6"]),
    ({"type": "number", "minimum": 0}, ["0.5", "3e2"], ["-1"]),
    ({"const": 'a "b" é\n'}, ['"a \\"b\\" é\\n"'], ['"a"']),
    ({"enum": ["red", 3, None]}, ['"red"', "3", "null"], ["red", "4"]),
    (
        PERSON,
        ['{"name":"Ada"}', '{ "name": "Ada", "age": 36 }', '{\n  "name": "A"\n}'],
        ['{"age": 36}', '{"name": "Ada", "x": 1}', '{"name":"Ada","age":-1}', '{"name":"Ada",}'],
    ),
    (
        {"properties": {k: {"type": "integer"} for k in "abc"}},
        ["{}", '{"a":1}', '{"b":1}', '{"c":1}', '{"a":1,"c":1}', '{"a":1,"b":1,"c":1}'],
        ['{"b":1,"a":1}', "{,}", '{"a":1 "b":1}'],
    ),
    (
        {"properties": {k: {"type": "integer"} for k in "abc"}, "required": ["b"]},
        ['{"b":1}', '{"a":1,"b":1}', '{"b":1,"c":1}'],
        ["{}", '{"a":1}', '{"a":1,"c":1}'],
    ),
    (
        {"properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
        ["{}", '{"x":1}', '{"a":null,"x":1,"y":2}'],
        ['{"x":"1"}'],
    ),
    ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a":1}']),
    ({"type": "object", "required": ["a"]}, ['{"a":[1]}', '{"a":1,"b":2}'], ["{}"]),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
        ["[1]", "[1, 2, 3]"],
        ["[]", "[1,2,3,4]", "[1,]", '["a"]'],
    ),
    ({"type": "array", "items": {"type": "null"}}, ["[]", "[null,null]"], ["[1]"]),
    ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    (
        {"prefixItems": [{"type": "integer"}, {"type": "string"}]},
        ['[1,"a"]'],
        ["[1]", '["a",1]', '[1,"a",2]'],
    ),
    (
        {"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2},
        ["[1,2]", "[1,2,2]"],
        ["[1]", "[2]"],
    ),
    (
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
        ["1", "[1]"],
        ['"1"'],
    ),
    (
        {
            "type": "object",
            "properties": {"kind": {"type": "string"}},
            "required": ["kind"],
            "oneOf": [
                {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}},
                {"properties": {"kind": {"const": "b"}}},
            ],
        },
        ['{"kind":"a","x":1}', '{"kind":"b"}'],
        ['{"kind":"c"}', '{"kind":"b","x":1}', "{}"],
    ),
    (
        {
            "allOf": [
                {"$ref": "#/$defs/named"},
                {"properties": {"age": {"type": "integer"}}, "required": ["age"]},
            ],
            "$defs": {"named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
        },
        ['{"name":"A","age":1}'],
        ['{"name":"A"}', '{"age":1}'],
    ),
    (
        {
            "$ref": "#/$defs/tree",
            "$defs": {
                "tree": {
                    "properties": {
                        "value": {"type": "integer"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                    },
                    "required": ["value"],
                }
            },
        },
        ['{"value":1}', '{"value":1,"children":[{"value":2,"children":[]}]}'],
        ['{"children":[]}', '{"value":1,"children":[2]}'],
    ),
    (
        {"properties": {"next": {"$ref": "#"}}},
        ["{}", '{"next":{"next":{}}}'],
        ['{"next":1}'],
    ),
    (
        {
            "properties": {"a": {"$ref": "#/$defs/a/x"}, "b": {"$ref": "#/$defs/b~1c/x"}},
            "required": ["a", "b"],
            "$defs": {"a": {"x": {"type": "integer"}}, "b/c": {"x": {"type": "null"}}},
        },
        ['{"a":1,"b":null}'],
        ['{"a":1,"b":1}'],
    ),
    ({"properties": {'k"ey é': {"const": 1}}}, ['{"k\\"ey é":1}'], ['{"key":1}']),
    ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2024-13-01"', '"today"']),
    ({"format": "date-time"}, ['"2024-02-29T23:59:59Z"'], ['"2024-02-29"']),
    ({"pattern": "^[A-Z]{2}-\\d+$"}, ['"AB-12"'], ['"ab-12"', '"AB-"', '"xAB-1"']),
    ({"pattern": "^(?:a|bc)*?x?$"}, ['""', '"abcax"'], ['"b"', '"xa"']),
    ({"pattern": "b"}, ['"abc"', '"b"'], ['"ac"']),
    ({"pattern": "^a|b$"}, ['"ax"', '"xb"'], ['"xa"']),
    ({"pattern": "^[^\\w-]$"}, ['"+"', '" "'], ['"a"', '"-"', '"""', '"\n"']),
    ({"pattern": "^[ -~]+$"}, ['"a b!#~"'], ['"é"', '"a"b"', '"a\\b"']),
    ({"pattern": '^"\\\\$'}, ['"\\"\\\\"'], ['""\\"']),
    ({"pattern": "^é.日$"}, ['"éx日"', '"é\\"日"'], ['"é日"', '"é\\n日"']),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_a_grammar_allows_what_the_schema_allows(
    accepts: Accepts, schema: Any, good: list[str], bad: list[str]
) -> None:
    grammar = to_gbnf(schema)

    assert [text for text in good if not accepts(grammar.text, text)] == []
    assert [text for text in bad if accepts(grammar.text, text)] == []
    assert grammar.unchecked == ()


@pytest.mark.parametrize(("schema", "good"), [(schema, good) for schema, good, _ in CASES])
def test_the_cases_are_valid_json_schema(schema: Any, good: list[str]) -> None:
    for text in good:
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("schema", "unchecked"),
    [
        ({"type": "integer", "multipleOf": 5}, ("multipleOf",)),
        ({"type": "array", "uniqueItems": True}, ("uniqueItems",)),
        ({"not": {"type": "null"}}, ("not",)),
        ({"pattern": "(?=x)"}, ("pattern",)),
        ({"pattern": "\\bx"}, ("pattern",)),
        ({"type": "string", "format": "email"}, ("format (email)",)),
        ({"type": "string", "maxLength": 5000}, ("maxLength",)),
        ({"type": "number", "maximum": 0.5}, ("maximum",)),
        ({"pattern": "^a*$", "maxLength": 3}, ("maxLength",)),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, ("allOf (type)",)),
        (PERSON | {"description": "x", "title": "y", "default": {}}, ()),
    ],
)
def test_what_a_grammar_does_not_enforce_is_named(
    accepts: Accepts, schema: Any, unchecked: tuple[str, ...]
) -> None:
    grammar = to_gbnf(schema)

    assert grammar.unchecked == unchecked
    assert not accepts(grammar.text, "no JSON")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "allows nothing"),
        ({"enum": []}, "allows nothing"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no integer"),
        ({"$ref": "https://example.com/s.json"}, "only its own parts"),
        ({"$ref": "#/$defs/nowhere"}, "not in it"),
        ({"$ref": "#/title", "title": "x"}, "no schema"),
        ({"$ref": "#"}, "without end"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
          "$ref": "#/$defs/a"}, "without end"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "without end"),
        ({"allOf": [{"$ref": "#"}]}, "without end"),
    ],
)  # fmt: skip
def test_a_schema_without_a_grammar_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_gbnf(schema)


def test_many_optional_properties_stay_small() -> None:
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(200)}}

    assert len(to_gbnf(schema).text) < 60_000


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-3000, 3000), st.integers(0, 3000), st.integers(-7000, 7000))
def test_integer_bounds_are_exact(accepts: Accepts, low: int, span: int, number: int) -> None:
    grammar = f"root ::= {integers(low, low + span)}\n"

    for candidate in (number, low, low - 1, low + span, low + span + 1):
        assert accepts(grammar, str(candidate)) == (low <= candidate <= low + span)


# Choices


def test_a_choice_allows_its_labels_and_nothing_else(accepts: Accepts) -> None:
    grammar = choice_grammar(["yes", "no", 'say "hi"\\\n', "日本"])

    for label in ("yes", "no", 'say "hi"\\\n', "日本"):
        assert accepts(grammar, label)
    for other in ("", "ye", "yesno", "Yes"):
        assert not accepts(grammar, other)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "at least two"),
        (["yes"], "at least two"),
        (["yes", " "], "is empty"),
        (["a", "b", "a"], "a is there twice"),
    ],
)
def test_a_choice_that_is_none_is_refused(labels: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choice_grammar(labels)
