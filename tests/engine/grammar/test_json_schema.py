"""JSON schemas as grammars: what they allow, and which keywords they report as unchecked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tchat.engine.grammar.json_schema import to_gbnf
from tchat.engine.grammar.validate import validate
from tchat.errors import UsageError
from tests.engine.grammar.accepting import Acceptor

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}
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
    ({"type": "string", "pattern": "^x{0000003}$"}, ['"xxx"'], ['"x{0000003}"', '"xx"']),
    ({"type": "string", "pattern": "^a{1,1000000}$"}, ['"a"', '"aaa"'], ['""', '"a{1,1000000}"']),
    ({"type": "string", "pattern": "^a{1000000}$"}, [], ['"a"', '"a{1000000}"']),
    ({"type": "string", "maxLength": 1e300}, ['""', '"ab"'], ["1"]),
    ({"type": "array", "maxItems": 1e300}, ["[]", "[1,2]"], ["1"]),
    (
        PERSON,
        ['{"name":"Ada"}', '{ "name": "Ada", "age": 36 }', '{\n  "name": "A"\n}'],
        ['{"age": 36}', '{"name": "Ada", "x": 1}', '{"name":"Ada","age":-1}', '{"name":"Ada",}'],
    ),
    (
        {"properties": {k: {"type": "integer"} for k in "abc"}},
        ["{}", '{"a":1}', '{"b":1}', '{"c":1}', '{"c":1,"a":1}', '{"b":1,"a":1,"c":1}'],
        ['{"a":1,"a":1}', "{,}", '{"a":1 "b":1}', '{"a":1,}'],
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
    (
        PERSON | {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        ['{"name":"Ada","x":[1]}', '{"age":3,"name":"Ada"}', '{"$schema":"s","name":"Ada"}'],
        ['{"x":1}', '{"name":1,"x":1}', '{"name":"Ada","age":"3"}'],
    ),
    (
        PERSON
        | {"$schema": "http://json-schema.org/draft-07/schema#", "additionalProperties": False},
        ['{"name":"Ada"}'],
        ['{"name":"Ada","x":1}'],
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
        ['[1,"a"]', "[1]", "[]"],
        ['["a",1]', '[1,"a",2]'],
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
    # Formats
    ({"format": "date"}, ['"2024-02-29"'], ['"2023-02-29"', '"2021-02-30"', '"1900-02-29"']),
    ({"format": "date"}, ['"0001-01-01"', '"0400-02-29"'], ['"0000-01-01"', '"0000-02-29"']),
    ({"format": "date-time"}, ['"1000-01-01T00:00:00Z"'], ['"0000-01-01T00:00:00Z"']),
    ({"format": "ipv4"}, ['"127.0.0.1"'], ['"Greet me"', '"256.1.1.1"', '"01.1.1.1"']),
    ({"format": "ipv6"}, ['"::1"', '"fe80::1:2"', '"::ffff:1.2.3.4"'], ['":::1"', '"1::2::3"']),
    ({"format": "uuid"}, ['"2EB8AA08-AA98-11EA-B4AA-73B441D16380"'], ['"2eb8aa08-aa98"']),
    ({"format": "json-pointer"}, ['""', '"/a~0b"'], ['"a"', '"/a~2"']),
    ({"format": "duration"}, ['"P1Y2M3DT4H"', '"PT5S"', '"P2W"'], ['"P"', '"1Y"', '"P1S"']),
    ({"format": "uri"}, ['"https://a.b/c?d#e"', '"urn:x"'], ['"a b"', '"//x"']),
    # Patterns
    ({"pattern": "^\\p{Lu}\\p{L}+$"}, ['"Ärger"', '"Éa"'], ['"ärger"', '"A1"']),
    ({"pattern": "^(?<year>\\d{4})$"}, ['"2024"'], ['"24"', '"٢٠٢٤"']),
    ({"pattern": "^[\\u4e00-\\u9fff]+$"}, ['"日本"'], ['"nihon"']),
    ({"pattern": "^\\x41\\t$"}, ['"A\\t"'], ['"A"', '"At"']),
    ({"pattern": "\\bcat\\b"}, ['"a cat."', '"cat"'], ['"concat"', '"cats"']),
    ({"pattern": "(?i)^yes$"}, ['"yes"', '"YES"'], ['"no"']),
    ({"pattern": "^(?!foo).*$"}, ['"bar"', '"fo"'], ['"foobar"']),
    ({"pattern": "^(?=.*\\d)(?=.*[a-z]).{4,}$"}, ['"abc1"'], ['"abcd"', '"1234"', '"a1"']),
    ({"pattern": "^\\S+$"}, ['"a–b😀"'], ['"a b"', '""']),
    (  # of pydantic's Decimal
        {"pattern": "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"},
        ['"1.5"', '"-003"', '".5"'],
        ['""', '"+"', '"."', '"1,5"'],
    ),
    ({"pattern": "(?<=a)b"}, ['"xab"'], ['"xb"']),
    ({"pattern": "^(a|)+b$"}, ['"b"', '"aab"'], ['"a"', '"ba"']),
    (
        {"pattern": "^([a-z]{1,63}\\.){1,40}[a-z]{2,63}$"},
        ['"a.bc"', '"www.example.com"'],
        ['"com"', '"a..bc"', '"a.b"'],
    ),
    ({"pattern": "^a*$", "maxLength": 3}, ['""', '"aaa"'], ['"aaaa"', '"b"']),
    ({"pattern": "^[^a]*$", "minLength": 2}, ['"bc"', '"b\\n"'], ['"b"', '"ba"']),
    (
        {"type": "string", "maxLength": 5000},
        ['"' + "a" * 5000 + '"', '""'],
        ['"' + "a" * 5001 + '"'],
    ),
    ({"type": "string", "minLength": 1500}, [f'"{1500 * "é"}"'], [f'"{1499 * "a"}"']),
    # Numbers
    ({"type": "number", "minimum": 0, "maximum": 1}, ["0", "0.25", "1", "1.0"], ["1.5", "-0.1"]),
    ({"type": "number", "maximum": 0.5}, ["0.5", "-7", "0.499"], ["0.51", "1"]),
    ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, ["0.5", "0.001"], ["0", "0.0", "1"]),
    ({"type": "number", "multipleOf": 0.01}, ["0.07", "12.5", "3"], ["0.075"]),
    ({"type": "integer", "multipleOf": 5}, ["0", "-15", "100"], ["7"]),
    ({"multipleOf": 0.25, "minimum": 1}, ["1.75", "2"], ["1.8", "0.5"]),
    ({"type": "integer"}, ["12345678901234567890123"], ["1.5"]),
    ({"type": "number"}, ["1e5", "1.5E-7", "2e+10"], ["1e400", "NaN", "1e"]),
    ({"type": "integer", "minimum": 1.5, "maximum": 3}, ["2", "3"], ["1", "4"]),
    # Strings
    ({"type": "string"}, ['"\\ud83d\\ude00"'], ['"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"']),
    # Enums and constants
    ({"type": "string", "enum": ["a", 1, None, "ab"]}, ['"a"', '"ab"'], ["1", "null"]),
    ({"type": "integer", "const": "a", "anyOf": [True]} | {"const": 3}, ["3"], ['"a"']),
    ({"enum": [1, 2, 3], "minimum": 2}, ["2", "3"], ["1"]),
    ({"const": {"a": [1, {}]}}, ['{"a": [1, {}]}', '{"a":[1,{}]}'], ['{"a": [1]}']),
    # Objects
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": True,
        },
        ['{"a":1}', '{"b":"x","a":1}', '{"ab":null}'],
        ['{"a":"x"}', '{"b":1,"a":"x"}'],
    ),
    (
        {"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
        ["{}", '{"x-a":1,"x-b":2}'],
        ['{"x-a":"1"}', '{"y":1}'],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"const": 1}},
            "patternProperties": {"^b": {"const": 2}, "c$": {"type": "integer"}},
            "additionalProperties": {"const": 3},
        },
        ['{"a":1,"b":2,"c":7,"bc":2,"d":3}'],
        ['{"bc":3}', '{"b":1}', '{"d":4}', '{"c":1.5}'],
    ),
    (
        {
            "type": "object",
            "properties": {k: {"type": "integer"} for k in "abc"},
            "minProperties": 2,
            "additionalProperties": False,
        },
        ['{"a":1,"b":1}', '{"c":1,"a":2,"b":3}'],
        ["{}", '{"a":1}'],
    ),
    (
        {"type": "object", "minProperties": 1, "maxProperties": 2},
        ['{"a":1}', '{"a":1,"b":2}'],
        ["{}", '{"a":1,"b":2,"c":3}'],
    ),
    ({"type": "object", "propertyNames": {"type": "integer"}}, ["{}"], ['{"a":1}']),
    (
        {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
        ['{"ab":1}'],
        ['{"A":1}'],
    ),
    (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": False}},
        ['{"a":1}', "{}"],
        ['{"b":1}'],
    ),
    (
        {
            "properties": {k: {"type": "integer"} for k in ("card", "address")},
            "dependentRequired": {"card": ["address"]},
        },
        ['{"address":1}', '{"card":1,"address":2}', "{}"],
        ['{"card":1}'],
    ),
    (
        {
            "type": "object",
            "properties": {
                "kind": {"enum": ["a", "b"]},
                "x": {"type": "integer"},
            },
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "a"}}},
            "then": {"required": ["x"]},
        },
        ['{"kind":"a","x":1}', '{"kind":"b"}', '{"kind":"b","x":1}'],
        ['{"kind":"a"}', "{}"],
    ),
    # Arrays
    ({"prefixItems": [{"const": 1}, {"const": 2}], "minItems": 1}, ["[1]", "[1,2]"], ["[]", "[2]"]),
    ({"prefixItems": [{"const": 1}] * 3, "maxItems": 2}, ["[1,1]", "[]"], ["[1,1,1]"]),
    ({"contains": {"const": 3}, "items": {"type": "integer"}}, ["[1,3,2]", "[3]"], ["[]", "[1]"]),
    ({"type": "array", "items": False}, ["[]"], ["[1]"]),
    (
        {"items": {"enum": ["a", "b", 1]}, "uniqueItems": True, "minItems": 2},
        ['["b","a"]', '["a", "b", 1]'],
        ["[]", '["a"]', '["a","a"]', '["a","b","a"]'],
    ),
    # Impossible branches are left out
    ({"anyOf": [{"type": "string"}, False]}, ['"a"'], ["1"]),
    ({"anyOf": [{"type": "integer", "minimum": 5, "maximum": 2}, {"const": 1}]}, ["1"], ["3"]),
    ({"enum": ["a", "b"], "anyOf": [{"enum": ["c"]}, {"enum": ["b"]}]}, ['"b"'], ['"a"', '"c"']),
    (
        {"properties": {"a": {"allOf": [{"enum": [1]}, {"enum": [2]}]}, "b": {"const": 1}}},
        ["{}", '{"b":1}'],
        ['{"a":1}'],
    ),
    ({"not": {"type": "object"}, "type": ["object", "null"]}, ["null"], ["{}"]),
    ({"type": "string", "not": {"enum": ["a", "b"]}}, ['"c"', '"ab"'], ['"a"', '"b"']),
    (
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        ['"a"', '["a"]'],
        ["1", "[1]"],
    ),
    (  # a definition that never ends is one
        {
            "properties": {"a": {"$ref": "#/$defs/loop"}, "b": {"type": "null"}},
            "$defs": {"loop": {"allOf": [{"$ref": "#/$defs/loop"}]}},
        },
        ['{"b":null}'],
        ['{"a":1}'],
    ),
    (
        {
            "type": "object",
            "properties": {k: {"type": "string"} for k in ("directory", "directories", "x")},
            "oneOf": [{"required": ["directory"]}, {"required": ["directories"]}],
        },
        ['{"directory":"a"}', '{"x":"b","directories":"a"}'],
        ["{}", '{"directory":"a","directories":"b"}'],
    ),
    ({"oneOf": [True, {"type": "boolean"}], "minLength": 0}, ['"a"'], ["false"]),
    ({"oneOf": [{"minimum": 2}, {"maximum": 5}]}, ["1", "6", "5.5"], ["2", "3.5", "5"]),
    # References
    (
        {"$ref": "#/$defs/n", "maximum": 5, "$defs": {"n": {"type": "integer", "minimum": 2}}},
        ["2", "5"],
        ["1", "6"],
    ),
    (
        {
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
                    "required": ["v"],
                    "additionalProperties": False,
                }
            },
            "allOf": [{"$ref": "#/$defs/node"}],
        },
        ['{"v":1,"next":{"v":2}}'],
        ['{"next":{"v":2}}', '{"v":1,"next":{}}'],
    ),
    (
        {"$id": "https://x.y/z", "$ref": "#a", "$defs": {"a": {"$anchor": "a", "type": "null"}}},
        ["null"],
        ["1"],
    ),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {"type": "null"}},
            "items": [{"$ref": "#/definitions/a"}, {"type": "integer"}],
            "additionalItems": {"const": 0},
        },
        ["[null,1,0]", "[]", "[null]"],
        ["[1]", "[null,1,1]"],
    ),
    ({"minimum": 1, "exclusiveMinimum": True, "type": "integer"}, ["2"], ["1"]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_a_grammar_allows_what_the_schema_allows(
    accepts: Acceptor, schema: Any, good: list[str], bad: list[str]
) -> None:
    grammar = to_gbnf(schema)

    assert [text for text in good if not accepts(grammar.text, text)] == []
    assert [text for text in bad if accepts(grammar.text, text)] == []
    assert grammar.unchecked == ()


@pytest.mark.parametrize(("schema", "good"), [(schema, good) for schema, good, _ in CASES])
def test_what_a_grammar_allows_is_valid(schema: Any, good: list[str]) -> None:
    for text in good:
        assert validate(text, schema) == json.loads(text)


@pytest.mark.parametrize(
    ("schema", "unchecked"),
    [
        ({"type": "array", "uniqueItems": True}, ("uniqueItems",)),
        ({"not": {"contains": {"type": "null"}}}, ("not",)),
        ({"pattern": "^(a)\\1$"}, ("pattern",)),
        ({"type": "string", "format": "hostname"}, ("format (hostname)",)),
        ({"type": "number", "multipleOf": 0.000123457}, ("multipleOf",)),
        ({"oneOf": [{"multipleOf": 2}, {"multipleOf": 5}]}, ("oneOf",)),
        ({"contains": {"const": 1}, "minContains": 2}, ("contains",)),
        (PERSON | {"description": "x", "title": "y", "default": {}}, ()),
    ],
)
def test_what_a_grammar_does_not_enforce_is_named(
    accepts: Acceptor, schema: Any, unchecked: tuple[str, ...]
) -> None:
    grammar = to_gbnf(schema)

    assert grammar.unchecked == unchecked
    assert grammar.ignored == ()
    assert not accepts(grammar.text, "no JSON")


@pytest.mark.parametrize(
    ("schema", "ignored"),
    [
        ({"type": "string", "format": "colour"}, ("format (colour)",)),
        ({"pattern": "(?<=a+)b"}, ("pattern ((?<=a+)b)",)),
        ({"type": "string", "format": "password"}, ()),
    ],
)
def test_what_nothing_checks_is_named(schema: Any, ignored: tuple[str, ...]) -> None:
    assert to_gbnf(schema).ignored == ignored


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "allows nothing"),
        ({"enum": []}, "allows nothing"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "allows nothing"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "allows nothing"),
        ({"type": "array", "minItems": 5, "maxItems": 2}, "allows nothing"),
        ({"allOf": [{"type": "string", "minLength": 5}, {"maxLength": 2}]}, "allows nothing"),
        ({"type": "object", "minProperties": 3, "maxProperties": 2}, "allows nothing"),
        ({"type": "string", "pattern": "^a$", "minLength": 2}, "allows nothing"),
        ({"prefixItems": [False], "minItems": 1}, "allows nothing"),
        ({"properties": {"a": False}, "required": ["a"]}, "allows nothing"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "allows nothing"),
        ({"allOf": [{"type": "number"}, {"type": "string"}]}, "allows nothing"),
        ({"not": {}}, "allows nothing"),
        ({"$ref": "https://example.com/s.json"}, "only its own parts"),
        ({"$ref": "#/$defs/nowhere"}, "not in it"),
        ({"$ref": "#nowhere"}, "not in it"),
        ({"$ref": "#/title", "title": "x"}, "not a schema"),
        ({"$ref": "#"}, "without end"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
          "$ref": "#/$defs/a"}, "without end"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "without end"),
        ({"allOf": [{"$ref": "#"}]}, "without end"),
        ({"not": {"$ref": "#"}}, "without end"),
    ],
)  # fmt: skip
def test_a_schema_without_a_grammar_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        to_gbnf(schema)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "http://127.0.0.1:1/s.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json#/a"},
        {"$dynamicRef": "http://127.0.0.1:1/s.json#x"},
        {"$ref": "http://[bad"},
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        lambda part: {"enum": [1, 2], "not": part},
        lambda part: {"if": part, "then": True},
        lambda part: {"contains": part},
        lambda part: {"propertyNames": part},
        lambda part: {"properties": {"a": {"items": part}}},
        lambda part: {"unevaluatedProperties": part},
        lambda part: {"dependentSchemas": {"a": part}},
        lambda part: {"$ref": "#/$defs/a", "$defs": {"a": part}},
    ],
)
def test_a_reference_out_of_the_document_is_refused_everywhere(part: Any, around: Any) -> None:
    with pytest.raises(UsageError, match="only its own parts can be used"):
        to_gbnf(around(part))
