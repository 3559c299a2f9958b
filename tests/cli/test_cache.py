"""``tchat cache``, and what calls of their own share: a document is read once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import tchat

DOCUMENT = "the be to of and in that have it for not on with he as you do at this " * 30


@pytest.fixture
def document(tiny_home: Path, tmp_path: Path) -> str:
    """A text of some 600 tokens, in a file."""
    path = tmp_path / "document.txt"
    path.write_text(DOCUMENT)
    return str(path)


def ask(*args: str, **options: Any) -> dict[str, Any]:
    ran = tchat("--json", "--max-tokens", "4", *args, **options)
    assert ran.code == 0, ran.err
    answer: dict[str, Any] = json.loads(ran.out)
    return answer


def cache(*args: str) -> Any:
    ran = tchat("cache", *args, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_second_question_about_a_document_reads_only_the_question(document: str) -> None:
    first = ask("-f", document, "Why?")
    assert first["usage"]["restored"] == 0
    second = ask("-f", document, "How?")
    assert second["usage"]["read"] < 20
    assert second["usage"]["restored"] > 300
    assert second["timings"]["restore"] > 0
    piped = ask("How?", stdin=DOCUMENT.encode())
    again = ask("Why?", stdin=DOCUMENT.encode())
    assert piped["usage"]["restored"] < again["usage"]["restored"]


def test_a_template_and_a_system_prompt_are_read_once(document: str) -> None:
    ask("-s", DOCUMENT, "Why?")
    assert ask("-s", DOCUMENT, "How?")["usage"]["read"] < 20
    ask("-t", "summarise", "-f", document)
    assert ask("-t", "summarise", "-f", document)["usage"]["read"] == 1


def test_going_on_restores_the_session(document: str) -> None:
    first = ask("-f", document, "Why?")
    then = ask("-c", "And how?")
    assert then["usage"]["restored"] >= first["usage"]["prompt"]
    assert tchat("--cid", first["session"], "-u", "--max-tokens", "1", "?").err.count("restored in")


def test_a_prompt_that_is_not_logged_writes_nothing_and_finds_what_is_there(
    document: str, tiny_home: Path
) -> None:
    folder = tiny_home / "cache" / "snapshots"
    ask("-n", "-f", document, "Why?")
    assert not folder.exists()
    ask("-f", document, "Why?")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert ask("-n", "-f", document, "How?")["usage"]["restored"] > 300
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_short_prompt_writes_nothing(tiny_home: Path) -> None:
    ask("Why?")
    assert not (tiny_home / "cache" / "snapshots").exists()


def test_it_lists_prunes_and_clears(document: str) -> None:
    assert cache("ls") == {"size": 0, "limit": 4096 << 20, "counts": {}, "sessions": []}
    session = ask("-f", document, "Why?")["session"]
    listed = cache("ls")
    assert [each["session"] for each in listed["sessions"]] == [session]
    assert listed["sessions"][0]["size"] == listed["size"] > 0
    assert tchat("cache", "ls").out.split("\t")[0] == session
    assert cache("prune") == {"freed": 0, "size": listed["size"]}
    assert cache("clear") == {"freed": listed["size"], "size": 0}
    assert tchat("cache", "prune").out == "freed 0 B, 0 B left\n"


def test_prune_brings_it_down_to_the_limit(document: str) -> None:
    ask("-f", document, "Why?")
    ran = tchat("cache", "prune", "--json", env={"TCHAT_SNAPSHOT_LIMIT": "0"})
    assert json.loads(ran.out)["size"] == 0


def test_a_limit_of_zero_keeps_nothing(document: str, tiny_home: Path) -> None:
    env = {"TCHAT_SNAPSHOT_LIMIT": "0"}
    ask("-f", document, "Why?", env=env)
    assert ask("-f", document, "How?", env=env)["usage"]["restored"] == 0
    assert not list((tiny_home / "cache").glob("snapshots/*.kv"))


def test_it_goes_with_its_session(document: str, tiny_home: Path) -> None:
    session = ask("-f", document, "Why?")["session"]
    assert tchat("sessions", "rm", "-y", session).code == 0
    assert cache("ls")["size"] == 0
    assert not list((tiny_home / "cache" / "snapshots").glob("*.kv"))


def test_what_belongs_to_no_session_is_pruned(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    (tiny_home / "sessions.db").unlink()
    assert cache("ls")["sessions"][0]["title"] == "(deleted)"
    assert cache("prune")["size"] == 0
