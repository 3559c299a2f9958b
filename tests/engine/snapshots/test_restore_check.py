"""The check that restoring is exact: right on a busy machine, and repeated after a failure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.events import CacheRestored, Event, Notice
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots import restore_check
from tchat.engine.snapshots.store import SnapshotStore
from tchat.engine.threads import AdaptiveThreads
from tchat.errors import DoesNotFit, TchatError
from tests.engine.conftest import OpenEngine, cached_tokens, finished
from tests.engine.snapshots.conftest import LONG, WORDS, OpenSaved
from tests.engine.snapshots.test_snapshots import GREEDY, PLAIN, going_on

LONGER = [ChatMessage("user", WORDS * 40)]  # attention is divided among threads from 512 tokens on
WHOLE = ["tiny_model", "tiny_recurrent", "tiny_sliding"]


def verdict(store: SnapshotStore) -> bool | None:
    """Whether restoring is known to be exact."""
    known = store.index.known("key")
    return None if known is None else known.restores


def restored(events: list[Event]) -> int:
    return sum(event.tokens for event in events if isinstance(event, CacheRestored))


def notices(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Notice))


@pytest.mark.parametrize("name", WHOLE)
def test_the_check_passes_while_the_count_of_threads_changes(
    open_saved: OpenSaved,
    store: SnapshotStore,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    counts: Iterator[int] = cycle([2, 1])
    monkeypatch.setattr(AdaptiveThreads, "threads", lambda *_: next(counts))
    engine = open_saved(request.getfixturevalue(name), threads=2)
    finished(engine.generate(LONGER, GREEDY))
    engine.save()
    assert verdict(store) is True


def test_the_check_passes_where_the_cells_are_scattered(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore
) -> None:
    """Restored, they are not: logits differ as they do between two ways to read a prompt."""
    engine = open_saved(tiny_model, threads=2)
    finished(engine.generate(LONGER, GREEDY))
    loaded = engine.loaded
    assert loaded is not None
    tokens = list(loaded.kv.tokens)
    loaded.kv.clear()
    assert loaded.kv.set_parallel(0)
    assert loaded.kv.reserve(3 * len(tokens))
    assert all(loaded.kv.prefill([*tokens[:500], *tokens[:77]]))
    loaded.context.copy(0, 2)
    loaded.kv.truncate(500)
    assert all(loaded.kv.prefill(tokens[500:]))
    loaded.context.forget(2)
    engine.save()
    assert verdict(store) is True


@pytest.mark.parametrize("name", WHOLE)
def test_after_the_check_the_chat_goes_on_as_if_it_had_not_been(
    open_saved: OpenSaved, open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    model = request.getfixturevalue(name)
    saved, plain = open_saved(model), open_engine(model)
    end = finished(saved.generate(LONG, PLAIN))
    saved.save()
    finished(plain.generate(LONG, PLAIN))
    told = [finished(engine.generate(going_on(end), GREEDY)) for engine in (saved, plain)]
    assert told[0].text == told[1].text
    assert told[0].usage.prefilled == told[1].usage.prefilled


def test_a_check_is_repeated_before_it_is_believed_that_restoring_is_not_exact(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_check, "_distance", lambda *_: 1.0)
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    assert (verdict(store), store.size()) == (None, 0)
    monkeypatch.undo()
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() > 0
    assert verdict(store) is True


def test_where_restoring_is_not_exact_nothing_is_saved_and_a_notice_says_so_until_another_day(
    open_saved: OpenSaved,
    open_engine: OpenEngine,
    tiny_model: Path,
    store: SnapshotStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restore_check, "_distance", lambda *_: 0.123)
    right = finished(open_engine(tiny_model).generate(LONG, GREEDY)).text
    engine = open_saved(tiny_model)
    for _ in range(2):
        assert finished(engine.generate(LONG, GREEDY)).text == right
        engine.save()
    monkeypatch.undo()
    assert (verdict(store), store.size()) == (False, 0)
    again = open_saved(tiny_model)
    events = list(again.generate(LONG, GREEDY))
    assert restored(events) == 0
    assert "not saved: a restored state changes the logits by 12.3%" in notices(events)
    assert not notices(list(again.generate(LONG, GREEDY)))
    assert again.save() == 0
    tomorrow = time.time() + 90_000
    monkeypatch.setattr("tchat.engine.snapshots.index.time.time", lambda: tomorrow)
    later = open_saved(tiny_model)
    finished(later.generate(LONG, GREEDY))
    assert later.save() > 0
    assert verdict(store) is True


def test_another_version_of_tchat_checks_again(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.index.record_exactness("key", "Tiny", exact=False, reason="it differs")
    assert verdict(store) is False
    monkeypatch.setattr("tchat.engine.snapshots.index.__version__", "99")
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() > 0
    assert verdict(store) is True


@pytest.mark.parametrize("error", [TchatError("llama.cpp failed"), DoesNotFit("no memory")])
def test_a_check_that_fails_is_reported_and_the_chat_goes_on(
    open_saved: OpenSaved,
    open_engine: OpenEngine,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: TchatError,
) -> None:
    def fail(*_: object) -> None:
        raise error

    engine = open_saved(tiny_model)
    end = finished(engine.generate(LONG, PLAIN))
    monkeypatch.setattr(restore_check, "_logits_after", fail)
    engine.save()
    monkeypatch.undo()
    events = list(engine.generate(going_on(end), GREEDY))
    assert error.message in notices(events)
    plain = open_engine(tiny_model)
    finished(plain.generate(LONG, PLAIN))
    expected = finished(plain.generate(going_on(end), GREEDY))
    assert finished(events).text == expected.text


def test_a_stop_ends_the_check_and_it_is_made_another_time(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    held, real = cached_tokens(engine), restore_check._logits_after

    def stopped(*args: Any) -> Any:
        engine.cancel.set()
        return real(*args)

    monkeypatch.setattr(restore_check, "_logits_after", stopped)
    engine.save()
    monkeypatch.undo()
    assert (cached_tokens(engine), verdict(store)) == (held, None)
    engine.cancel.clear()
    engine.save()
    assert (cached_tokens(engine), verdict(store)) == (held, True)
