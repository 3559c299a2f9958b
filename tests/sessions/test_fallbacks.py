"""Sessions that are left while the disk is full: none of them is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.fallbacks import Fallbacks
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore

from .test_fallback_store import LONG, fill, make_room


@pytest.fixture
def lasting(file: Path) -> Iterator[SessionStore]:
    with SessionStore(file) as opened:
        yield opened


@pytest.fixture
def fallbacks() -> Iterator[Fallbacks]:
    made = Fallbacks()
    yield made
    made.close()


def begun(fallbacks: Fallbacks, lasting: SessionStore, text: str = LONG) -> FallbackStore:
    """A session that the full disk keeps in memory."""
    store = fallbacks.open(lasting)
    store.begin(text)
    assert store.failure is not None
    return store


def stored(lasting: SessionStore) -> list[str]:
    return sorted(lasting.branch(each.id)[0].text for each in lasting.sessions())


def test_every_session_that_was_left_is_stored(lasting: SessionStore, fallbacks: Fallbacks) -> None:
    fill(lasting)
    for text in "abc":
        begun(fallbacks, lasting, text + LONG)
    assert fallbacks.failure is not None
    with pytest.raises(StorageError, match="no space left"):
        fallbacks.write_back()
    assert fallbacks.failure is not None
    make_room(lasting)
    fallbacks.write_back()
    assert fallbacks.failure is None
    assert stored(lasting) == ["a" + LONG, "b" + LONG, "c" + LONG]
    fallbacks.write_back()
    assert len(lasting.sessions()) == 3


def test_a_session_left_while_others_are_stored_waits(
    lasting: SessionStore, fallbacks: Fallbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lasting)
    begun(fallbacks, lasting, "a" + LONG)
    make_room(lasting)
    merge, storing, go_on = lasting.merge_tree, threading.Event(), threading.Event()

    def slowly(*args: object) -> object:
        storing.set()
        assert go_on.wait(10)
        return merge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lasting, "merge_tree", slowly)
    thread = threading.Thread(target=fallbacks.write_back)
    thread.start()
    assert storing.wait(10)
    fill(lasting)
    begun(fallbacks, lasting, "b" + LONG)
    make_room(lasting)
    go_on.set()
    thread.join()
    fallbacks.write_back()
    assert stored(lasting) == ["a" + LONG, "b" + LONG]


def test_one_that_cannot_be_stored_holds_up_no_other(
    lasting: SessionStore, fallbacks: Fallbacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lasting)
    first = begun(fallbacks, lasting, "a" + LONG)
    begun(fallbacks, lasting, "b" + LONG)
    make_room(lasting)
    merge = lasting.merge_tree

    def refused(tree, known):  # type: ignore[no-untyped-def]
        if tree.session.id == first.session_id:
            raise StorageError("no")
        return merge(tree, known)

    monkeypatch.setattr(lasting, "merge_tree", refused)
    with pytest.raises(StorageError, match="no"):
        fallbacks.write_back()
    assert stored(lasting) == ["b" + LONG]
    monkeypatch.undo()
    fallbacks.write_back()
    assert stored(lasting) == ["a" + LONG, "b" + LONG]


def test_opening_a_session_again_finds_what_is_in_memory(
    lasting: SessionStore, fallbacks: Fallbacks
) -> None:
    session, first = lasting.begin("one")
    store = fallbacks.open(lasting, session.id)
    fill(lasting)
    second = store.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    other = fallbacks.open(lasting)
    assert other is not store
    again = fallbacks.open(lasting, session.id)
    assert [message.id for message in again.branch(session.id)] == [first.id, second.id]
    make_room(lasting)
    fallbacks.write_back()
    assert len(lasting.branch(session.id)) == 2


def test_a_deleted_session_does_not_come_back(lasting: SessionStore, fallbacks: Fallbacks) -> None:
    session, first = lasting.begin("one")
    store = fallbacks.open(lasting, session.id)
    fill(lasting)
    store.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    fallbacks.discard(session.id)
    make_room(lasting)
    lasting.delete(session.id)
    fallbacks.write_back()
    assert lasting.sessions() == []
