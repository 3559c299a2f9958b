"""Not one word of a locked or a private chat lies readable on the disk, whatever happened to it.

The words of chats, attachments, system prompts, tools, searches and histories are looked for byte
by byte in everything that tchat could write to: its folders, temporary files, shared memory. The
user's own files are left out: what he attached, exported or let tools write.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tchat.encryption.lock_file import EncryptionState
from tchat.engine.binding import Cancel
from tchat.engine.model import Model
from tchat.paths import user_paths
from tests.cli.shell import COMMAND, LONG_REPLY, Ran, tchat
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.privacy.byte_search import ByteSearch, Found
from tests.terminal import Terminal
from tests.tiny import write_tiny

SHORT = ("--max-tokens", "4")
LONG = "one two " * 400  # enough for a snapshot
MEMORY = Path("/dev/shm")
PROMPT = "Message · / commands"
TURN_ON = """
import os
from tchat.chat.store_conversion import turn_on
from tchat.encryption.lock_file import EncryptionState
from tchat.engine.binding import Cancel
from tchat.engine.model import Model
from tchat.paths import user_paths
paths = user_paths()
paths.encryption.unlock(os.environ["TCHAT_PASSPHRASE"])
for _ in turn_on(paths, paths.encryption):
    pass
"""
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
    if not model.exists():
        write_tiny(model, context=4096)
    monkeypatch.setenv("TCHAT_MODEL", str(model))
    words = ByteSearch(time.time_ns())
    with closing(Model(model, cancel=Cancel())) as vocabulary:
        # What the first token is depends on what stands in front.
        words.add_tokens(vocabulary.tokenize(f" {words.stem}", special=False)[1:])
    return Stage(words, home, temporary, runtime, own, time.time())


@pytest.fixture
def locked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage.home.mkdir(mode=0o700)
    make_lock(user_paths())
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    return stage


def use(stage: Stage, rounds: int = 1) -> None:
    """Everything that words go into."""
    say = stage.words.canary
    stage("config", "set", "tools.allow", "write_file")
    for _ in range(rounds):
        stage("-s", say(), f"Repeat {say()}", *SHORT)
        stage("-c", f"{say()} {LONG}", *SHORT)
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


def type_lines(stage: Stage, *flags: str) -> None:
    """Type in a chat on lines; what was typed is kept for the next one."""
    word = stage.words.canary()
    with Terminal((*COMMAND, "--plain", *SHORT, *flags), folder=str(stage.user)) as terminal:
        terminal.send(f"{word}\r")
        terminal.until(word.split()[0])
        terminal.send("/exit\r")
        terminal.ended()


def type_on_screen(stage: Stage, *flags: str) -> None:
    """Send a prompt on the screen, search, leave a draft, and kill it."""
    say = stage.words.canary
    with Terminal((*COMMAND, *SHORT, *flags), folder=str(stage.user)) as terminal:
        terminal.until(PROMPT)
        terminal.send(f"{say()}\r")
        terminal.until("cut off")
        draft = say()
        terminal.send(draft)
        terminal.until(draft.split()[0])
        time.sleep(1.5)  # drafts are saved a moment later
        terminal.read()
        terminal.signal(signal.SIGKILL)


def turn_on(stage: Stage) -> None:
    """Encrypt the store in a process of its own."""
    make_lock(user_paths(), state=EncryptionState.TURNING_ON)
    finish_turning_on(stage)


def finish_turning_on(stage: Stage, seconds: float | None = None) -> None:
    """Go on; killed after so many seconds."""
    environ = {**os.environ, "TCHAT_PASSPHRASE": PASSPHRASE}
    with subprocess.Popen([sys.executable, "-c", TURN_ON], env=environ) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    assert seconds is not None or process.returncode == 0


def test_words_are_found_where_nothing_hides_them(stage: Stage) -> None:
    """The search itself: in a store in clear it finds them."""
    stage(f"{stage.words.canary()} {LONG}", *SHORT)
    # The index of snapshots has them as tokens.
    assert {each.path.name for each in stage.found()} >= {"sessions.db", "index.db"}


def test_no_word_of_a_locked_store_is_found(locked: Stage) -> None:
    use(locked)
    type_lines(locked)
    type_on_screen(locked)
    locked.killed(0.3, locked.words.canary(), *LONG_REPLY[1:])
    assert locked.found() == []
    # All of it is there, for who has the passphrase.
    assert locked.words.stem in locked("sessions", "export").out
    report = json.loads(locked("privacy", "--json").out)
    assert report["other"] == []
    kinds = {each["kind"]: each for each in report["stored"]}
    for name in ("sessions", "prompts", "tool-log", "undo", "snapshots"):
        assert kinds[name]["protection"] == "encrypted", name
    locked("privacy", "wipe", "--all", "--yes")
    assert not locked.home.exists()


def test_no_word_stays_in_clear_where_a_store_is_encrypted_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(stage)
    type_on_screen(stage)
    assert stage.found()
    turn_on(stage)
    assert stage.found() == []
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    assert stage.words.stem in stage("sessions", "export").out


def test_no_word_of_a_private_chat_is_found(stage: Stage) -> None:
    say = stage.words.canary
    stage("-n", "-s", say(), f"{say()} {LONG}", *SHORT)
    stage("-n", "-f", str(stage.file("notes.txt")), say(), *SHORT)
    stage("-n", say(), *SHORT, stdin=say().encode())
    stage("-n", "--plain", stdin=f"{say()}\n/system {say()}\n{say()}\n".encode())
    type_lines(stage, "-n")
    type_on_screen(stage, "-n")
    stage.killed(0.3, "-n", say(), *LONG_REPLY[1:])
    assert stage.found() == []


def test_a_running_process_maps_no_readable_file_with_words(locked: Stage) -> None:
    """What a locked process has open or mapped is encrypted too, deleted files included."""
    with Terminal((*COMMAND, *SHORT), folder=str(locked.user)) as terminal:
        terminal.until(PROMPT)
        terminal.send(f"{locked.words.canary()}\r")
        terminal.until("cut off")
        process = Path(f"/proc/{terminal.pid}")
        maps = (process / "maps").read_text().splitlines()
        files = {line.split(maxsplit=5)[5] for line in maps if "/" in line}
        files |= {str(each.readlink()) for each in (process / "fd").iterdir()}
        own = {Path(each) for each in files if str(locked.home) in each}
        assert own
        assert locked.found() == []
        assert not [each for each in files if each.endswith(" (deleted)")
                    and not each.startswith(("/dev/pts", "/memfd"))]  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_word_of_a_hundred_chats_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used in clear, encrypted with kills, used again with kills."""
    draw = random.Random(stage.words.seed)
    use(stage, rounds=5)
    make_lock(user_paths(), state=EncryptionState.TURNING_ON)
    for _ in range(10):
        finish_turning_on(stage, draw.uniform(0.2, 0.8))
    finish_turning_on(stage)
    assert stage.found() == []
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    use(stage, rounds=10)
    type_lines(stage)
    type_on_screen(stage)
    for _ in range(50):
        stage.killed(draw.uniform(0, 0.6), stage.words.canary(), *LONG_REPLY[1:])
    assert stage.found() == []
    assert len(json.loads(stage("sessions", "ls", "--json").out)) >= 100
