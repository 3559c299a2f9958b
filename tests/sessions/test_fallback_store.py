"""A full disk: the session goes on in memory, and is written back when there is room again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.records import Message, Role, Session, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session

LONG = "x" * 20_000  # more than the free space of any page


def fill(store: SessionStore) -> None:
    """Let the file grow no more: SQLite answers "database or disk is full"."""
    with store._database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(store: SessionStore) -> None:
    with store._database.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")


@pytest.fixture
def persistent(file: Path) -> Iterator[SessionStore]:
    with SessionStore(file) as opened:
        yield opened


@pytest.fixture
def session(persistent: SessionStore) -> Session:
    return new_session(persistent, title="a chat", settings={"temp": 0.5})


@pytest.fixture
def fallback(persistent: SessionStore, session: Session) -> Iterator[FallbackStore]:
    store = FallbackStore(persistent, session.id)
    yield store
    store.close()


def texts(messages: list[Message]) -> list[str]:
    return [message.text[:5] for message in messages]


def test_while_there_is_room_nothing_is_different(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    fallback.add(session.id, Role.USER, "one", parent_id=None)
    assert texts(persistent.branch(session.id)) == ["one"]
    assert fallback.failure is None
    assert not fallback.write_back()


def test_what_does_not_fit_goes_on_in_memory_and_is_written_back(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    first = fallback.add(session.id, Role.USER, "one", parent_id=None)
    fill(persistent)
    second = fallback.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    assert fallback.failure is not None
    assert "no space left" in fallback.failure.message
    third = fallback.add(session.id, Role.USER, "three", parent_id=second.id)
    fallback.pin(first.id, True)
    assert texts(fallback.branch(session.id)) == ["one", "xxxxx", "three"]
    assert texts(persistent.branch(session.id)) == ["one"]
    with pytest.raises(StorageError, match="no space left"):
        fallback.write_back()
    assert texts(fallback.branch(session.id)) == ["one", "xxxxx", "three"]

    make_room(persistent)
    assert fallback.write_back()
    assert fallback.failure is None
    stored = persistent.branch(session.id)
    assert [m.text for m in stored] == ["one", LONG, "three"]
    assert [m.pinned for m in stored] == [True, False, False]
    assert [m.id for m in stored] == [first.id, second.id, third.id]
    assert persistent.get(session.id).settings == {"temp": 0.5}
    fallback.add(session.id, Role.ASSISTANT, "four", parent_id=third.id)
    assert texts(persistent.branch(session.id))[-1] == "four"


def test_a_reply_that_grows_past_the_disk_keeps_growing(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    question = fallback.add(session.id, Role.USER, "one", parent_id=None)
    reply = fallback.add(
        session.id, Role.ASSISTANT, "", parent_id=question.id, status=Status.STREAMING
    )
    fallback.journal(reply.id, "begin")
    fill(persistent)
    fallback.journal(reply.id, "begin" + LONG)
    fallback.finish(reply.id, status=Status.DONE, text="begin" + LONG + "end")
    make_room(persistent)
    assert persistent.message(reply.id).text == "begin"
    fallback.write_back()
    stored = persistent.message(reply.id)
    assert (stored.text, stored.status) == ("begin" + LONG + "end", Status.DONE)
    assert [hit.message and hit.message.id for hit in persistent.search("end")] == [reply.id]


def test_a_session_can_begin_in_memory(persistent: SessionStore) -> None:
    fill(persistent)
    store = FallbackStore(persistent)
    session, _ = store.begin("one", title=LONG)
    assert persistent.sessions() == []
    make_room(persistent)
    store.write_back()
    assert texts(persistent.branch(session.id)) == ["one"]


def test_what_others_wrote_meanwhile_stays(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    first = fallback.add(session.id, Role.USER, "one", parent_id=None)
    gone = fallback.add(session.id, Role.ASSISTANT, "gone", parent_id=first.id)
    fill(persistent)
    fallback.delete_message(gone.id)  # small enough for the disk
    second = fallback.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    make_room(persistent)
    other = new_session(persistent, title="another")
    theirs = persistent.add(other.id, Role.USER, "theirs", parent_id=None)
    third = fallback.add(session.id, Role.USER, "after", parent_id=second.id)
    fallback.write_back()
    assert persistent.message(theirs.id).text == "theirs"
    assert [persistent.message(each.id).text[:5] for each in (second, third)] == ["xxxxx", "after"]
    assert texts(persistent.branch(session.id)) == ["one", "xxxxx", "after"]
    assert texts(persistent.branch(other.id)) == ["their"]
    ids = [message.id for message in persistent.branch(session.id)]
    assert ids == sorted(ids)
    assert len(persistent.tree(session.id).messages) == 3


def test_a_message_deleted_in_memory_is_deleted(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    first = fallback.add(session.id, Role.USER, "one", parent_id=None)
    second = fallback.add(session.id, Role.ASSISTANT, "two", parent_id=first.id)
    fill(persistent)
    fallback.add(session.id, Role.USER, LONG, parent_id=second.id)
    fallback.delete_message(second.id)
    make_room(persistent)
    fallback.write_back()
    assert texts(persistent.branch(session.id)) == ["one"]
    assert len(persistent.tree(session.id).messages) == 1


def test_a_session_deleted_meanwhile_is_there_again(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    first = fallback.add(session.id, Role.USER, "one", parent_id=None)
    fill(persistent)
    fallback.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    make_room(persistent)
    persistent.delete(session.id)
    fallback.write_back()
    assert texts(persistent.branch(session.id)) == ["one", "xxxxx"]


def test_a_failure_of_the_memory_itself_is_told(session: Session) -> None:
    with SessionStore.in_memory() as memory:
        store = FallbackStore(memory)
        memory.close()
        with pytest.raises(Exception, match="closed"):
            store.begin("x")


Change = Callable[[FallbackStore, int], object]
CHANGES: list[tuple[Change, Callable[[Message], bool]]] = [
    (lambda store, reply: store.pin(reply, True), lambda message: message.pinned),
    (lambda store, reply: store.rate(reply, -1), lambda message: message.rating == -1),
    (lambda store, reply: store.pick(reply), lambda message: message.picked_at > 0),
    (
        lambda store, reply: store.record_scores({reply: {"judge": 0.5}}),
        lambda message: message.scores == {"judge": 0.5},
    ),
    (
        lambda store, reply: store.finish(reply, status=Status.STOPPED, text="new"),
        lambda message: message.text == "new",
    ),
]


@pytest.mark.parametrize(("change", "is_stored"), CHANGES)
def test_what_is_changed_while_the_session_moves_to_the_disk_is_stored(
    persistent: SessionStore,
    session: Session,
    fallback: FallbackStore,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    is_stored: Callable[[Message], bool],
) -> None:
    first = fallback.add(session.id, Role.USER, "one", parent_id=None)
    fill(persistent)
    reply = fallback.add(session.id, Role.ASSISTANT, LONG, parent_id=first.id)
    make_room(persistent)
    meanwhile = threading.Thread(target=change, args=(fallback, reply.id))
    merge = persistent.merge_tree

    def slowly(*args: object) -> object:
        meanwhile.start()
        meanwhile.join(0.2)
        return merge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(persistent, "merge_tree", slowly)
    fallback.write_back()
    meanwhile.join()
    assert is_stored(persistent.message(reply.id))


def test_a_reply_that_is_being_written_goes_on_in_the_file(
    file: Path, persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    question = fallback.add(session.id, Role.USER, "one", parent_id=None)
    known = fallback.add(
        session.id, Role.ASSISTANT, "", parent_id=question.id, status=Status.STREAMING
    )
    fill(persistent)
    fallback.journal(known.id, LONG)
    new = fallback.add(
        session.id, Role.ASSISTANT, "", parent_id=question.id, status=Status.STREAMING
    )
    make_room(persistent)
    fallback.write_back()
    with SessionStore(file) as other:
        assert other.recovered == ()
    for reply in (known, new):
        fallback.journal(reply.id, "more")
        fallback.finish(reply.id, status=Status.DONE, text="more and all")
        assert persistent.message(reply.id).text == "more and all"


def test_a_second_failure_keeps_what_the_first_did(
    persistent: SessionStore, session: Session, fallback: FallbackStore
) -> None:
    parent: int | None = None
    for _ in range(3):
        fill(persistent)
        parent = fallback.add(session.id, Role.USER, LONG, parent_id=parent).id
        parent = fallback.add(session.id, Role.ASSISTANT, LONG, parent_id=parent).id
        with pytest.raises(StorageError):
            fallback.write_back()
        make_room(persistent)
        fallback.write_back()
    assert [m.text for m in persistent.branch(session.id)] == [LONG] * 6
