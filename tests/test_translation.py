"""The user's language, and texts in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from string import Formatter

import pytest

from tchat.translation import N_, language, set_language, tr, trn
from tests.translations import modules

LOCALE = ("TCHAT_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE")


@pytest.fixture(autouse=True)
def no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOCALE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "TCHAT_LANG": "en"}, "en"),
        ({"LANG": "de_DE.UTF-8", "TCHAT_LANG": "zh"}, "zh"),
        ({"TCHAT_LANG": "klingon"}, "en"),
        ({"LANG": ""}, "en"),
    ],
)
def test_language_follows_the_locale(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_english_texts_are_their_own_catalog() -> None:
    assert tr("no {thing} here", thing="{model}") == "no {model} here"
    assert tr('literal {"a": 1}') == 'literal {"a": 1}'
    assert N_("later") == "later"
    assert trn("{count:,} token", "{count:,} tokens", 1) == "1 token"
    assert trn("{count:,} token", "{count:,} tokens", 1200) == "1,200 tokens"


def test_a_chosen_language_is_kept_for_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_LANG", "en")  # restored afterwards
    set_language("zh")
    assert language() == "zh"
    set_language("")
    assert language() == "en"


def _calls() -> Iterator[tuple[str, set[str], set[str]]]:
    """Every ``tr`` and ``trn`` of a literal: where, its placeholders, the values that it gets."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            if not isinstance(node, ast.Call) or name not in ("tr", "trn"):
                continue
            given = {keyword.arg or "**" for keyword in node.keywords}
            if name == "tr" and not given:
                continue  # not formatted: its braces are its own
            literals = [each.value for each in node.args if isinstance(each, ast.Constant)]
            for text in literals[: 2 if name == "trn" else 1]:
                fields = {field for _, field, _, _ in Formatter().parse(text) if field}
                where = f"{path.name}:{node.lineno}: {text}"
                yield where, fields - ({"count"} if name == "trn" else set()), given


def test_every_text_gets_the_values_that_it_names() -> None:
    wrong = [where for where, fields, given in _calls() if fields - given]
    assert not wrong
