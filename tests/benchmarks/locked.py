"""What an encrypted store costs: each figure against the same in clear, taken in turn.

The journal of the clear database is a rollback journal or a write-ahead log, by Python's SQLite;
the encrypted one has SQLCipher's, a log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tchat.encryption.encryption import Encryption
from tchat.engine.engine import Engine
from tchat.engine.events import TextDelta
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.engine.snapshots.store import SnapshotStore
from tchat.models.metadata import read_metadata
from tchat.models.resolve import resolve
from tchat.paths import Paths
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tests.benchmarks.rows import Row, alternated, ratio
from tests.encryption.locks import PASSPHRASE, make_lock

REACH, FIRST_REACH = 1.15, 2.0
FLUSHES, MESSAGES, ROUNDS = 50, 10_000, 9
SENTENCE = "The lighthouse stands on a rock in the sea, and the keeper counts the ships. "
NEEDLE = "foghorn"

Run = Callable[[], float]


def rows() -> Iterator[Row]:
    """A reply that is written, a search, and a chat that is reopened."""
    with ExitStack() as resources:
        clear, locked = (
            Path(resources.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)
        )
        places = (Paths(clear, clear / "cache"), Paths(locked, locked / "cache"))
        encryption = make_lock(places[1])
        both = [(places[0], None), (places[1], encryption)]
        yield from _written(both)
        for paths, key in both:
            _fill(paths, key)
        yield from _searched(both)
        yield from _reopened(both)


Both = Sequence[tuple[Paths, Encryption | None]]


def _row(what: str, runs: Sequence[Run], rounds: int = ROUNDS, reach: float = REACH) -> Row:
    clear, locked = alternated(rounds, *runs)
    share = ratio(locked, clear)
    taken = f"{1000 * min(locked):,.1f} ms against {1000 * min(clear):,.1f}"
    return Row(f"{what}, locked against clear ({taken})", f"{share:.2f}x", f"<= {reach}x",
               share <= reach)  # fmt: skip


def _written(both: Both) -> Iterator[Row]:
    def writer(store: SessionStore) -> Run:
        def write() -> float:
            started = time.perf_counter()
            session, asked = store.begin("Tell me about lighthouses")
            reply = store.add(
                session.id, Role.ASSISTANT, "", parent_id=asked.id, status=Status.STREAMING
            )
            for count in range(1, FLUSHES + 1):
                store.journal(reply.id, SENTENCE * count)
            store.finish(reply.id, status=Status.DONE, text=SENTENCE * FLUSHES)
            return time.perf_counter() - started

        return write

    with ExitStack() as resources:
        stores = [
            resources.enter_context(SessionStore(paths.sessions_db, key)) for paths, key in both
        ]
        yield _row(f"write a reply of {FLUSHES} flushes", [writer(store) for store in stores])


def _fill(paths: Paths, encryption: Encryption | None) -> None:
    with SessionStore(paths.sessions_db, encryption) as store:
        store._database._connection.execute("PRAGMA synchronous = OFF")
        for chat in range(MESSAGES // 100):
            session, message = store.begin(f"{SENTENCE * 5} chat {chat}")
            for number in range(99):
                text = f"{SENTENCE * 8} {number} of {chat}"
                message = store.add(session.id, Role.USER, text, parent_id=message.id)
        store.add(session.id, Role.USER, f"a {NEEDLE}", parent_id=message.id)


def _searched(both: Both) -> Iterator[Row]:
    def timed(store: SessionStore) -> float:
        started = time.perf_counter()
        assert len(store.search(NEEDLE)) == 1
        return time.perf_counter() - started

    def again(store: SessionStore) -> Run:
        return lambda: timed(store)

    def first(paths: Paths, encryption: Encryption | None) -> Run:
        def search() -> float:
            started = time.perf_counter()
            with SessionStore(paths.sessions_db, encryption) as store:
                timed(store)
            return time.perf_counter() - started

        return search

    def command(paths: Paths, encryption: Encryption | None) -> Run:
        return lambda: _command(paths, encryption)

    what = f"search {MESSAGES:,} messages"
    # Once a process 8 MB are decrypted, and kept so; in clear they are checked at every opening.
    yield _row(f"open, and {what}", [first(*place) for place in both], reach=FIRST_REACH)
    with ExitStack() as resources:
        stores = [
            resources.enter_context(SessionStore(paths.sessions_db, key)) for paths, key in both
        ]
        yield _row(f"{what}, again", [again(store) for store in stores])
    yield _row(f"{what}, whole command", [command(*place) for place in both])


def _command(paths: Paths, encryption: Encryption | None) -> float:
    """Seconds of ``tchat sessions search``; the passphrase of this lock is cheap to check."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode())
    os.close(writing)
    unlock = ["--unlock-fd", str(reading)] if encryption else []
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tchat", "sessions", "search", NEEDLE, *unlock],
        env={**os.environ, "TCHAT_HOME": str(paths.config)},
        stdout=subprocess.DEVNULL,
        check=True,
        pass_fds=[reading],
    )
    seconds = time.perf_counter() - started
    os.close(reading)
    return seconds


def _reopened(both: Both) -> Iterator[Row]:
    """The first token of a chat of 2,400 tokens whose snapshot is on the disk."""
    model = resolve("starter", both[0][0])
    template = read_metadata(model).chat_template
    chat = [ChatMessage("user", SENTENCE * 140)]

    def opened(paths: Paths, encryption: Encryption | None) -> Engine:
        store = SnapshotStore(paths.snapshots, paths.snapshot_key, encryption)
        snapshots = Snapshots(store, "benchmark", "starter", 1 << 32)
        engine = Engine(EngineOptions(path=model, template=template), snapshots=snapshots)
        engine.bind_session("benchmark")
        list(engine.load())
        return engine

    def first_token(engine: Engine) -> float:
        from tchat.settings import Sampling

        started = time.perf_counter()
        events = engine.generate(chat, Sampling(temp=0, max_tokens=4))
        next(event for event in events if isinstance(event, TextDelta))
        seconds = time.perf_counter() - started
        list(events)
        return seconds

    def reopen(paths: Paths, encryption: Encryption | None) -> Run:
        def run() -> float:
            with opened(paths, encryption) as engine:
                return first_token(engine)

        return run

    for place in both:
        with opened(*place) as engine:
            first_token(engine)
            engine.save()
    yield _row("reopen 2,400 tokens to the first token", [reopen(*place) for place in both], 5)


def main() -> None:
    for row in rows():
        print(row.what, row.figure, row.reach, sep="   ", flush=True)


if __name__ == "__main__":
    main()
