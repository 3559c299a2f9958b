"""Grammars against validation: what a grammar allows is valid, or its keyword was reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tchat.engine.grammar.json_schema import SchemaGrammar, to_gbnf
from tchat.errors import UsageError
from tests.benchmarks.schemas import SUITE, measure, realistic_cases, suite_cases
from tests.engine.grammar.accepting import Acceptor


def test_realistic_schemas_hold_in_their_grammars(accepts: Acceptor) -> None:
    tally = measure(realistic_cases(), accepts)

    accepted, rejected, silent = tally.shares()
    assert (accepted, silent, tally.refused) == (1, 0, 0), tally.misses
    assert rejected >= 0.96, tally.misses


def test_a_grammar_is_the_same_in_every_process() -> None:
    # What `map -o` has done already is known by it.
    code = (
        "from tests.benchmarks.schemas import realistic_cases\n"
        "from tchat.engine.grammar.json_schema import to_gbnf\n"
        "print([to_gbnf(case.schema).text for case in realistic_cases()])"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.skipif(not SUITE.is_dir(), reason=f"the official suite is not at {SUITE}")
def test_the_official_suite_finds_nothing_allowed_without_a_word(accepts: Acceptor) -> None:
    tally = measure(suite_cases(), accepts)

    accepted, rejected, silent = tally.shares()
    assert silent == 0, [miss for miss in tally.misses if miss.startswith("SILENT")]
    assert accepted >= 0.88
    assert rejected >= 0.84


NAMES = st.sampled_from(["a", "b", "ab", "c"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([0.5, 1.5, -2.25, 10.0])
    | st.sampled_from(["", "a", "b", "ab", "ba", "aab", "x1", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
PATTERNS = st.sampled_from(["^a", "b$", "^[ab]*$", "^(a|ab){1,2}$", "a.b", "^(?!ab)", "x\\d", "^$"])
SMALL = st.integers(0, 3)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])


def _with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of some keywords, with schemas from ``inner`` inside."""
    few = st.lists(inner, min_size=1, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "propertyNames": inner,
        "minProperties": SMALL,
        "maxProperties": SMALL,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True)),
        "dependentSchemas": st.dictionaries(NAMES, inner, max_size=1),
        "unevaluatedProperties": inner,
        "items": inner,
        "prefixItems": few,
        "contains": inner,
        "minContains": SMALL,
        "maxContains": SMALL,
        "minItems": SMALL,
        "maxItems": SMALL,
        "uniqueItems": st.booleans(),
        "unevaluatedItems": inner,
        "pattern": PATTERNS,
        "minLength": SMALL,
        "maxLength": SMALL,
        "minimum": st.integers(-3, 5) | st.sampled_from([0.5, -1.5]),
        "maximum": st.integers(-3, 12) | st.sampled_from([2.5, 10.25]),
        "exclusiveMinimum": st.integers(-3, 5),
        "exclusiveMaximum": st.integers(-3, 12),
        "multipleOf": st.sampled_from([1, 2, 3, 5, 0.5]),
        "enum": st.lists(VALUES, min_size=1, max_size=4),
        "const": VALUES,
        "allOf": few,
        "anyOf": few,
        "oneOf": few,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
    }
    return st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({key: keywords[key] for key in chosen})
    )


LEAVES = st.booleans() | TYPES.map(lambda kind: {"type": kind})
SCHEMAS = st.recursive(LEAVES, _with, max_leaves=6)


def _document(root: dict[str, Any], one: Any, two: Any) -> dict[str, Any]:
    return {**root, "$defs": {"one": one, "two": two}}


DOCUMENTS = st.builds(_document, _with(LEAVES), SCHEMAS, SCHEMAS) | st.builds(
    _document, _with(SCHEMAS), LEAVES, LEAVES
)


def _grammar(schema: Any) -> SchemaGrammar | None:
    """The grammar; None for a schema that is refused for a reason of its own."""
    try:
        return to_gbnf(schema)
    except UsageError as error:
        if "allows nothing" in str(error) or "without end" in str(error):
            return None
        raise


@settings(deadline=None, max_examples=250, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS, st.lists(VALUES, min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_no_text_of_a_random_schemas_grammar_is_invalid_without_a_word(
    accepts: Acceptor, schema: dict[str, Any], values: list[Any], random: Random
) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    grammar = _grammar(schema)
    if grammar is None or grammar.unchecked:
        return
    drawn = [accepts.written(grammar.text, random) for _ in range(4)]
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    allowed = [text for text in texts if accepts(grammar.text, text)]
    for text in [*(one for one in drawn if one is not None), *allowed]:
        assert validator.is_valid(json.loads(text)), (text, grammar.text)
