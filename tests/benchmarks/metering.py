"""A draft in a long session: what counting it and telling its prefill cost takes at each change."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tchat.chat.chat import Chat
from tchat.paths import user_paths
from tchat.sessions.records import Message, Role, Session, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.benchmarks.rows import Row, child

SHORT, LONG = 300, 10_000  # messages
DRAFTS = 40
TEXT = "The lighthouse stands on a rock in the sea, and the keeper counts the ships that pass."


def rows() -> Iterator[Row]:
    """Measured in one process of their own, with the starter model."""
    found = child("tests.benchmarks.metering")
    long = found["long"]
    what = f"count a draft and tell its cost, {LONG:,} messages (the first {found['first']:.0f} ms)"
    yield Row(what, f"{long:.1f} ms", "<= 30 ms", long <= 30)
    share = long / found["short"]
    yield Row(f"the same, against {SHORT} messages", f"{share:.2f}", "<= 1.5", share <= 1.5)


def measure() -> dict[str, float]:
    """Milliseconds for a draft, the median of many; and for the first."""
    with tempfile.TemporaryDirectory() as folder, SessionStore(Path(folder, "s.db")) as store:
        settings, paths = replace(Settings(), model="starter"), user_paths()
        sessions = [_session(store, count) for count in (SHORT, LONG)]
        first = Chat(settings, paths, store)
        list(first.load_model())
        model = first.release_model()
        found: list[list[float]] = []
        for session in sessions:
            chat = Chat(settings, paths, store, session=session, model=model)
            found.append([_metered(chat, TEXT[: 1 + number]) for number in range(DRAFTS)])
            model = chat.release_model()
        if model is not None:
            model.engine.close()
    short, long = found
    return {
        "short": statistics.median(short[1:]),
        "long": statistics.median(long[1:]),
        "first": long[0],
    }


def _metered(chat: Chat, draft: str) -> float:
    started = time.perf_counter()
    told = chat.count_draft(draft)
    cost = chat.prefill_cost(draft)
    took = 1000 * (time.perf_counter() - started)
    assert told is not None
    assert cost is not None
    return took


def _session(store: SessionStore, count: int) -> Session:
    """A session of so many messages, stored as an import stores them."""
    now = time.time()
    session = Session(
        id="",
        title="Long",
        system="Be brief.",
        created_at=now,
        updated_at=now,
        settings={},
        messages=0,
    )
    messages = (
        Message(
            id=number,
            session_id="",
            parent_id=number - 1 or None,
            role=Role.USER if number % 2 else Role.ASSISTANT,
            text=f"{number}: {TEXT}",
            reasoning="",
            status=Status.DONE,
            created_at=now,
            model="starter",
            model_sha256="",
            quantization="",
            template_hash="",
            sampling={},
            usage={},
            timings={},
            finish_reason="stop",
        )
        for number in range(1, count + 1)
    )
    return store.import_sessions([(session, ((message, True) for message in messages))])[0].session


if __name__ == "__main__":
    print(json.dumps(measure()))
