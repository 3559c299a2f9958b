"""Grammars of large schemas stay small, and what would take long is left to the check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tchat.engine.grammar.json_schema import to_gbnf
from tests.engine.grammar.accepting import Acceptor


def test_many_optional_properties_stay_small() -> None:
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(200)}}

    assert len(to_gbnf(schema).text) < 60_000


def test_definitions_that_double_stay_small() -> None:
    double = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(60)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**double, "d60": {"type": "integer"}}}

    assert len(to_gbnf(schema).text) < 1000


def test_a_hundred_nested_objects_have_a_grammar(accepts: Acceptor) -> None:
    schema: dict[str, Any] = {"type": "integer"}
    text = "1"
    for _ in range(150):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
        text = '{"a":' + text + "}"

    grammar = to_gbnf(schema)

    assert accepts(grammar.text, text)
    assert not accepts(grammar.text, text.replace("1", "null"))


def test_an_enum_of_many_values_is_a_tree(accepts: Acceptor) -> None:
    values = [f"value-{number}" for number in range(10_000)]

    grammar = to_gbnf({"enum": values})

    # After the shared beginning at most ten digits are left, however many values there are.
    assert max(line.count('"') for line in grammar.text.splitlines()) > 20_000
    assert accepts(grammar.text, '"value-9876"')
    assert not accepts(grammar.text, '"value-10000"')
    assert grammar.text.startswith('root ::= "\\"value-" (')


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"properties": {f"p{n}": {"const": n} for n in range(7)}}, '{"p4":4,"p0":0,"p2":2}'),
        ({"properties": {f"p{n}": {"const": n} for n in range(9)}}, '{"p0":0,"p2":2,"p8":8}'),
    ],
)
def test_few_properties_stand_in_any_order_and_many_in_the_schemas(
    accepts: Acceptor, schema: Any, text: str
) -> None:
    grammar = to_gbnf(schema).text
    reverse = json.dumps(dict(reversed(json.loads(text).items())))

    assert accepts(grammar, text)
    assert accepts(grammar, reverse) == (len(schema["properties"]) <= 7)


def test_a_schema_that_is_too_large_is_held_at_its_top(accepts: Acceptor) -> None:
    names = [f"p{number}" for number in range(12)]
    schema = {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{n}": {
                "type": "object",
                "properties": {
                    name: {"$ref": f"#/$defs/d{(n * 7 + at) % 900}"}
                    if at % 3
                    else {"type": "string", "pattern": f"^[a-z]{{1,{n % 40 + 3}}}$"}
                    for at, name in enumerate(names)
                },
                "required": ["p0"],
                "additionalProperties": False,
            }
            for n in range(900)
        },
    }

    grammar = to_gbnf(schema)

    assert grammar.unchecked == ("deeper parts (the schema is too large)",)
    assert accepts(grammar.text, '{"p0":"a","p1":{"p0":"ab"}}')
    assert not accepts(grammar.text, '{"p1":{"p0":"ab"}}')


def test_a_repetition_too_long_for_python_is_never_checked() -> None:
    digits = "9" * 5000
    for count in ("2147483648000", digits):
        pattern = f"^a{{{count}}}$"
        grammar = to_gbnf({"type": "string", "pattern": pattern})
        assert grammar.unchecked == ("pattern",)
        assert grammar.ignored[0].startswith("pattern (^a{")


def test_nested_repetitions_are_left_before_they_take_long() -> None:
    for pattern in ("^((a{1,1000}){1,1000}){1,1000}$", "^((a?b?){1,900}c?){1,900}$"):
        assert "root" in to_gbnf({"type": "string", "pattern": pattern}).text


@pytest.mark.parametrize("bound", [1e300, -1e300, 10**4200])
def test_a_bound_of_more_digits_than_are_written_is_unchecked(bound: float) -> None:
    for keyword in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        grammar = to_gbnf({"type": "number", keyword: bound})
        assert grammar.unchecked == (keyword,)
        assert len(grammar.text) < 1000
    grammar = to_gbnf({"type": "integer", "minimum": 0, "maximum": bound})
    assert grammar.unchecked == ("maximum", "minimum")


def test_a_bound_of_many_digits_is_exact(accepts: Acceptor) -> None:
    bound = -(10**40) - 7
    grammar = to_gbnf({"type": "integer", "minimum": bound, "maximum": -(10**39) - 1})
    assert accepts(grammar.text, str(bound))
    assert not accepts(grammar.text, str(bound - 1))
    assert accepts(grammar.text, str(-(10**39) - 1))
    assert not accepts(grammar.text, str(-(10**39)))


@pytest.mark.parametrize(
    ("schema", "unchecked"),
    [
        ({"minProperties": 2}, True),
        ({"minProperties": 1}, False),
        ({"minProperties": 2, "required": ["a"]}, False),
        ({"minProperties": 2, "patternProperties": {"^x": {}}}, True),
        ({"minProperties": 2, "properties": {"a": {}, "b": {}}}, False),
    ],
)
def test_a_count_of_properties_that_may_repeat_is_left_to_the_check(
    schema: dict[str, Any], unchecked: bool
) -> None:
    assert ("minProperties" in to_gbnf(schema).unchecked) is unchecked
