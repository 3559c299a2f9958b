"""Making, finding, changing and deleting sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.sessions.records import Role
from tchat.sessions.session_queries import is_id, new_id
from tchat.sessions.store import SessionStore
from tests.imports import modules_after
from tests.sessions.stores import new_session


def test_a_session_holds_what_it_was_made_with(store: SessionStore) -> None:
    before = time.time()
    made = new_session(store, title="Sky", system="Be brief", settings={"temp": 0.2, "stop": ["a"]})
    assert store.get(made.id) == made
    assert (made.title, made.system, made.messages) == ("Sky", "Be brief", 0)
    assert made.settings == {"temp": 0.2, "stop": ["a"]}
    assert before <= made.created_at == made.updated_at <= time.time()


def test_a_session_survives_closing(file: Path) -> None:
    with SessionStore(file) as store:
        made = new_session(store, title="kept")
        store.add(made.id, Role.USER, "hello", parent_id=None)
    with SessionStore(file) as store:
        assert store.get(made.id).messages == 1
        assert [message.text for message in store.branch(made.id)] == ["hello"]
        assert store.notices == []


def test_a_store_in_memory_leaves_nothing(home: Path) -> None:
    with SessionStore.in_memory() as store:
        session = new_session(store)
        store.add(session.id, Role.USER, "secret", parent_id=None)
        assert store.path is None
    assert not home.exists()


def test_sessions_come_in_the_order_of_their_last_use(store: SessionStore) -> None:
    assert store.latest() is None
    first, second, third = (new_session(store, title=name) for name in ("a", "b", "c"))
    store.add(second.id, Role.USER, "hi", parent_id=None)
    assert [session.id for session in store.sessions()] == [second.id, third.id, first.id]
    assert [session.id for session in store.sessions(limit=2)] == [second.id, third.id]
    latest = store.latest()
    assert latest is not None
    assert latest.id == second.id


def test_renaming_is_no_use_of_a_session(store: SessionStore) -> None:
    old, new = new_session(store), new_session(store)
    renamed = store.rename(old.id, "title")
    assert renamed.title == "title"
    assert [session.id for session in store.sessions()] == [new.id, old.id]


def test_update_sets_what_is_named_and_keeps_the_rest(store: SessionStore) -> None:
    made = new_session(store, title="t", system="s", settings={"temp": 1})
    assert store.update(made.id, system="other").settings == {"temp": 1}
    changed = store.update(made.id, settings={"top_k": 3})
    assert (changed.title, changed.system, changed.settings) == ("t", "other", {"top_k": 3})
    assert store.update(made.id, system="", settings={}).system == ""


@pytest.mark.parametrize("change", ["rename", "update", "delete", "branch", "tree", "add"])
def test_an_unknown_session_is_refused(store: SessionStore, change: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "rename": lambda: store.rename("nope", "x"),
        "update": lambda: store.update("nope", system="x"),
        "delete": lambda: store.delete("nope"),
        "branch": lambda: store.branch("nope"),
        "tree": lambda: store.tree("nope"),
        "add": lambda: store.add("nope", Role.USER, "x", parent_id=None),
    }
    with pytest.raises(UsageError, match="no session 'nope'"):
        calls[change]()


def test_a_beginning_or_an_end_of_an_id_is_enough(store: SessionStore) -> None:
    made = new_session(store)
    assert store.get(made.id[:6]) == made
    assert store.get(made.id[-6:]) == made
    assert store.get(f" {made.id.upper()} ") == made


@pytest.mark.parametrize("length", range(1, 6))
def test_a_short_piece_of_an_id_is_none(store: SessionStore, length: int) -> None:
    """Any short number or word is the beginning or the end of the id of some session."""
    made = new_session(store)
    for piece in (made.id[:length], made.id[-length:]):
        with pytest.raises(UsageError, match=f"no session '{piece}'") as caught:
            store.get(piece)
        assert made.id in caught.value.hint


def test_an_ambiguous_piece_names_the_candidates(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.sessions.store.time.time", lambda: 1.9e9)
    made = [new_session(store, title=f"number\n{n}") for n in range(6)]
    with pytest.raises(UsageError, match="6 sessions match") as caught:
        store.get(made[0].id[:6])
    assert "and 2 more" in caught.value.hint
    assert "(number " in caught.value.hint
    assert "\n" not in str(caught.value)


def test_an_unknown_id_names_near_ones(store: SessionStore) -> None:
    with pytest.raises(UsageError, match="there is no session yet"):
        store.get("abc")
    made = new_session(store, title="Sky")
    near = made.id[:4] + ("0" if made.id[4] != "0" else "1") + made.id[5:]
    with pytest.raises(UsageError, match=f"did you mean {made.id} \\(Sky\\)"):
        store.get(near)
    store.rename(made.id, "Why is the sky blue, reverses a string")
    with pytest.raises(UsageError, match=r"\(Why is the sky blue, reverses…\)"):
        store.get(near)
    with pytest.raises(UsageError, match=f"the latest are {made.id}"):
        store.get("-")


@pytest.mark.parametrize("piece", ["", "  ", "%", "_", "'", "\0", "\ud800"])
def test_odd_pieces_match_nothing(store: SessionStore, piece: str) -> None:
    new_session(store)
    with pytest.raises(UsageError, match="no session"):
        store.get(piece)


def test_ids_sort_by_time_and_are_unique(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [0.0, 1.75e9, 1.75e9 + 0.002, 1.8e9, 2.5e9]
    ids = [new_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert all(map(is_id, ids))
    assert not is_id("ABCDEFGHIJ")
    monkeypatch.setattr("tchat.sessions.store.time.time", lambda: 1.9e9)
    # The time is frozen and two random characters remain: some of these collide.
    assert len({new_session(store).id for _ in range(200)}) == 200


def test_a_deleted_session_can_be_restored(store: SessionStore) -> None:
    made = new_session(store, title="t", system="s", settings={"a": 1})
    top = store.add(made.id, Role.USER, "q", parent_id=None)
    for text in ("one", "two"):
        store.add(made.id, Role.ASSISTANT, text, parent_id=top.id)
    before = store.tree(made.id)
    deleted = store.delete(made.id)
    assert store.sessions() == []
    assert store.search("one") == []
    new_session(store)
    assert store.restore(deleted) == before.session
    assert store.tree(made.id) == before
    assert len(store.search("one")) == 1
    with pytest.raises(UsageError, match="cannot be restored"):
        store.restore(deleted)


def test_a_long_session_can_be_deleted_and_restored(store: SessionStore) -> None:
    """SQLite's own cascade ends at a depth of 1000."""
    session = new_session(store)
    parent = None
    for number in range(1500):
        parent = store.add(session.id, Role.USER, str(number), parent_id=parent).id
    branch = store.branch(session.id)
    assert [message.text for message in branch] == [str(number) for number in range(1500)]
    deleted = store.delete_message(branch[1].id)
    assert len(store.branch(session.id)) == 1
    store.restore(deleted)
    assert store.branch(session.id) == branch
    store.restore(store.delete(session.id))
    assert store.branch(session.id) == branch


def test_importing_the_package_is_cheap() -> None:
    modules = modules_after("import tchat.sessions, tchat.sessions.records")
    assert not {"sqlite3", "filelock", "json"} & modules


def test_importing_the_store_leaves_the_locks_for_later() -> None:
    assert "filelock" not in modules_after("import tchat.sessions.store")
