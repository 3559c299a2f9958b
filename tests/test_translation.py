"""The user's language, and texts in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from tchat.errors import UsageError
from tchat.models.metadata import MetadataCache
from tchat.paths import user_paths
from tchat.settings.load import parse_toml
from tchat.translation import CATALOGS, N_, language, set_language, tr, trn
from tests.models.gguf_builder import STRING, but, gguf, key
from tests.translations import (
    catalog_file,
    compiled,
    modules,
    read_catalog,
    template,
    updated,
    written,
)

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
            literals = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
            for text in literals[: 2 if name == "trn" else 1]:
                fields = {field for _, field, _, _ in Formatter().parse(text) if field}
                where = f"{path.name}:{node.lineno}: {text}"
                yield where, fields - ({"count"} if name == "trn" else set()), given


def test_every_text_gets_the_values_that_it_names() -> None:
    wrong = [where for where, fields, given in _calls() if fields - given]
    assert not wrong


def _fields(text: str) -> set[tuple[str, str | None]]:
    return {(name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None}


def _texts(value: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """The forms of a message or of its translation."""
    return (value,) if isinstance(value, str) else tuple(value or ())


@pytest.mark.parametrize("folder", CATALOGS.values())
def test_every_text_is_translated(folder: str) -> None:
    catalog = read_catalog(folder)
    known = {_texts(each.id): _texts(each.string) for each in catalog if each.id}
    missing = [
        each.id for each in template() if each.id and not all(known.get(_texts(each.id), [""]))
    ]
    assert not missing, "translate them, see python -m tests.translations"


@pytest.mark.parametrize("folder", CATALOGS.values())
def test_translations_keep_placeholders_and_line_breaks(folder: str) -> None:
    wrong = []
    for message in read_catalog(folder):
        english = (_texts(message.id) or ("",))[-1]
        for text in _texts(message.string) if english else ():
            if text.count("\n") != english.count("\n"):
                wrong.append(f"line breaks: {english!r}")
            if _is_format(english) and _fields(text) != _fields(english):
                wrong.append(f"placeholders: {english!r} and {text!r}")
    assert not wrong


def _is_format(text: str) -> bool:
    """Whether a text has placeholders: others have braces of their own, as JSON has."""
    try:
        return all(str(name).isidentifier() for name, _ in _fields(text))
    except ValueError:
        return False


@pytest.mark.parametrize("folder", CATALOGS.values())
def test_catalogs_are_up_to_date(folder: str) -> None:
    catalog = updated(folder)
    assert catalog_file(folder).read_bytes() == written(catalog), "run python -m tests.translations"
    assert catalog_file(folder, ".mo").read_bytes() == compiled(read_catalog(folder))


def test_texts_are_in_the_language_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_LANG", "zh")
    assert tr("try again") == "请重试"
    assert tr("no such text in any catalog") == "no such text in any catalog"
    assert trn("{count:,} session", "{count:,} sessions", 1200) == "1,200 个会话"
    assert tr("did you mean `{name}`?", name="{x}") == "您是指 `{x}` 吗？"


def test_the_place_of_an_error_in_the_settings_is_told_in_any_language(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TCHAT_LANG", "zh")
    with pytest.raises(UsageError) as caught:
        parse_toml("a = \n", tmp_path / "config.toml")
    assert "Invalid value" in str(caught.value)
    assert "line 1, column 5" in str(caught.value)


def test_a_refusal_is_told_in_the_language_of_the_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(gguf(but(key("general.type", STRING, "adapter"))))
    cache = MetadataCache(user_paths({"TCHAT_HOME": str(tmp_path)}))
    monkeypatch.setenv("TCHAT_LANG", "zh")
    assert "不是能对话的模型" in cache.metadata(file).refusal
    monkeypatch.setenv("TCHAT_LANG", "en")
    assert "not a model that can chat" in cache.metadata(file).refusal
