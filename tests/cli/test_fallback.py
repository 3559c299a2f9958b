"""The disk fails under the command: the reply is printed, the failure told, nothing doubled."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.errors import StorageError
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, LONG_REPLY

LONG = "with some words " * 300  # more than is free on any page of the file, little of the context


def limit(home: Path) -> Callable[[], None]:
    """Lets no file of a process grow beyond the size of the sessions."""
    size = (home / "sessions.db").stat().st_size
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def full(tiny_home: Path) -> Path:
    """A home with one session, on a disk that has no room for more than that."""
    with SessionStore(tiny_home / "sessions.db") as store:
        store.begin("there before")
    return tiny_home


def ended(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit(home),
    )


def told(stderr: str) -> list[str]:
    """The lines that are not about the length of the reply."""
    return [line for line in stderr.splitlines() if "cut off" not in line]


def prompts(home: Path) -> list[list[str]]:
    """The messages of each session, the one used first first."""
    with SessionStore(home / "sessions.db") as store:
        return [
            [message.text for message in store.branch(session.id)]
            for session in reversed(store.sessions())
        ]


@pytest.mark.parametrize("flags", [(), ("--json",), ("--no-stream",), ("-N", "2")])
def test_a_reply_that_cannot_be_stored_is_printed_and_the_failure_told(
    full: Path, flags: tuple[str, ...]
) -> None:
    ran = ended(full, LONG, "--max-tokens", "4", "--seed", "1", *flags)
    assert ran.returncode == 6
    assert ran.stdout
    (line,) = told(ran.stderr)
    assert "the last messages are not stored" in line
    assert "sessions.db" in line
    assert prompts(full) == [["there before"]]


def test_going_on_in_a_session_on_a_full_disk_keeps_the_session(full: Path) -> None:
    ran = ended(full, "-c", LONG, "--max-tokens", "4")
    assert (ran.returncode, len(told(ran.stderr))) == (6, 1)
    assert prompts(full) == [["there before"]]


@pytest.mark.usefixtures("endless_home")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_hide_what_is_not_stored(full: Path, number: int) -> None:
    with subprocess.Popen(
        [*COMMAND, LONG, *LONG_REPLY[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        preexec_fn=limit(full),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        process.stdout.read(3)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 6
    (line,) = told(err.decode())
    assert "not stored" in line


def test_a_signal_does_not_hide_a_failure_of_the_last_write() -> None:
    cancel = Cancel()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not cancel.is_set():
            pass
        raise StorageError("no space left")

    with pytest.raises(StorageError, match="no space left"):
        run_on_engine_thread(work, cancel)


def deleted(home: Path) -> None:
    (home / "sessions.db").unlink()


def garbage(home: Path) -> None:
    deleted(home)
    (home / "sessions.db").write_text("notes\n" * 5000)


def overwritten(home: Path) -> None:
    (home / "sessions.db").write_text("notes\n" * 50_000)


def folder_deleted(home: Path) -> None:
    for name in ("sessions.db", "sessions.db.writers"):
        path = home / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def sessions_deleted(home: Path) -> None:
    with SessionStore(home / "sessions.db") as store:
        for session in store.sessions():
            store.delete(session.id)


def say(process: subprocess.Popen[str], text: str) -> None:
    """Send a line, and wait until its reply is printed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text + "\n/version\n")
    process.stdin.flush()
    until(process.stderr, "tchat ")


def until(stream: IO[str] | None, begin: str) -> None:
    assert stream is not None
    SEEN.clear()
    while not (line := stream.readline()).startswith(begin) or "sessions" in line:
        assert line, "the chat ended"
        SEEN.append(line)


SEEN: list[str] = []


@pytest.mark.parametrize(
    ("harm", "history"),
    [
        (deleted, True),
        (garbage, True),
        (folder_deleted, True),
        (overwritten, False),
        (sessions_deleted, False),
    ],
)
def test_a_chat_outlives_its_file(
    tiny_home: Path, harm: Callable[[Path], None], history: bool
) -> None:
    with subprocess.Popen(
        [*COMMAND, "--plain", "--max-tokens", "4"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        say(process, "one")
        harm(tiny_home)
        say(process, "two")
        once = told("".join(SEEN))
        say(process, "three")
        again = told("".join(SEEN))
        _, rest = process.communicate(timeout=30)
        assert process.returncode == 0
    assert 1 <= len(once) <= 3, once
    assert again == [], again
    assert told(rest) == []
    (session,) = prompts(tiny_home)
    assert session[::2] == (["one", "two", "three"] if history else ["two", "three"])


def test_a_chat_on_a_full_disk_tells_at_its_end_what_is_lost(full: Path) -> None:
    lines = f"{LONG}\nagain\nand again\n"
    ran = subprocess.run(
        [*COMMAND, "--plain", "--max-tokens", "4"],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit(full),
    )
    assert ran.returncode == 6
    first, last = told(ran.stderr)
    assert "continues in memory" in first
    assert "not stored" in last
    assert prompts(full) == [["there before"]]
