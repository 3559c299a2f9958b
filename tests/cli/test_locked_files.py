"""An encrypted store as a user meets it: everything works as in clear, and no file tells a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tchat.chat.store_conversion import turn_off
from tchat.encryption.encryption import Encryption
from tchat.encryption.lock_copies import remove_lock_files
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tests.cli.locked_store import QUESTION, end_of, script, terminal
from tests.cli.shell import COMMAND, tchat
from tests.cli.test_judge import dialogues
from tests.encryption.locks import PASSPHRASE, make_lock

WORD = "quetzalcoatl"
LONG = f"Tell me about the {WORD}. " + "the be to of and in that have it for not on with " * 30


@pytest.fixture
def locked_home(tiny_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose store is encrypted, and opened by a command."""
    make_lock(user_paths())
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    monkeypatch.setenv("TCHAT_MAX_TOKENS", "8")
    return tiny_home


def found_in(home: Path, *more: Path) -> list[Path]:
    """The files that hold the word in a form that one could look for."""
    forms = [WORD.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")]
    return [
        path
        for folder in (home, *more)
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def line_chat() -> Any:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tchat", "--plain"],
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
    )
    child.expect_exact("You: ")
    return child


def test_a_line_is_recalled_in_a_later_chat(locked_home: Path) -> None:
    pytest.importorskip("readline")
    for keys in (f"tell me of {WORD}", "\x1b[A\x1b[A"):  # the newest line is /exit
        child = line_chat()
        child.send(f"{keys}\r")
        child.expect_exact("You: ")
        child.send("/exit\r")
        child.expect(pexpect.EOF)
        child.close()
    found = json.loads(tchat("sessions", "ls", "--json").out)
    assert [each["title"] for each in found] == [f"tell me of {WORD}"] * 2
    assert (locked_home / "history").read_bytes().startswith(b"tchatENC1")
    assert not found_in(locked_home)


def test_typed_lines_outlive_a_lock_file_that_is_gone_for_a_while(locked_home: Path) -> None:
    pytest.importorskip("readline")
    child = line_chat()
    child.send(f"tell me of {WORD}\r")
    child.expect_exact("You: ")
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    before = (locked_home / "history").read_bytes()
    remove_lock_files(locked_home / "lock.json")
    (locked_home / "sessions.db").unlink()
    child = line_chat()
    assert "typed lines are not saved" in child.before
    child.send("hello\r")
    child.expect_exact("You: ")
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    assert (locked_home / "history").read_bytes() == before


def test_a_long_chat_reopens_from_its_snapshot(locked_home: Path) -> None:
    assert tchat(LONG).code == 0
    usage = json.loads(tchat("-c", "go on", "--json").out)["usage"]
    assert usage["restored"] > 200
    assert list(locked_home.glob("cache/snapshots/*.kv"))
    assert not found_in(locked_home)


def test_tools_are_logged_and_undone(locked_home: Path, tmp_path: Path) -> None:
    note = tmp_path / "work" / "note.txt"
    note.parent.mkdir()
    note.write_text(f"the {WORD} before", encoding="utf-8")
    call = json.dumps({"path": "note.txt", "content": f"the {WORD} after"})
    wrote = tchat(
        *("tools", "test", "write_file", call),
        cwd=note.parent,
        env={"TCHAT_TOOLS_ALLOW": "write_file"},
    )
    assert (wrote.code, note.read_text(encoding="utf-8")) == (0, f"the {WORD} after"), wrote.err
    [logged] = json.loads(tchat("tools", "log", "--json").out)
    assert logged["arguments"]["content"] == f"the {WORD} after"
    assert not found_in(locked_home)
    stored = locked_home / "tool-log.jsonl"
    kept = stored.read_bytes()
    lines = kept.count(b"\n")
    stored.write_bytes(b"tchat1:AAAA\n" + kept + b"in clear\n")
    told = tchat("tools", "log", "--json")
    assert f"2 lines of {stored} are damaged and left out: 1, {lines + 2}" in told.err
    assert json.loads(told.out) == [logged]
    assert tchat("tools", "undo", "--yes", cwd=note.parent).code == 0
    assert note.read_text(encoding="utf-8") == f"the {WORD} before"


def test_a_judge_is_trained_and_scores(locked_home: Path, tmp_path: Path) -> None:
    data = tmp_path / "people.jsonl"
    rows = [{**row, "prompt": f"{row['prompt']} {WORD}"} for row in dialogues(18)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trained = tchat("judge", "train", str(data), "--json")
    assert trained.code == 0
    facts = json.loads(trained.out)["human"]
    assert json.loads(tchat("judge", "show", "--json").out)["human"] == facts
    scored = tchat("judge", "score", stdin=data.read_bytes())
    assert [0 <= json.loads(line)["human"] <= 1 for line in scored.out.splitlines()] == [True] * 18
    [kept] = locked_home.glob("judge/*/generations.jsonl")
    before = kept.read_bytes()
    assert tchat("judge", "train", str(data)).code == 0
    assert kept.read_bytes() == before  # no reply is written again

    duel = ["judge", "duel", "--data", str(data), "--batch", "4", "--rounds", "1"]
    played = tchat(*duel)
    assert (played.code, played.out.splitlines()[-1]) == (0, "report: tchat judge report duel")
    report = tchat("judge", "report", "duel")
    assert "The weights of the model were not touched." in report.out
    assert WORD in report.out
    assert not found_in(locked_home)


def test_a_passphrase_typed_once_serves_a_whole_training_and_a_duel(
    tiny_home: Path, tmp_path: Path
) -> None:
    make_lock(user_paths())
    data = tmp_path / "people.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in dialogues(18)), encoding="utf-8")
    duel = ("judge", "duel", "--data", str(data), "--batch", "4", "--rounds", "1")
    for args in (("judge", "train", str(data)), duel):
        with terminal(*args, TCHAT_MAX_TOKENS="8") as child:
            child.expect_exact(QUESTION)
            child.sendline(PASSPHRASE)
            assert end_of(child) == 0, child.before
            assert QUESTION not in child.before
    assert script("--unlock-fd", "{fd}", *duel, given=PASSPHRASE, TCHAT_MAX_TOKENS="8").code == 0
    heads = list(tiny_home.glob("judge/*/*.npz"))
    assert heads
    assert all(path.read_bytes().startswith(b"tchatENC1") for path in heads)


def test_a_judge_has_no_report_of_a_duel_that_was_not_played(locked_home: Path) -> None:
    ran = tchat("judge", "report", "none")
    assert (ran.code, "there is no report of a duel none; " in ran.err) == (2, True)


def test_the_log_is_shown_and_tells_nothing_on_the_disk(locked_home: Path) -> None:
    assert "there is no log yet" in tchat("log").err
    encryption = make_lock_again()
    encryption(f"a line\nanother of {WORD}\n")
    assert tchat("log").out == f"a line\nanother of {WORD}\n"
    assert tchat("log", "--lines", "1").out == f"another of {WORD}\n"
    log = user_paths().log_file
    log.write_bytes(log.read_bytes()[:-9] + b"AAAAAAAA\n")
    assert tchat("log").err == f"tchat: 1 line of {log} is damaged and left out: 1\n"
    assert not found_in(locked_home)


def make_lock_again() -> Callable[[str], bool]:
    """What appends to the log of the store, unlocked."""
    paths = user_paths()
    assert paths.encryption is not None
    paths.encryption.unlock(PASSPHRASE)
    return paths.log.append


def test_a_chat_that_stores_nothing_asks_for_nothing(locked_home: Path) -> None:
    ran = tchat("-n", "hello", env={"TCHAT_PASSPHRASE_COMMAND": "false"})
    assert (ran.code, ran.err.count("passphrase")) == (0, 0)


def test_what_is_imported_from_a_pipe_lies_in_no_file(locked_home: Path, tmp_path: Path) -> None:
    """Nor in a file without a name: the process has none open on a disk."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "sessions", "import"],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as child:
        os.close(reading)
        # More than a pipe holds: when it is written, the program has read some of it.
        os.write(writing, b'{"text": "' + WORD.encode() * 20_000)
        opened = [each.readlink() for each in Path(f"/proc/{child.pid}/fd").iterdir()]
        child.kill()
    os.close(writing)
    assert not [name for name in opened if str(name).startswith(str(temporary))]
    assert not found_in(locked_home, temporary)


@pytest.mark.parametrize("way", ["command", "chat"])
def test_redacted_words_are_in_no_file_of_an_encrypted_store(locked_home: Path, way: str) -> None:
    child = line_chat()
    child.send(f"tell me of {WORD}\r")
    child.expect_exact("You: ")
    if way == "chat":
        child.send(f"/redact {WORD}\r")
        child.expect_exact("cannot be undone")
        child.send("y\r")
        child.expect_exact("Replaced 1 value")
        child.expect_exact("You: ")
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    child.close()
    [session] = json.loads(tchat("sessions", "ls", "--json").out)
    if way == "command":
        assert WORD in tchat("sessions", "export", session["id"]).out
        ran = tchat("sessions", "redact", session["id"], "--text", WORD, "--yes")
        assert ran.code == 0, ran.err
    assert "tell me of [WORD_1]" in tchat("sessions", "export", session["id"]).out
    assert not list(locked_home.rglob("*.kv"))
    paths = user_paths()
    encryption = Encryption(paths.lock_file)
    encryption.unlock(PASSPHRASE)
    with SessionStore(paths.sessions_db, encryption) as store:
        connection = store._database._connection
        assert [*connection.execute("PRAGMA freelist_count").fetchone()] == [0]
    for _ in turn_off(paths, encryption):
        pass
    assert not found_in(locked_home)
