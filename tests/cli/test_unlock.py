"""Chats in an encrypted store: who may read and write them, and what needs no store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.errors import ExitCode
from tchat.paths import user_paths
from tests.cli.locked_store import LOCKED, QUESTION, end_of, script, terminal
from tests.cli.shell import COMMAND
from tests.encryption.locks import PASSPHRASE, make_lock

PROMPT = "a prompt that nobody else may read"
ASK = ("ask", "--max-tokens", "3")


@pytest.fixture
def locked_home(tiny_home: Path) -> Path:
    """A home with a tiny model and an encrypted store."""
    make_lock(user_paths())
    return tiny_home


def test_a_locked_store_answers_no_prompt_that_it_should_save(locked_home: Path) -> None:
    for stdin in ("", PASSPHRASE):
        ran = script(*ASK, PROMPT, stdin=stdin)
        assert (ran.code, ran.out) == (ExitCode.STORAGE, "")
        assert LOCKED in ran.err
        assert "add -n" in ran.err


def test_an_unlocked_one_answers_and_keeps_no_word_in_clear(locked_home: Path) -> None:
    ran = script("--unlock-fd", "{fd}", *ASK, PROMPT, given=PASSPHRASE)
    assert ran.code == 0
    listed = script("sessions", "ls", "--unlock-fd", "{fd}", "--json", given=PASSPHRASE)
    assert json.loads(listed.out)[0]["title"] == PROMPT
    for path in locked_home.rglob("*"):
        assert not path.is_file() or PROMPT.encode() not in path.read_bytes(), path


def test_a_command_unlocks_it_without_a_word(locked_home: Path) -> None:
    command = f"echo '{PASSPHRASE}'"
    ran = script("sessions", "ls", TCHAT_PASSPHRASE_COMMAND=command)
    assert (ran.code, ran.err) == (0, "tchat: there is no session yet\n")


def test_the_question_is_asked_once_and_the_data_is_the_prompt(locked_home: Path) -> None:
    with terminal(*ASK, PROMPT) as child:
        child.expect_exact(QUESTION)
        child.sendline(PASSPHRASE)
        assert end_of(child) == 0
        assert QUESTION not in child.before
        assert PASSPHRASE not in child.before
    command = f"printf %s '{PROMPT}' | {' '.join(COMMAND)} {' '.join(ASK)}"
    with terminal(command=("sh", "-c", command)) as child:
        child.expect_exact(QUESTION)
        child.sendline(PASSPHRASE)
        assert end_of(child) == 0
    listed = script("sessions", "ls", "--unlock-fd", "{fd}", "--json", given=PASSPHRASE)
    assert [each["title"] for each in json.loads(listed.out)] == [PROMPT] * 2


def test_after_a_command_that_fails_the_user_can_type_it(locked_home: Path) -> None:
    with terminal(*ASK, PROMPT, TCHAT_PASSPHRASE_COMMAND="false") as child:
        child.expect_exact("TCHAT_PASSPHRASE_COMMAND failed with exit code 1")
        child.expect_exact(QUESTION)
        child.sendline(PASSPHRASE)
        assert end_of(child) == 0


@pytest.mark.parametrize("flag", ["-n", "--no-log"])
def test_a_prompt_that_is_not_saved_needs_no_store(locked_home: Path, flag: str) -> None:
    ran = script(*ASK, flag, PROMPT)
    assert ran.code == 0
    assert LOCKED not in ran.err
    with terminal(*ASK, flag, PROMPT) as child:
        assert end_of(child) == 0
        assert QUESTION not in child.before
    assert not Encryption(user_paths().lock_file).is_unlocked
    assert not user_paths().sessions_db.exists()


def test_a_process_with_keys_dumps_no_core_and_is_not_traced(locked_home: Path) -> None:
    code = (
        "import os, resource, sys\n"
        "from tchat.cli.main import program\n"
        "code = program(['lock', 'status'])\n"
        "print(code, resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "if sys.platform == 'linux':\n"
        "    import ctypes\n"
        "    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.splitlines()[-2:] == ["0 0", "0"]


def test_without_a_lock_nothing_of_the_room_is_imported(tiny_home: Path) -> None:
    code = (
        "import sys\n"
        "from tchat.cli.main import program\n"
        "program(['ask', '--max-tokens', '1', 'hi'])\n"
        "print([name for name in sys.modules if 'encryption.enc' in name or 'unlock' in name "
        "or name.startswith(('cryptography', 'sqlcipher3', 'keyring'))])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "[]"


def test_what_others_could_read_is_closed_and_told_once(locked_home: Path) -> None:
    (locked_home / "sessions.db.backup-v3").write_text("words")
    (locked_home / "config.toml").write_text("")
    (locked_home / "judge").mkdir(mode=0o755)
    (locked_home / "mine").mkdir(mode=0o755)
    for name in ("sessions.db.backup-v3", "lock.json", "config.toml"):
        (locked_home / name).chmod(0o644)
    ran = script("lock", "status")
    assert "others could read" in ran.err
    for name in ("sessions.db.backup-v3", "lock.json", "judge"):
        assert name in ran.err
        assert (locked_home / name).stat().st_mode & 0o077 == 0
    for name in ("config.toml", "mine"):  # the user may share them
        assert (locked_home / name).stat().st_mode & 0o044
    assert script("lock", "status").err == ""


def test_tchats_own_folders_are_closed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("TCHAT_HOME")
    paths = user_paths()
    make_lock(paths)
    paths.config.chmod(0o755)
    assert str(paths.config.name) in script("lock", "status").err
    assert paths.config.stat().st_mode & 0o077 == 0
