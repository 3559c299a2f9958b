"""Listings: on a terminal in the user's language; in a pipe and as JSON in English, for scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.shell import Shell, tchat
from tests.models.gguf_builder import STRING, but, gguf, key

LISTINGS = [
    ("models", "ls", "--all"),
    ("models", "show", "MODEL"),
    ("models", "check", "MODEL"),
    ("models", "check", "DAMAGED"),
    ("models", "catalogue"),
    ("models", "dupes"),
    ("models", "du"),
    ("models", "default"),
    ("models", "alias", "ls"),
    ("doctor",),
    ("config", "show"),
    ("sessions", "ls"),
    ("sessions", "search", "whales"),
    ("prompts", "ls"),
    ("cache", "ls"),
    ("cache", "prune"),
    ("judge", "show"),
    ("judge", "examples"),
]
NO_JSON = [("models", "default"), ("models", "check", "DAMAGED")]
WORDS = re.compile(r"\b[a-z]{3,} [a-z]{3,}\b")


@pytest.fixture
def listing(
    shell: Shell,
    marked: None,
    tiny_home: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    """A home with a session, an alias, and files that cannot be loaded or chat."""
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF\3\0\0\0")
    (tmp_path / "adapter.gguf").write_bytes(gguf(but(key("general.type", STRING, "adapter"))))
    shell("models", "add", str(tiny_model), str(tmp_path))
    shell("models", "alias", "set", "small", str(tiny_model))
    shell("whales")
    monkeypatch.setenv("TCHAT_LANG", "zh")
    return shell


def _named(args: tuple[str, ...], model: Path, folder: Path) -> list[str]:
    names = {"MODEL": str(model), "DAMAGED": str(folder / "damaged.gguf")}
    return [names.get(each, each) for each in args]


@pytest.mark.parametrize("args", LISTINGS, ids=" ".join)
def test_what_scripts_read_is_in_english(
    listing: Shell, tiny_model: Path, tmp_path: Path, args: tuple[str, ...]
) -> None:
    piped = listing(*_named(args, tiny_model, tmp_path))
    assert "「" not in piped.out
    if args not in NO_JSON:
        ran = listing(*_named(args, tiny_model, tmp_path), "--json")
        assert "「" not in ran.out
        assert ran.out


@pytest.mark.parametrize("args", LISTINGS, ids=" ".join)
def test_what_a_terminal_shows_is_in_the_language_of_the_user(
    listing: Shell, tiny_model: Path, tmp_path: Path, args: tuple[str, ...]
) -> None:
    shown = listing(*_named(args, tiny_model, tmp_path), terminal=True).out
    for line in shown.splitlines():
        outside, found = line.partition("{%")[0], 1
        while found:
            outside, found = re.subn("「[^「」]*」", "", outside)
        assert not WORDS.findall(outside), line


@pytest.mark.parametrize("more", [(), ("--candidates", "2")])
def test_notices_in_json_are_in_english(tiny_home: Path, more: tuple[str, ...]) -> None:
    args = ("--json", "--think", "on", "--max-tokens", "2", *more, "hi")
    ran = tchat(*args, env={"TCHAT_LANG": "zh"})
    texts = [notice["text"] for notice in json.loads(ran.out)["notices"]]
    assert [text for text in texts if text.endswith("--think on does nothing")]
    assert "--think on 不起作用" in ran.err


def test_why_a_row_failed_is_in_english_in_results_and_translated_on_the_terminal(
    tiny_home: Path,
) -> None:
    rows = b'{"a": "x"}\n{"b": "y"}\n'
    ran = tchat("map", "{a}", "--max-tokens", "2", stdin=rows, env={"TCHAT_LANG": "zh"})
    errors = [json.loads(line).get("error") for line in ran.out.splitlines()]
    assert errors[1].startswith("row 1 has no field `a`")
    assert "第 1 行没有字段 `a`" in ran.err
