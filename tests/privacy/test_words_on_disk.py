"""Not one word of a locked or a private chat lies readable on the disk, whatever happened to it.

The words of chats, attachments, system prompts, tools, searches and histories are looked for byte
by byte in everything that tchat could write to: its folders, temporary files, shared memory. The
user's own files are left out: what he attached, exported or let tools write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tchat.paths import user_paths
from tests.cli.shell import COMMAND, LONG_REPLY, Ran, tchat
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.privacy.byte_search import ByteSearch, Found
from tests.terminal import Terminal
from tests.tiny import write_tiny

SHORT = ("--max-tokens", "4")
MEMORY = Path("/dev/shm")
OTHERS = ("pytest-of-", "bytecode-")  # of tests, in shared memory


@dataclass
class Stage:
    """A home, and all other folders that a process may write to.

    Attributes:
        user: The user's own files.
    """

    words: ByteSearch
    home: Path
    temporary: Path
    runtime: Path
    user: Path
    started: float

    def __call__(self, *args: str, stdin: bytes | None = b"", code: int | None = 0) -> Ran:
        ran = tchat(*args, stdin=stdin, cwd=self.user)
        assert code is None or ran.code == code, ran.err
        return ran

    def file(self, name: str) -> Path:
        """A file of the user with a word in it."""
        path = self.user / name
        path.write_text(f"{self.words.canary()}\n" * 3)
        return path

    def killed(self, seconds: float, *args: str) -> None:
        """Kill a call at its first bytes and so long after."""
        with subprocess.Popen(
            [*COMMAND, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.user,
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            time.sleep(seconds)
            process.kill()

    def found(self) -> list[Found]:
        """Where words are."""
        new = [each for each in MEMORY.iterdir() if not each.name.startswith(OTHERS)]
        new = [each for each in new if each.lstat().st_mtime >= self.started]
        seen = self.words.search([self.home, self.temporary, self.runtime, *new])
        return seen + self.words.search([self.user.parent / "user-home"])


@pytest.fixture
def stage(home: Path, tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    folders = [tmp_path / name for name in ("temporary", "runtime", "own", "user-home")]
    for each in folders:
        each.mkdir(mode=0o700)
    temporary, runtime, own, user_home = folders
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("HOME", str(user_home))
    model = tiny_models / "words.gguf"
    monkeypatch.setenv(
        "TCHAT_MODEL", str(model if model.exists() else write_tiny(model, context=4096))
    )
    return Stage(ByteSearch(time.time_ns()), home, temporary, runtime, own, time.time())


@pytest.fixture
def locked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage.home.mkdir(mode=0o700)
    make_lock(user_paths())
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    return stage


def use(stage: Stage, rounds: int = 1) -> None:
    """Everything that words go into."""
    say = stage.words.canary
    for _ in range(rounds):
        stage("-s", say(), f"Repeat {say()}", *SHORT)
        stage("-c", say(), *SHORT)
        stage("-f", str(stage.file("notes.txt")), say(), *SHORT)
        stage(say(), *SHORT, stdin=say().encode())
        stage("--title", say(), say(), *SHORT, code=None)
        stage("--schema", json.dumps({"enum": [say()]}), say(), "--max-tokens", "60", code=None)
        stage("sessions", "search", say(), code=None)
        stage("sessions", "rename", "last", say(), code=None)
        stage("sessions", "export", "-o", str(stage.user / f"export{stage.words.made}.json"))
        stage("tools", "test", "search_chats", json.dumps({"query": say()}), code=None)
        stage("tools", "test", "read_file", json.dumps({"path": "notes.txt"}), code=None)
        stage("tools", "test", "write_file", json.dumps({"path": "notes.txt", "content": say()}),
              code=None)  # fmt: skip
        stage("--plain", stdin=f"{say()}\n/system {say()}\n{say()}\n".encode(), code=None)


def type_in_line_chat(stage: Stage, *flags: str) -> None:
    """Lines typed on a terminal are kept for the next chat."""
    command = [sys.executable, "-m", "tchat", "--plain", *SHORT, *flags]
    with Terminal(command, environ={**os.environ}, folder=str(stage.user)) as terminal:
        terminal.wait_for("›") if False else time.sleep(2)
        terminal.send(f"{stage.words.canary()}\r")
        time.sleep(2)
        terminal.send("/exit\r")
        time.sleep(2)


def test_words_are_found_where_nothing_hides_them(stage: Stage) -> None:
    """The search itself: in a store in clear it finds them."""
    stage(stage.words.canary(), *SHORT)
    assert {"sessions.db"} <= {each.path.name for each in stage.found()}


def test_no_word_of_a_locked_store_is_found(locked: Stage) -> None:
    use(locked)
    locked.killed(0.3, locked.words.canary(), *LONG_REPLY[1:])
    assert locked.found() == []


def test_no_word_of_a_private_chat_is_found(stage: Stage) -> None:
    say = stage.words.canary
    stage("-n", "-s", say(), say(), *SHORT)
    stage("-n", "-f", str(stage.file("notes.txt")), say(), *SHORT)
    stage("-n", say(), *SHORT, stdin=say().encode())
    stage("-n", "--plain", stdin=f"{say()}\n/system {say()}\n{say()}\n".encode())
    stage.killed(0.3, "-n", say(), *LONG_REPLY[1:])
    assert stage.found() == []
