"""``tchat cache``, and what calls of their own share: a document is read once."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tchat.paths import user_paths
from tests.cli.shell import tchat
from tests.cli.test_bad_inputs import UNPRIVILEGED
from tests.tiny import write_tiny

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
    assert cache("ls") == {
        "size": 0,
        "limit": 4096 << 20,
        "counts": {},
        "sessions": [],
        "models": [],
    }
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


def test_a_dry_run_removes_no_snapshot(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    size = cache("ls")["size"]
    assert cache("clear", "--dry-run") == {"would_free": size, "size": size}
    assert cache("prune", "--dry-run") == {"would_free": 0, "size": size}
    (tiny_home / "sessions.db").unlink()
    assert 0 < cache("prune", "--dry-run")["would_free"] <= size
    assert cache("ls")["size"] == size


def test_what_belongs_to_no_session_is_pruned(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    (tiny_home / "sessions.db").unlink()
    assert cache("ls")["sessions"][0]["title"] == "(deleted)"
    assert cache("prune")["size"] == 0


def test_doctor_counts_a_session_once_that_two_models_read(document: str, tmp_path: Path) -> None:
    other = str(write_tiny(tmp_path / "other.gguf", metadata={"general.name": "Other"}))
    session = ask("-f", document, "Why?")["session"]
    ask("-m", other, "-c", "How?")
    assert [each["session"] for each in cache("ls")["sessions"]] == [session, session]
    assert "1 session, " in tchat("doctor").out


# A model whose states are not restored exactly


def not_exact(home: Path, reason: str = "it \x1b[31mdiffers") -> None:
    """Let the last check of the tiny model have failed."""
    database = sqlite3.connect(home / "cache" / "snapshots" / "index.db", isolation_level=None)
    database.execute("UPDATE models SET exact = 0, reason = ?", (reason,))
    database.close()


def test_it_is_told_where_chats_are_read_again(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    assert [each["exact"] for each in cache("ls")["models"]] == [True]
    assert "reopen at once" in tchat("doctor").out
    not_exact(tiny_home)
    assert [each["exact"] for each in cache("ls")["models"]] == [False]
    told = tchat("doctor").out
    assert "chats are read again, until a check after 20" in told
    assert "\x1b" not in told
    ran = tchat("-f", document, "How?", "--max-tokens", "2")
    assert ran.code == 0
    assert "not saved" in ran.err
    assert "\x1b" not in ran.err


# The key


def shared(path: Path) -> None:
    path.chmod(0o644)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [shared, linked, piped, halved, emptied])
def test_a_key_that_others_may_know_is_replaced_and_that_is_told(
    document: str, tiny_home: Path, harm: Callable[[Path], None]
) -> None:
    ask("-f", document, "Why?")
    key = user_paths().snapshot_key
    before = key.read_bytes()
    harm(key)
    kept = key.with_name("elsewhere")
    doctor = tchat("doctor")
    assert doctor.code == 6
    assert "snapshot.key" in doctor.out
    ran = tchat("-f", document, "How?", "--max-tokens", "2", "--json")
    assert ran.code == 0
    assert "snapshot.key" in ran.err
    assert "read once more" in ran.err
    assert json.loads(ran.out)["usage"]["restored"] == 0
    assert stat.S_IMODE(key.lstat().st_mode) == 0o600
    assert stat.S_ISREG(key.lstat().st_mode)
    assert key.read_bytes() != before
    assert not kept.exists() or kept.read_bytes() == before
    assert ask("-f", document, "And?")["usage"]["restored"] > 300
    assert tchat("doctor").code == 0


def test_a_folder_in_the_place_of_the_key_is_told_and_left_alone(document: str) -> None:
    key = user_paths().snapshot_key
    key.mkdir(parents=True)
    (key / "mine").write_bytes(b"mine")
    for _ in range(2):
        ran = tchat("-f", document, "How?", "--max-tokens", "2", "--json")
        assert ran.code == 0
        assert "snapshot.key is a folder" in ran.err
        assert "moved away" in ran.err
        assert json.loads(ran.out)["usage"]["restored"] == 0
    doctor = tchat("doctor")
    assert doctor.code == 6
    assert "move it away" in doctor.out
    assert (key / "mine").read_bytes() == b"mine"


# Disks that cannot be written


def read_only(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)


def writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("args", [("clear",), ("clear", "--json")])
def test_what_cannot_be_removed_is_a_failure(
    document: str, tiny_home: Path, args: tuple[str, ...]
) -> None:
    ask("-f", document, "Why?")
    folder = tiny_home / "cache" / "snapshots"
    listed = cache("ls")
    read_only(folder)
    try:
        ran = tchat("cache", *args, command=UNPRIVILEGED)
        assert (ran.code, ran.out) == (6, "")
        assert ran.err.count("\n") == 1
        assert str(folder) in ran.err
        seen = tchat("cache", "ls", "--json", command=UNPRIVILEGED)
        assert json.loads(seen.out) == listed
        # It is still good for reading.
        ran = tchat(
            "--json", "-n", "-f", document, "How?", "--max-tokens", "2", command=UNPRIVILEGED
        )
        assert json.loads(ran.out)["usage"]["restored"] > 300
        assert (
            tchat(
                "sessions", "rm", "-y", listed["sessions"][0]["session"], command=UNPRIVILEGED
            ).code
            == 6
        )
    finally:
        writable(folder)
    assert cache("clear") == {"freed": listed["size"], "size": 0}


def test_one_file_that_cannot_be_removed_is_told(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    folder = tiny_home / "cache" / "snapshots"
    file = next(folder.glob("*.kv"))
    file.unlink()
    file.mkdir()
    ran = tchat("cache", "clear")
    assert ran.code == 6
    assert "cannot be removed" in ran.err


def test_a_locked_index_is_a_failure(document: str, tiny_home: Path) -> None:
    ask("-f", document, "Why?")
    blocker = sqlite3.connect(tiny_home / "cache" / "snapshots" / "index.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    ran = tchat("cache", "clear")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (ran.code, ran.out) == (6, "")
    assert "locked" in ran.err
    assert cache("ls")["size"] > 0


@pytest.mark.parametrize("flag", ["-y", "--yes"])
def test_clear_takes_a_yes_that_it_does_not_need(document: str, tiny_home: Path, flag: str) -> None:
    ask("-f", document, "Why?")
    ran = tchat("cache", "clear", flag)
    assert (ran.code, ran.err) == (0, "")
    assert cache("ls")["size"] == 0
