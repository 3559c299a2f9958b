"""A command killed while it writes: what it had printed is stored, but for the last moment."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.sanitize import printable
from tchat.sessions.records import Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, LONG_REPLY

LAG = 1.0  # seconds of a reply that may be lost on a loaded machine; about 0.2 on a quiet one


def killed_after(seconds: float) -> list[tuple[float, int]]:
    """Kill a command so long after its first byte; how many bytes it had printed, and when."""
    arrived: list[tuple[float, int]] = []
    with subprocess.Popen(
        [*COMMAND, *LONG_REPLY],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        count = 0
        end = float("inf")
        while time.monotonic() < end and (data := os.read(process.stdout.fileno(), 4096)):
            count += len(data)
            arrived.append((time.monotonic(), count))
            end = min(end, time.monotonic() + seconds)
        process.kill()
    return arrived


def survives(home: Path, seconds: float) -> None:
    arrived = killed_after(seconds)
    killed = arrived[-1][0]
    owed = max((count for at, count in arrived if at < killed - LAG), default=0)
    with SessionStore(home / "sessions.db") as store:
        session = store.latest()
        assert session is not None
        question, reply = store.branch(session.id)
    assert question.text == "write"
    assert reply.status is Status.INTERRUPTED
    assert len(printable(reply.text).encode()) >= owed - 8  # a character may be cut


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_command_leaves_its_reply(
    endless_home: Path, seed: int, record: Callable[[str, int], None]
) -> None:
    survives(endless_home, 1.2 + random.Random(seed).random())
    record("kills", 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_killed_commands_leave_their_replies(
    endless_home: Path, record: Callable[[str, int], None]
) -> None:
    draw = random.Random(7)
    for _ in range(100):
        survives(endless_home, draw.uniform(0.0, 2.0))
        record("kills", 1)
