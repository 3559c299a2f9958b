"""The user's language, and texts in it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from string import Formatter

import pytest

from tchat.engine.snapshots.store import SnapshotStore
from tchat.errors import UsageError
from tchat.models.metadata import MetadataCache, ProbeVerdict
from tchat.models.verify import probe
from tchat.paths import user_paths
from tchat.settings.load import parse_toml
from tchat.stored_text import shown_text, stored_text
from tchat.translation import CATALOGS, N_, english, language, set_language, tr, trn
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
    assert tr("") == ""
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


def test_a_text_is_told_in_english_whatever_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_LANG", "zh")
    assert english(trn("{count:,} session", "{count:,} sessions", 1200)) == "1,200 sessions"
    text = tr("{path} changed while it was checked", path=tr("standard input"))
    assert text == "标准输入 在检查时发生了变化"
    assert english(text) == "standard input changed while it was checked"
    error = UsageError(tr("try again"))
    assert english(tr("cannot be used: {reason}", reason=error)) == "cannot be used: try again"
    assert english("任意文本") == "任意文本"


@pytest.mark.parametrize("then", ["en", "zh"])
def test_a_stored_text_is_shown_in_the_language_of_the_day(
    monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setenv("TCHAT_LANG", then)
    texts = [
        tr("try again"),
        tr("cannot be used: {reason}", reason=tr("no reason given")),
        trn("{count:,} session", "{count:,} sessions", 1),
        'a plain text with {braces} and "quotes"',
    ]
    stored = list(map(stored_text, texts))
    monkeypatch.setenv("TCHAT_LANG", "zh")
    assert list(map(shown_text, stored)) == [
        "请重试",
        "无法使用：未给出原因",
        "1 个会话",
        'a plain text with {braces} and "quotes"',
    ]
    monkeypatch.setenv("TCHAT_LANG", "en")
    shown = list(map(shown_text, stored))
    assert shown[:3] == ["try again", "cannot be used: no reason given", "1 session"]
    assert list(map(stored_text, shown)) == stored  # it is kept as it is, again and again


@pytest.mark.parametrize(
    "stored",
    [
        '{"messages": ["{a.__class__}"], "values": {"a": 1}}',
        '{"messages": ["{a[0]}"], "values": {"a": "x"}}',
        '{"messages": ["{}"], "values": {}}',
        '{"messages": ["{a}"], "values": {"b": 1}}',
        '{"messages": ["{a:999999999999d}"], "values": {"a": 1}}',
        '{"messages": ["{a:d}"], "values": {"a": "x"}}',
        '{"messages": ["one", "more"], "values": {"count": "x"}}',
        '{"messages": [1], "values": {}}',
        '{"messages": [], "values": {}}',
        '{"messages": ["one", "more"], "values": {}}',
        '{"messages": "x", "values": {}}',
        '{"messages": ["x"]}',
        '{"messages": ["x"], "values": {"a": {"messages": [], "values": {}}}}',
        '{"messages": ',
    ],
)
def test_what_was_not_stored_as_a_text_is_shown_as_it_is(stored: str) -> None:
    assert shown_text(stored) == stored


def test_a_cached_verdict_is_told_in_the_language_of_the_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path
) -> None:
    paths = user_paths({"TCHAT_HOME": str(tmp_path)})
    monkeypatch.setenv("TCHAT_LANG", "zh")
    told = json.dumps({"ok": False, "error": stored_text(tr("no reason given")), "exit_code": 3})
    with MetadataCache(paths) as cache:
        metadata = cache.metadata(tiny_model)
        verdict = probe(metadata, lambda _: ("echo", told))
        assert verdict.problem == "无法使用：未给出原因"
        cache.store_verdict(metadata, "build", verdict)
        cache.store_verdict(metadata, "older", ProbeVerdict("无法使用：旧的文本"))
    monkeypatch.setenv("TCHAT_LANG", "en")
    with MetadataCache(paths) as cache:
        [now, older] = [cache.verdict(metadata, build) for build in ("build", "older")]
    assert now is not None
    assert now.problem == "cannot be used: no reason given"
    assert older == ProbeVerdict("无法使用：旧的文本")


def test_why_snapshots_are_not_restored_is_told_in_the_language_of_the_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TCHAT_LANG", "zh")
    with closing(SnapshotStore(tmp_path / "kv", tmp_path / "key")) as store:
        reason = tr("a restored state changes the logits by {apart:.1%} of their range", apart=0.5)
        store.index.record_exactness("key", "Tiny", exact=False, reason=reason)
    monkeypatch.setenv("TCHAT_LANG", "en")
    with closing(SnapshotStore(tmp_path / "kv", tmp_path / "key")) as store:
        [known] = store.models()
    assert known.reason == "a restored state changes the logits by 50.0% of their range"


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
