"""Schemas read and checked, replies validated, and grammars of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.engine.grammar.reply import ReplyMismatch, choice_grammar, parse_schema, validate
from tchat.errors import UsageError
from tests.engine.grammar.accepting import Acceptor
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


# Choices


def test_a_choice_allows_its_labels_and_nothing_else(accepts: Acceptor) -> None:
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
