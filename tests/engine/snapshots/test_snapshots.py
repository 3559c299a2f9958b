"""One engine restores what another prefilled and saved, with the same reply."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import CacheRestored, Event, Finished
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots import snapshots as module
from tchat.engine.snapshots.store import SnapshotStore
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished
from tests.engine.snapshots.conftest import LONG, WORDS, OpenSaved

GREEDY = Sampling(temp=0, max_tokens=12)
PLAIN = Sampling(temp=0, max_tokens=12, logit_bias=(" the=1000",))  # ends on a whole word
ALL = ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"]
DIVISIBLE = ["tiny_model", "tiny_spm"]


def restored(events: list[Event]) -> int:
    """Tokens that came from disk, by the event and by the usage at the end."""
    told = [event.tokens for event in events if isinstance(event, CacheRestored)]
    assert finished(events).usage.restored == sum(told)
    return sum(told)


def going_on(end: Finished, text: str = "And then?") -> list[ChatMessage]:
    """The chat after the first reply, with another question."""
    return [*LONG, ChatMessage("assistant", end.text), ChatMessage("user", text)]


def files(paths: Any) -> list[Path]:
    return sorted(paths.snapshots.glob("*.kv"))


@pytest.mark.parametrize("name", ALL)
def test_a_chat_that_is_reopened_is_not_read_again(
    open_saved: OpenSaved, open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    model = request.getfixturevalue(name)
    first = open_saved(model)
    end = finished(first.generate(LONG, PLAIN))
    held = cached_tokens(first)
    assert first.save() == held
    assert cached_tokens(first) == held
    chat = going_on(end)
    reopened = list(open_saved(model).generate(chat, GREEDY))
    never_left = open_engine(model)
    finished(never_left.generate(LONG, PLAIN))
    expected = finished(never_left.generate(chat, GREEDY))
    assert restored(reopened) == expected.usage.reused == held
    assert finished(reopened).usage.prefilled == expected.usage.prefilled
    assert finished(reopened).text == expected.text
    # The engine that saved goes on as if nothing had been.
    assert finished(first.generate(chat, GREEDY)).text == expected.text


@pytest.mark.parametrize("name", DIVISIBLE)
def test_another_session_shares_the_beginning(
    open_saved: OpenSaved, open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    model = request.getfixturevalue(name)
    one = open_saved(model)
    finished(one.generate([ChatMessage("user", WORDS * 20 + "one?")], GREEDY))
    one.save()
    other = [ChatMessage("user", WORDS * 20 + "the other?")]
    engine = open_saved(model, session="two")
    events = list(engine.generate(other, GREEDY))
    assert restored(events) >= 20 * len(WORDS.split())
    assert finished(events).text == finished(open_engine(model).generate(other, GREEDY)).text


def test_what_is_shared_is_stored_once(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore
) -> None:
    one = open_saved(tiny_model)
    finished(one.generate([ChatMessage("user", WORDS * 20 + "one?")], GREEDY))
    one.save()
    size = store.size()
    two = open_saved(tiny_model, session="two")
    finished(two.generate([ChatMessage("user", WORDS * 20 + "two?")], GREEDY))
    two.save()
    assert store.size() < 1.2 * size


@pytest.mark.parametrize("name", ALL)
def test_an_edited_chat_restores_what_it_still_shares_and_is_right(
    open_saved: OpenSaved, open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    model = request.getfixturevalue(name)
    engine = open_saved(model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    edited = [ChatMessage("user", WORDS * 10 + "something else")]
    events = list(open_saved(model).generate(edited, GREEDY))
    assert (restored(events) > 0) == (name in DIVISIBLE)
    assert finished(events).text == finished(open_engine(model).generate(edited, GREEDY)).text


def test_each_turn_adds_only_what_is_new(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore
) -> None:
    engine = open_saved(tiny_model)
    chat = list(LONG)
    sizes = []
    for turn in range(4):
        end = finished(engine.generate(chat, GREEDY))
        engine.save()
        sizes.append(store.size())
        chat += [ChatMessage("assistant", end.text), ChatMessage("user", f"And {turn}? " * 4)]
    assert all(later - earlier < 0.3 * sizes[0] for earlier, later in pairwise(sizes))
    assert engine.save() == 0
    events = list(open_saved(tiny_model).generate(chat, GREEDY))
    assert restored(events) == cached_tokens(engine)


def test_the_branches_of_a_session_are_all_kept(open_saved: OpenSaved, tiny_model: Path) -> None:
    engine = open_saved(tiny_model)
    end = finished(engine.generate(LONG, GREEDY))
    chats = [going_on(end, "first " * 40), going_on(end, "second " * 40)]
    helds = []
    for chat in chats:
        finished(engine.generate(chat, GREEDY))
        engine.save()
        helds.append(cached_tokens(engine))
    for chat, held in zip(chats, helds, strict=True):
        more = [*chat, ChatMessage("assistant", ""), ChatMessage("user", "go on")]
        events = list(open_saved(tiny_model).generate(more, GREEDY))
        assert restored(events) > held - GREEDY.max_tokens - 8


def test_a_reply_in_other_tokens_than_the_tokenizers_is_found(
    open_saved: OpenSaved, tiny_model: Path
) -> None:
    """Hot sampling of random weights writes words in pieces that no tokenizer would."""
    engine = open_saved(tiny_model)
    wild = Sampling(temp=3.0, seed=5, max_tokens=120, logit_bias=("<|im_end|>=-inf",))
    end = finished(engine.generate(LONG, wild))
    engine.save()
    own = engine.loaded.model.tokenize(end.text, special=False)  # type: ignore[union-attr]
    assert len(own) != end.usage.completion
    events = list(open_saved(tiny_model).generate(going_on(end), GREEDY))
    assert restored(events) == cached_tokens(engine)


def test_a_short_chat_touches_no_disk(open_saved: OpenSaved, tiny_model: Path, paths: Any) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate([ChatMessage("user", "Hello")], GREEDY))
    assert engine.save() == 0
    engine.close()
    assert not paths.snapshots.exists()


def short(question: str, system: str = WORDS) -> list[ChatMessage]:
    """A chat too short to be saved, with a system prompt."""
    return [ChatMessage("system", system), ChatMessage("user", question)]


@pytest.mark.parametrize("name", DIVISIBLE)
def test_short_chats_share_what_all_of_them_begin_with(
    open_saved: OpenSaved,
    open_engine: OpenEngine,
    store: SnapshotStore,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    model = request.getfixturevalue(name)
    one = open_saved(model)
    finished(one.generate(short("How are you?"), GREEDY))
    head = one.save(at_exit=True)
    assert len(WORDS.split()) <= head < cached_tokens(one) + GREEDY.max_tokens
    chat = short("What is it?")
    two = open_saved(model, session="two")
    end = finished(two.generate(chat, GREEDY))
    assert end.usage.restored == head
    assert end.text == finished(open_engine(model).generate(chat, GREEDY)).text
    assert two.save(at_exit=True) == 0
    assert [each.session for each in store.sessions()] == ["one"]


def test_a_long_chat_goes_on_from_what_short_ones_left(
    open_saved: OpenSaved, open_engine: OpenEngine, tiny_model: Path
) -> None:
    one = open_saved(tiny_model)
    finished(one.generate(short("How are you?"), GREEDY))
    head = one.save(at_exit=True)
    long = short(WORDS * 20)
    two = open_saved(tiny_model, session="two")
    end = finished(two.generate(long, GREEDY))
    held = cached_tokens(two)
    assert two.save() == held - head
    chat = [*long, ChatMessage("assistant", end.text), ChatMessage("user", "And?")]
    again = finished(open_saved(tiny_model, session="two").generate(chat, GREEDY))
    assert again.usage.restored >= held - GREEDY.max_tokens
    never_left = open_engine(tiny_model)
    finished(never_left.generate(long, GREEDY))
    assert again.text == finished(never_left.generate(chat, GREEDY)).text


def test_another_system_prompt_shares_nothing(open_saved: OpenSaved, tiny_model: Path) -> None:
    one = open_saved(tiny_model)
    finished(one.generate(short("How are you?"), GREEDY))
    assert one.save(at_exit=True)
    other = short("How are you?", "by his but at this do you as he with on not for it have that")
    end = finished(open_saved(tiny_model, session="two").generate(other, GREEDY))
    assert end.usage.restored == 0


def test_a_chat_that_takes_long_to_read_is_saved_however_short(
    open_saved: OpenSaved, tiny_model: Path
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(short("How are you?"), GREEDY))
    assert engine.snapshots is not None
    for _ in range(40):
        engine.snapshots.record_prefill(64, 64 / 20)  # tokens, seconds
    held = cached_tokens(engine)
    assert held < module.MIN_TOKENS
    assert engine.save() == held


def test_for_no_session_nothing_is_written_and_what_is_there_is_used(
    open_saved: OpenSaved, tiny_model: Path, paths: Any
) -> None:
    private = open_saved(tiny_model, session="")
    finished(private.generate(LONG, GREEDY))
    assert private.save() == 0
    private.close()
    assert not paths.snapshots.exists()
    logged = open_saved(tiny_model)
    finished(logged.generate(LONG, GREEDY))
    logged.save()
    logged.close()
    before = {path: path.read_bytes() for path in paths.snapshots.iterdir()}
    private = open_saved(tiny_model, session="")
    assert restored(list(private.generate(LONG, GREEDY))) > 0
    assert private.save() == 0
    private.close()
    assert {path: path.read_bytes() for path in paths.snapshots.iterdir()} == before


def test_nothing_is_saved_for_a_released_session(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    engine.unbind_session("one")
    store.forget(["one"])
    assert engine.save() == 0
    assert store.size() == 0


def test_another_key_finds_nothing(open_saved: OpenSaved, tiny_model: Path) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    assert not restored(list(open_saved(tiny_model, key="other").generate(LONG, GREEDY)))


def test_prepare_restores_before_the_question_comes(
    open_saved: OpenSaved, tiny_model: Path
) -> None:
    engine = open_saved(tiny_model)
    end = finished(engine.generate(LONG, GREEDY))
    engine.save()
    chat = going_on(end)
    reopened = open_saved(tiny_model)
    told = [event for event in reopened.prepare(chat[:-1]) if isinstance(event, CacheRestored)]
    assert [event.tokens for event in told] == [cached_tokens(engine)]
    events = list(reopened.generate(chat, GREEDY))
    assert restored(events) == 0
    assert finished(events).usage.reused == cached_tokens(engine)


def test_the_limit_holds_and_the_newest_stays(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore
) -> None:
    def chat(number: int) -> list[ChatMessage]:
        return [ChatMessage("user", f"{number} " + WORDS * 20)]

    for number in range(4):
        engine = open_saved(tiny_model, session=str(number), limit=300_000)
        finished(engine.generate(chat(number), GREEDY))
        engine.save()
        assert 0 < store.size() <= 300_000
    assert restored(list(open_saved(tiny_model, session="3").generate(chat(3), GREEDY)))
    assert not restored(list(open_saved(tiny_model, session="0").generate(chat(0), GREEDY)))


@pytest.mark.parametrize("limit", [0, 1000])
def test_without_room_nothing_is_kept(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, limit: int
) -> None:
    engine = open_saved(tiny_model, limit=limit)
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() == 0
    assert store.size() == 0


def test_writing_can_be_broken_off_between_two_files(
    open_saved: OpenSaved, tiny_model: Path, paths: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 64)
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    assert engine.save(lambda: len(files(paths)) < 3) == 3 * 64
    assert not list(paths.snapshots.glob("*.part"))
    assert engine.save() == cached_tokens(engine) - 3 * 64
    assert restored(list(open_saved(tiny_model).generate(LONG, GREEDY))) > 3 * 64


def test_the_end_of_the_program_saves_and_checks_all_pieces(
    open_saved: OpenSaved, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 64)
    monkeypatch.setattr(module, "EXIT_SAVE_SECONDS", 60.0)
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    held = cached_tokens(engine)
    assert engine.save(at_exit=True) == held
    assert restored(list(open_saved(tiny_model).generate(LONG, GREEDY))) > held - 20


def test_a_disk_that_is_slow_at_the_end_takes_one_file(
    open_saved: OpenSaved, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 64)
    monkeypatch.setattr(module, "EXIT_SAVE_SECONDS", -60.0)
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    assert engine.save(at_exit=True) == 64


def test_a_full_disk_is_harmless(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_saved(tiny_model)
    end = finished(engine.generate(LONG, GREEDY))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tchat.engine.snapshots.store.os.write", full)
    assert engine.save() == 0
    monkeypatch.undo()
    assert store.size() == 0
    assert not list(store._file.parent.glob("*.part"))
    assert finished(engine.generate(going_on(end), GREEDY)).usage.reused > 0


def test_a_nearly_full_disk_is_left_to_others(
    open_saved: OpenSaved, tiny_model: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    monkeypatch.setattr("tchat.engine.snapshots.store.SPARE_DISK", 1 << 60)
    assert engine.save() == 0
    assert store.size() == 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _header(path: Path) -> None:
    path.write_bytes(b"GGSQ" + path.read_bytes()[4:])


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [_cut, _flip, _header, _link, Path.unlink])
def test_a_file_that_is_not_what_was_written_is_refused_and_removed(
    open_saved: OpenSaved,
    tiny_model: Path,
    paths: Any,
    store: SnapshotStore,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(module, "SEGMENT_TOKENS", 128)
    engine = open_saved(tiny_model)
    expected = finished(engine.generate(LONG, GREEDY)).text
    engine.save()
    engine.close()
    second = store.index.segments("key", _lead(store), "one")[1]
    harm(paths.snapshots / second.file)
    events = list(open_saved(tiny_model).generate(LONG, GREEDY))
    assert restored(events) == 128
    assert finished(events).text == expected
    assert store.counts()["refused"] == 1
    assert not (paths.snapshots / second.file).is_symlink()
    assert not (paths.snapshots / second.file).exists()
    assert len(files(paths)) == 1


def test_files_cannot_be_exchanged(
    open_saved: OpenSaved, tiny_model: Path, paths: Any, store: SnapshotStore
) -> None:
    """Each is sealed with what it is for: the same bytes in another place are refused."""
    engine = open_saved(tiny_model)
    long = [ChatMessage("user", WORDS * 30)]
    finished(engine.generate(long, GREEDY))
    engine.save()
    engine.close()
    one, two = store.index.segments("key", _lead(store), "one")[:2]
    assert one.size == two.size
    (paths.snapshots / one.file).replace(paths.snapshots / two.file)
    assert not restored(list(open_saved(tiny_model).generate(long, GREEDY)))
    assert store.counts()["refused"] == 1


def test_another_users_files_are_refused(
    open_saved: OpenSaved, tiny_model: Path, paths: Any, store: SnapshotStore
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    engine.close()
    paths.snapshot_key.write_bytes(b"another key".ljust(32, b"."))
    assert not restored(list(open_saved(tiny_model).generate(LONG, GREEDY)))
    assert store.counts()["refused"] == 1
    paths.snapshot_key.unlink()
    assert not restored(list(open_saved(tiny_model).generate(LONG, GREEDY)))


def test_a_key_of_another_user_is_replaced(
    open_saved: OpenSaved, tiny_model: Path, paths: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_saved(tiny_model)
    end = finished(engine.generate(LONG, GREEDY))
    engine.save()
    engine.close()
    key, user = paths.snapshot_key, os.geteuid()
    before = key.read_bytes()

    def is_old() -> bool:
        return bool(key.exists() and key.read_bytes() == before)

    monkeypatch.setattr("os.geteuid", lambda: user + is_old())
    again = open_saved(tiny_model)
    assert not restored(list(again.generate(going_on(end), GREEDY)))
    again.save()
    assert not is_old()
    assert key.stat().st_mode & 0o777 == 0o600


def test_files_and_index_are_the_users_alone(
    open_saved: OpenSaved, tiny_model: Path, paths: Any
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    assert {path.stat().st_mode & 0o777 for path in paths.snapshots.iterdir()} == {0o600}
    assert paths.snapshots.stat().st_mode & 0o777 == 0o700
    assert paths.snapshot_key.stat().st_mode & 0o777 == 0o600


def test_a_damaged_index_is_replaced_and_its_files_go(
    open_saved: OpenSaved, tiny_model: Path, paths: Any, store: SnapshotStore
) -> None:
    engine = open_saved(tiny_model)
    finished(engine.generate(LONG, GREEDY))
    engine.save()
    engine.close()
    (paths.snapshots / "index.db").write_bytes(b"no database" * 1000)
    again = open_saved(tiny_model)
    assert not restored(list(again.generate(LONG, GREEDY)))
    again.save()
    again.close()
    assert len(files(paths)) == len(store.index.segments("key", _lead(store), "one"))


def test_the_prefill_rate_is_stored(open_saved: OpenSaved, tiny_model: Path) -> None:
    engine = open_saved(tiny_model)
    assert engine.prefill_time(1000) == 0
    finished(engine.generate(LONG, GREEDY))
    measured = engine.prefill_time(1000)
    assert measured > 0
    engine.close()
    assert open_saved(tiny_model).prefill_time(1000) == pytest.approx(measured)


def test_an_estimate_of_prefill_follows_what_is_measured(
    open_saved: OpenSaved, tiny_model: Path
) -> None:
    """A long prefill corrects it at once, short ones in a few turns; both ways."""
    snapshots = open_saved(tiny_model).snapshots
    assert snapshots is not None
    snapshots.record_prefill(2000, 2.0)
    assert snapshots.prefill_time(1000) == pytest.approx(1.0)
    for seconds in (8.0, 2.0):
        snapshots.record_prefill(4096, 4.096 * seconds)
        assert snapshots.prefill_time(1000) == pytest.approx(seconds, rel=0.2)
    for _ in range(8):
        snapshots.record_prefill(100, 0.4)
    assert snapshots.prefill_time(1000) == pytest.approx(4.0, rel=0.1)
    snapshots.record_prefill(16, 10.0)  # too few to say anything
    assert snapshots.prefill_time(1000) == pytest.approx(4.0, rel=0.1)


def _lead(store: SnapshotStore) -> bytes:
    query = "SELECT lead FROM segments LIMIT 1"
    lead: bytes = store.index._cache.run(lambda database: database.execute(query).fetchone()[0])
    return lead


def test_a_recurrent_model_keeps_the_last_turns_whole(
    open_saved: OpenSaved, tiny_recurrent: Path, paths: Any
) -> None:
    engine = open_saved(tiny_recurrent)
    chat = list(LONG)
    ends = []
    for turn in range(6):
        end = finished(engine.generate(chat, GREEDY))
        engine.save()
        ends.append((list(chat), end))
        chat += [ChatMessage("assistant", end.text), ChatMessage("user", f"And {turn}? " * 6)]
    assert len(files(paths)) == module.KEPT_STATES
    # Another reply to the last question: its chat is the one saved a turn before.
    chat, end = ends[-1]
    events = list(open_saved(tiny_recurrent).generate(chat, GREEDY))
    assert restored(events) > 0
    assert finished(events).text == end.text


@pytest.mark.parametrize("name", ["tiny_recurrent", "tiny_sliding"])
def test_a_state_is_only_copied_whole_where_there_is_memory_for_it(
    open_saved: OpenSaved, open_engine: OpenEngine, request: pytest.FixtureRequest, name: str
) -> None:
    model = request.getfixturevalue(name)
    poor = open_saved(model, free=1000)
    end = finished(poor.generate(LONG, GREEDY))
    assert poor.save() == 0
    assert poor.snapshots is not None
    assert "takes as much memory again" in poor.snapshots.problem
    rich = open_saved(model, free=1 << 40)
    finished(rich.generate(LONG, GREEDY))
    assert rich.save() == cached_tokens(rich)
    # It is not restored either: it is read again, with the same reply.
    expected = finished(open_engine(model).generate(going_on(end), GREEDY)).text
    again = list(open_saved(model, free=1000).generate(going_on(end), GREEDY))
    assert restored(again) == 0
    assert finished(again).text == expected


def test_copying_a_whole_state_can_be_stopped(
    open_saved: OpenSaved, tiny_recurrent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_saved(tiny_recurrent)
    finished(engine.generate(LONG, GREEDY))
    context = engine._ready.context
    monkeypatch.setattr(module, "ALLOCATION", context.state_size // 8)
    copied: list[int] = []
    monkeypatch.setattr(context, "save_state", lambda *_: copied.append(1))
    asked = iter([True, True, False])
    assert engine.save(lambda: next(asked)) == 0
    assert not copied
    assert next(asked, None) is None


def test_an_engine_without_snapshots_saves_nothing(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine: Engine = open_engine(tiny_model)
    assert engine.save() == 0
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() == 0


def test_a_model_that_is_steered_neither_saves_nor_restores(
    open_saved: OpenSaved, tiny_model: Path, paths: Any
) -> None:
    engine = open_saved(tiny_model)
    list(engine.load())
    engine.steer(())
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() == 0
    assert not paths.snapshots.exists()
