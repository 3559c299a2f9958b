"""A hundred kills of a worker at random moments; needs a build with the RPC backend.

After each, the command or the chat has said one line, the worker is started again, and the chat
goes on. See `tests.engine.rpc.test_workers` for the build.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.engine.rpc.workers import require_rpc
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, CUT_OFF, LONG_REPLY
from tests.engine.rpc.worker_process import Worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

ROUNDS = 20  # at each of five moments
SESSION = 5  # rounds of one session
PATIENCE = 60.0  # seconds for a line
FLAGS = (*LONG_REPLY[1:], "--ctx-size", "2048", "--temp", "0", "--max-tokens", "24")
DOCUMENT = "The fox and the hen walked on. " * 80


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    require_rpc()
    started = [Worker(), Worker()]
    yield started
    for each in started:
        each.end()


class RunningChat:
    """The command, with its lines on standard error as they come."""

    def __init__(self, workers: list[Worker], *arguments: str) -> None:
        endpoints = ",".join(each.endpoint for each in workers)
        self.process = subprocess.Popen(
            [*COMMAND, "--rpc", endpoints, *FLAGS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        if "--plain" not in arguments:
            self.process.stdin.close()
        self.has_written = threading.Event()
        self._out, self._lines, self._more = bytearray(), list[str](), threading.Condition()
        self._readers = [threading.Thread(target=each) for each in (self._read, self._listen)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            while data := stream.read1():  # type: ignore[attr-defined]
                self._out += data
                self.has_written.set()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                with self._more:
                    self._lines.append(line.decode())
                    self._more.notify()

    def say(self, prompt: str) -> None:
        """Send a prompt to a chat on lines."""
        self.has_written.clear()
        assert self.process.stdin is not None
        self.process.stdin.write(f"{prompt}\n".encode())
        self.process.stdin.flush()

    def next_line(self) -> str:
        """The line that ends a turn: each reply is cut off, or fails."""
        with self._more:
            assert self._more.wait_for(lambda: self._lines, PATIENCE), "the turn does not end"
            return self._lines.pop(0)

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it wrote; there are no more lines."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        assert self._lines == []
        return code, self._out.decode()


def is_told(line: str, victim: Worker) -> bool:
    """Whether a line is of a failure; one of a worker names it and says what to do."""
    if line == CUT_OFF:
        return False
    assert victim.endpoint in line
    assert "; " in line
    return True


def messages(home: Path) -> list[Message]:
    """Those of the newest session."""
    with SessionStore(home / "sessions.db") as store:
        return store.branch(store.sessions(1)[0].id)


def done(stored: list[Message]) -> list[tuple[int, str]]:
    """The prompts, and the replies that came to their end."""
    whole = (Role.USER, Status.DONE)
    return [(each.id, each.text) for each in stored if each.role in whole or each.status in whole]


def seconds_to_text(workers: list[Worker], prompt: str) -> float:
    """From the start of the command to the first text."""
    started = time.monotonic()
    chat = RunningChat(workers, prompt)
    assert chat.has_written.wait(PATIENCE)
    seconds = time.monotonic() - started
    assert chat.next_line() == CUT_OFF
    assert chat.end()[0] == 0
    return seconds


@pytest.mark.parametrize("moment", ["loading", "prefill", "decode"])
def test_a_command_whose_worker_is_killed_says_one_line_and_its_chat_goes_on(
    workers: list[Worker], home: Path, record: Callable[[str, int], None], moment: str
) -> None:
    chance = random.Random(moment)
    short = seconds_to_text(workers, "Hi")
    long = seconds_to_text(workers, DOCUMENT) if moment == "prefill" else 0.0
    failed = 0
    for number in range(ROUNDS):
        goes_on = ("-c",) if number % SESSION else ()
        before = done(messages(home)) if goes_on else []
        victim, prompt = chance.choice(workers), DOCUMENT if moment == "prefill" else "Say more"
        chat = RunningChat(workers, *goes_on, prompt)
        if moment == "loading":
            time.sleep(chance.uniform(0, short))
        elif moment == "prefill":
            time.sleep(chance.uniform(short, long))
        else:
            assert chat.has_written.wait(PATIENCE)
            time.sleep(chance.uniform(0, 0.6))
        victim.end()
        has_failed = is_told(chat.next_line(), victim)
        code, text = chat.end()
        assert code == (5 if has_failed else 0)
        stored = messages(home) if goes_on or text else []
        if text:
            assert stored[-1].text.strip() == text.strip()
            assert stored[-1].status is (Status.INTERRUPTED if has_failed else Status.DONE)
        assert done(stored)[: len(before)] == before
        failed += has_failed
        victim.start()
        again = RunningChat(workers, *(("-c",) if stored else ()), "Go on")
        assert again.next_line() == CUT_OFF
        assert again.end()[0] == 0
        assert done(messages(home))[: len(before)] == before
    record("kills of a worker", ROUNDS)
    assert failed > ROUNDS // 2  # else it comes too late


@pytest.mark.parametrize("moment", ["idle", "between"])
def test_a_chat_whose_worker_is_killed_lives_on(
    workers: list[Worker], home: Path, record: Callable[[str, int], None], moment: str
) -> None:
    chance = random.Random(moment)
    chat = RunningChat(workers, "--plain")
    chat.say("Say hi")
    assert chat.next_line() == CUT_OFF
    for number in range(ROUNDS):
        before, victim = done(messages(home)), chance.choice(workers)
        time.sleep(chance.uniform(0, 1 if moment == "idle" else 0.01))
        victim.end()
        chat.say("Say more")
        assert is_told(chat.next_line(), victim)
        victim.start()
        if number % SESSION == 0:
            chat.say("/new")
            assert chat.next_line() == "New session.\n"
        chat.say("Go on")
        assert chat.next_line() == CUT_OFF
        assert number % SESSION == 0 or done(messages(home))[: len(before)] == before
    assert chat.end()[0] == 0
    before = done(messages(home))
    again = RunningChat(workers, "-c", "Go on")
    assert again.next_line() == CUT_OFF
    assert again.end()[0] == 0
    assert done(messages(home))[: len(before)] == before
    record("kills of a worker", ROUNDS)
