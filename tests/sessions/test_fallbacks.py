"""Sessions that are left while the disk is full: none of them is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions.fallback_store import FallbackStore, FallbackStores
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore

from .test_fallback_store import LONG, fill, make_room


@pytest.fixture
def persistent(file: Path) -> Iterator[SessionStore]:
    with SessionStore(file) as opened:
        yield opened


@pytest.fixture
def fallbacks() -> Iterator[FallbackStores]:
    made = FallbackStores()
    yield made
    made.close()


def begun(fallbacks: FallbackStores, persistent: SessionStore, text: str = LONG) -> FallbackStore:
    """A session that the full disk keeps in memory."""
    store = fallbacks.open(persistent)
    store.begin(text)
    assert store.failure is not None
    return store


def stored(persistent: SessionStore) -> list[str]:
    return sorted(persistent.branch(each.id)[0].text for each in persistent.sessions())


def test_every_session_that_was_left_is_stored(
    persistent: SessionStore, fallbacks: FallbackStores
) -> None:
    fill(persistent)
    for text in "abc":
        begun(fallbacks, persistent, text + LONG)
    assert fallbacks.failure is not None
    with pytest.raises(StorageError, match="no space left"):
        fallbacks.write_back()
    assert fallbacks.failure is not None
    make_room(persistent)
    fallbacks.write_back()
    assert fallbacks.failure is None
    assert stored(persistent) == ["a" + LONG, "b" + LONG, "c" + LONG]
    fallbacks.write_back()
    assert len(persistent.sessions()) == 3


def test_a_session_left_while_others_are_stored_waits(
    persistent: SessionStore, fallbacks: FallbackStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(persistent)
    begun(fallbacks, persistent, "a" + LONG)
    make_room(persistent)
    merge, storing, go_on = persistent.merge_tree, threading.Event(), threading.Event()

    def slowly(*args: object) -> object:
        storing.set()
        assert go_on.wait(10)
        return merge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(persistent, "merge_tree", slowly)
    thread = threading.Thread(target=fallbacks.write_back)
    thread.start()
    assert storing.wait(10)
    fill(persistent)
    begun(fallbacks, persistent, "b" + LONG)
    make_room(persistent)
    go_on.set()
    thread.join()
    fallbacks.write_back()
    assert stored(persistent) == ["a" + LONG, "b" + LONG]


def test_one_that_cannot_be_stored_holds_up_no_other(
    persistent: SessionStore, fallbacks: FallbackStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(persistent)
    first = begun(fallbacks, persistent, "a" + LONG)
    begun(fallbacks, persistent, "b" + LONG)
    make_room(persistent)
    merge = persistent.merge_tree

    def refused(tree, known):  # type: ignore[no-untyped-def]
        if tree.session.id == first.session_id:
            raise StorageError("no")
        return merge(tree, known)

    monkeypatch.setattr(persistent, "merge_tree", refused)
    with pytest.raises(StorageError, match="no"):
        fallbacks.write_back()
    assert stored(persistent) == ["b" + LONG]
    monkeypatch.undo()
    fallbacks.write_back()
    assert stored(persistent) == ["a" + LONG, "b" + LONG]


def test_opening_a_session_again_finds_what_is_in_memory(
    persistent: SessionStore, fallbacks: FallbackStores
) -> None:
    session, first = persistent.begin("one")
    store = fallbacks.open(persistent, session.id)
    fill(persistent)
    second = store.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    other = fallbacks.open(persistent)
    assert other is not store
    again = fallbacks.open(persistent, session.id)
    assert [message.id for message in again.branch(session.id)] == [first.id, second.id]
    make_room(persistent)
    fallbacks.write_back()
    assert len(persistent.branch(session.id)) == 2


def test_a_deleted_session_does_not_come_back(
    persistent: SessionStore, fallbacks: FallbackStores
) -> None:
    session, first = persistent.begin("one")
    store = fallbacks.open(persistent, session.id)
    fill(persistent)
    store.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    fallbacks.discard(session.id)
    make_room(persistent)
    persistent.delete(session.id)
    fallbacks.write_back()
    assert persistent.sessions() == []
