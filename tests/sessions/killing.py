"""ProcessLocks that are killed at random moments: ``python -m tests.sessions.killing``.

Arguments: the file, how many kills, a seed. Each writer is forked, tells through a pipe what the
store has confirmed, and dies by SIGKILL; then everything confirmed must be in the file. A process
of its own, because forking one with threads is not sound.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session, recover

MOST_STEPS = 24  # confirmed writes of one writer: two replies
LONGEST_DELAY = 0.002  # seconds after that, within the next write
PIECE = "some words 日本 🦊 "
PIECES = 10


def write_for_ever(path: Path, pipe: int) -> None:
    """Chat with oneself, confirming each step after the store has returned."""

    def confirm(*fact: object) -> None:
        os.write(pipe, json.dumps(fact).encode() + b"\n")

    with SessionStore(path) as store:
        session = new_session(store)
        parent = None
        while True:
            asked = store.add(session.id, Role.USER, PIECE, parent_id=parent)
            confirm("done", asked.id, PIECE)
            reply = store.add(
                session.id, Role.ASSISTANT, "", parent_id=asked.id, status=Status.STREAMING
            )
            parent = reply.id
            for count in range(1, PIECES + 1):
                store.journal(reply.id, PIECE * count)
                confirm("growing", reply.id, PIECE * count)
            store.finish(reply.id, status=Status.DONE, text=PIECE * PIECES)
            confirm("done", reply.id, PIECE * PIECES)


@dataclass
class Confirmed:
    """What one writer said before it died."""

    done: dict[int, str] = field(default_factory=dict)
    growing: dict[int, str] = field(default_factory=dict)


def kill_one(path: Path, steps: int, delay: float) -> Confirmed:
    """Let a writer live for so many confirmed writes, and ``delay`` seconds more."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_for_ever(path, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        before = list(islice(pipe, steps))
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        _, ending = os.waitpid(child, 0)
        assert os.WTERMSIG(ending) == signal.SIGKILL, "the writer failed before it was killed"
        return collect(chain(before, pipe))


def collect(lines: Iterator[str]) -> Confirmed:
    confirmed = Confirmed()
    for line in lines:
        kind, number, text = json.loads(line)
        getattr(confirmed, kind)[number] = text
    for number in confirmed.done:
        confirmed.growing.pop(number, None)
    return confirmed


def check(path: Path, confirmed: Confirmed) -> None:
    """Everything that was confirmed is there, and nothing is streaming any more."""
    with SessionStore(path) as store:
        assert store.notices == [], store.notices
        for number, text in confirmed.done.items():
            message = store.message(number)
            assert (message.text, message.status) == (text, Status.DONE)
        for number, text in confirmed.growing.items():
            message = store.message(number)
            assert message.text.startswith(text)
            # Killed between the commit of its end and the confirmation, it is done.
            assert message.status in {Status.INTERRUPTED, Status.DONE}
        for message in store.recovered:
            assert message.status == Status.INTERRUPTED
            assert message.text + PIECE * (PIECES - message.text.count(PIECE)) == PIECE * PIECES
        assert recover(store) == []
    locks = {file.name for file in path.with_name(path.name + ".writers").iterdir()}
    assert locks == {"gate", "seen"}, locks


def run(path: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill ``kills`` writers, checking after each; how much they had confirmed."""
    chance = random.Random(seed)
    done = growing = 0
    for _ in range(kills):
        steps, delay = chance.randint(0, MOST_STEPS), chance.uniform(0, LONGEST_DELAY)
        confirmed = kill_one(path, steps, delay)
        check(path, confirmed)
        done += len(confirmed.done)
        growing += len(confirmed.growing)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (stored,) = connection.execute(
            "SELECT count(*) FROM messages WHERE status = 'done'"
        ).fetchone()
    return {"done": done, "growing": growing, "stored": stored}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
