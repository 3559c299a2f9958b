"""Saving during a prefill, what a stop leaves, and what never reaches the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import PromptProgress, TextDelta
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots import snapshots as module
from tchat.engine.snapshots import store as snapshot_files
from tchat.engine.snapshots.index import unpack_tokens
from tchat.engine.snapshots.store import SegmentFiles, SnapshotStore
from tchat.paths import Paths
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished
from tests.engine.snapshots.conftest import LONG, WORDS, OpenSaved

GREEDY = Sampling(temp=0, max_tokens=12)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving costs nothing, and pieces are small."""
    monkeypatch.setattr(module.SaveProgress, "affordable", True)
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 128)


def read_until(engine: Engine, messages: list[ChatMessage], tokens: int) -> None:
    """Read so many tokens of a prompt, then leave it as a stop does."""
    events = engine.generate(messages, GREEDY)
    for event in events:
        if isinstance(event, PromptProgress) and event.done >= tokens:
            break
    events.close()  # type: ignore[attr-defined]  # it is a generator


def texts(store: SnapshotStore, engine: Engine) -> str:
    """The text of all tokens on disk."""
    rows = store.index._cache.run(
        lambda database: database.execute("SELECT tokens FROM segments").fetchall()
    )
    loaded = engine.loaded
    assert loaded is not None
    return "".join(
        loaded.model.piece(token).decode("utf-8", "replace")
        for (tokens,) in rows
        for token in unpack_tokens(tokens)
    )


def test_a_prompt_is_saved_while_it_is_read(
    open_saved: OpenSaved, open_engine: OpenEngine, tiny_model: Path, free: None
) -> None:
    engine = open_saved(tiny_model, batch_size=128)
    read_until(engine, LONG, 512)  # and nothing is saved at the end
    other = open_saved(tiny_model, session="two")
    end = finished(other.generate(LONG, GREEDY))
    assert end.usage.restored == 512
    assert end.text == finished(open_engine(tiny_model).generate(LONG, GREEDY)).text


def test_what_is_left_at_the_end_is_less_than_two_pieces(
    open_saved: OpenSaved, tiny_model: Path, free: None
) -> None:
    engine = open_saved(tiny_model, batch_size=128)
    end = finished(engine.generate(LONG, GREEDY))
    assert end.usage.prefilled > 5 * 128
    assert 0 < engine.save() < 2 * 128


def test_the_check_while_a_prompt_is_read_changes_nothing(
    open_saved: OpenSaved, open_engine: OpenEngine, tiny_model: Path, free: None
) -> None:
    """Also where the batch ends behind the piece that is saved."""
    for batch_size in (96, 128, 200):
        plain = finished(open_engine(tiny_model, batch_size=batch_size).generate(LONG, GREEDY))
        engine = open_saved(tiny_model, batch_size=batch_size, key=str(batch_size))
        end = finished(engine.generate(LONG, GREEDY))
        assert (end.text, end.usage.prefilled) == (plain.text, plain.usage.prefilled)
        assert engine.snapshots is not None
        assert engine.snapshots._read_record().restores is True  # type: ignore[union-attr]


def test_a_prompt_is_read_again_where_the_check_lost_it(
    open_saved: OpenSaved,
    open_engine: OpenEngine,
    tiny_model: Path,
    free: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tchat.engine.snapshots.restore_check._distance", lambda *_: 1.0)
    plain = finished(open_engine(tiny_model, batch_size=128).generate(LONG, GREEDY))
    end = finished(open_saved(tiny_model, batch_size=128).generate(LONG, GREEDY))
    assert end.text == plain.text


def test_a_disk_that_is_slow_is_left_for_the_end(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 128)
    monkeypatch.setattr(module, "FIRST_ESTIMATE", 3600.0)
    engine = open_saved(tiny_model, batch_size=128)
    slow = partial(module.SaveProgress, _last=3600.0)
    progress = slow()
    assert not progress.affordable
    monkeypatch.setattr(module, "SaveProgress", slow)
    finished(engine.generate(LONG, GREEDY))
    assert store.size() == 0
    assert engine.save() == cached_tokens(engine)


def test_a_stop_while_a_piece_is_saved_ends_that_too(
    open_saved: OpenSaved,
    tiny_model: Path,
    paths: Paths,
    free: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tchat.engine.snapshots.store.CHUNK", 1024)
    engine = open_saved(tiny_model, batch_size=128)
    real = snapshot_files._write_all

    def write(*args: Any) -> None:
        engine.cancel.set()
        real(*args)

    monkeypatch.setattr(snapshot_files, "_write_all", write)
    assert finished(engine.generate(LONG, GREEDY)).text == ""
    assert not [path for path in paths.snapshots.iterdir() if path.suffix in (".kv", ".part")]


def test_a_private_chat_is_not_saved_while_it_is_read(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, free: None
) -> None:
    engine = open_saved(tiny_model, session="", batch_size=128)
    finished(engine.generate(LONG, GREEDY))
    assert not paths.snapshots.exists()


def test_a_full_disk_while_a_prompt_is_read_is_harmless(
    open_saved: OpenSaved, tiny_model: Path, free: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tchat.engine.snapshots.store.os.write", full)
    engine = open_saved(tiny_model, batch_size=128)
    assert finished(engine.generate(LONG, GREEDY)).usage.completion > 0


SECRET = [ChatMessage("user", "secret password " * 120)]


@pytest.mark.parametrize("then", ["one", "two"])
def test_what_another_chat_left_in_the_cache_is_not_saved_for_this_one(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, then: str
) -> None:
    """A private chat, or a deleted message: the next prompt was stopped before it was read."""
    engine = open_saved(tiny_model, session="" if then == "two" else "one")
    finished(engine.generate(SECRET, GREEDY))
    engine.unbind_session("one")
    engine.bind_session(then)
    stopped = engine.generate(LONG, GREEDY)
    engine.cancel.set()
    assert finished(stopped).text == ""
    engine.cancel.clear()
    engine.save()
    assert "secret" not in texts(store, engine)
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() > 0
    assert "secret" not in texts(store, engine)


def at_every_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], step: str) -> None:
    """Do something once, in the middle of saving."""
    done: Iterator[Callable[[], None]] = iter([act])
    real = getattr(SegmentFiles, step)

    def wrapped(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        for each in done:
            each()
            break
        return result

    monkeypatch.setattr(SegmentFiles, step, wrapped)


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent"])
@pytest.mark.parametrize("step", ["write", "publish"])
@pytest.mark.parametrize("late", [True, False])
def test_what_is_deleted_while_it_is_saved_leaves_nothing_on_disk(
    open_saved: OpenSaved,
    request: pytest.FixtureRequest,
    store: SnapshotStore,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    late: bool,
) -> None:
    engine = open_saved(request.getfixturevalue(name))
    finished(engine.generate(SECRET, GREEDY))

    def delete() -> None:
        engine.unbind_session("one")
        if not late and step == "write":  # within `publish`, the index is held
            store.forget(["one"])

    at_every_step(monkeypatch, delete, step)
    engine.save()
    if late:
        store.forget(["one"])
    assert store.size() == 0
    assert not [path for path in paths.snapshots.iterdir() if path.suffix in (".kv", ".part")]
    assert engine.save() == 0


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent"])
def test_a_stop_within_a_file_leaves_no_half_of_it(
    open_saved: OpenSaved,
    request: pytest.FixtureRequest,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("tchat.engine.snapshots.store.CHUNK", 1024)
    engine = open_saved(request.getfixturevalue(name))
    finished(engine.generate(LONG, GREEDY))
    asked = 0

    def should_continue() -> bool:
        nonlocal asked
        asked += 1
        return asked < 4

    assert engine.save(should_continue) == 0
    assert asked == 4
    assert not [path for path in paths.snapshots.iterdir() if path.suffix in (".kv", ".part")]
    assert engine.save() == cached_tokens(engine)


def test_a_reply_is_streamed_as_ever_while_its_prompt_is_saved(
    open_saved: OpenSaved, tiny_model: Path, free: None
) -> None:
    engine = open_saved(tiny_model, batch_size=128)
    events = list(engine.generate([ChatMessage("user", WORDS * 20)], GREEDY))
    reads = [event.done for event in events if isinstance(event, PromptProgress)]
    assert reads == sorted(reads)
    assert any(isinstance(event, TextDelta) for event in events)
