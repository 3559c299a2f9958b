"""A process that reads and saves: ``python -m tests.engine.snapshots.saving MODEL NAME ROUNDS``.

It prints a line before each round.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path

from tchat.engine.engine import Engine
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots import snapshots as module
from tchat.engine.snapshots.store import SnapshotStore
from tchat.models.metadata import read_metadata
from tchat.paths import user_paths
from tchat.settings import Sampling

SHORT = Sampling(temp=0, max_tokens=4)
CHATS = 5


def chat(number: int) -> list[ChatMessage]:
    """One of a few chats, each of 800 tokens; they share the first half."""
    return [ChatMessage("user", "the be to of and in that have " * 50 + f"{number} you do " * 100)]


def open_engine(path: Path, session: str) -> Engine:
    """An engine that saves much and often, with room for some of it."""
    paths = user_paths()
    store = SnapshotStore(paths.snapshots, paths.snapshot_key)
    snapshots = module.Snapshots(store, "key", "Tiny", 1 << 20)
    template = read_metadata(path).chat_template
    engine = Engine(EngineOptions(path=path, template=template, threads=1), snapshots=snapshots)
    engine.bind_session(session)
    return engine


def main(path: Path, name: str, rounds: int) -> None:
    """Read, save, forget."""
    module.SEGMENT_TOKENS = 64
    for number in range(rounds):
        print(number, flush=True)
        engine = open_engine(path, f"{name}-{number % CHATS}")
        deque(engine.generate(chat(number % CHATS), SHORT), maxlen=0)
        engine.save()
        engine.close()
        if number % 3 == 2:
            paths = user_paths()
            store = SnapshotStore(paths.snapshots, paths.snapshot_key)
            store.forget([f"{name}-{number % CHATS}"])
            store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
