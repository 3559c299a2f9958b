"""What need not be read again: a session that is reopened, and a second question to a document."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.reopening import busy_core
from tests.benchmarks.rows import Row, child, first_byte

SENTENCE = "The lighthouse stands on a rock in the sea, and the keeper counts the ships. "


def rows() -> Iterator[Row]:
    """The engine alone, then whole processes; each against reading everything, in the same run."""
    found = child("tests.benchmarks.snapshots")
    share = found["reopened"] / found["read"]
    what = (
        f"reopen {found['tokens']:,.0f} tokens to the first new token ({found['read']:.1f} s read)"
    )
    yield Row(what, f"{100 * share:.1f} %", "<= 2 %", share <= 0.02)
    yield _document(busy=False)
    with busy_core():
        yield _document(busy=True)


def _document(*, busy: bool) -> Row:
    """The first byte of a second question about a document, in a fresh home."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "TCHAT_HOME": home}
        document = Path(home) / "document.txt"
        document.write_text(SENTENCE * 110)
        ask = [sys.executable, "-m", "tchat", "--max-tokens", "1", "-f", str(document)]
        warm = [sys.executable, "-m", "tchat", "-n", "--max-tokens", "1", "Hello"]
        first_byte(warm, env=environment)
        first = first_byte([*ask, "What is it about?"], env=environment, finish=True)
        second = first_byte([*ask, "Who counts the ships?"], env=environment, finish=True)
    share, reach = second / first, 0.12 if busy else 0.1
    where = "beside a busy core" if busy else "quiet"
    what = (
        f"second question about a document, {where}, first byte ({second:.2f} s of {first:.2f} s)"
    )
    return Row(what, f"{100 * share:.1f} %", f"<= {100 * reach:.0f} %", share <= reach)


def measure() -> dict[str, float]:
    """Seconds from the question to its first token: read, and restored in another engine."""
    from tchat.engine.engine import Engine
    from tchat.engine.events import TextDelta
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.snapshots.snapshots import Snapshots
    from tchat.engine.snapshots.store import SnapshotStore
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths
    from tchat.settings import Sampling

    paths = user_paths()
    model = resolve("starter", paths)
    template = read_metadata(model).chat_template
    chat = [ChatMessage("user", SENTENCE * 140)]

    def opened() -> Engine:
        store = SnapshotStore(paths.snapshots, paths.snapshot_key)
        snapshots = Snapshots(store, "benchmark", "starter", 1 << 32)
        engine = Engine(EngineOptions(path=model, template=template), snapshots=snapshots)
        engine.bind_session("benchmark")
        list(engine.load())
        return engine

    def first_token(engine: Engine) -> float:
        started = time.perf_counter()
        events = engine.generate(chat, Sampling(temp=0, max_tokens=4))
        next(event for event in events if isinstance(event, TextDelta))
        seconds = time.perf_counter() - started
        list(events)
        return seconds

    with opened() as engine:
        read = first_token(engine)
        engine.save()
        assert engine.loaded is not None
        tokens = len(engine.loaded.kv.tokens)
    reopened = []
    for _ in range(5):
        with opened() as engine:
            reopened.append(first_token(engine))
    return {"tokens": tokens, "read": read, "reopened": sorted(reopened)[2]}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TCHAT_HOME"] = folder
        print(json.dumps(measure()))
