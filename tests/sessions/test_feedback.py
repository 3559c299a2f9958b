"""What the user makes of replies: kept with them, gone with them."""

from __future__ import annotations

import pytest

from tchat.errors import UsageError
from tchat.sessions.records import Message, Role, Session
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.trees import from_json, insert_tree, to_json


@pytest.fixture
def session(store: SessionStore) -> Session:
    return new_session(store, title="talk")


@pytest.fixture
def replies(store: SessionStore, session: Session) -> list[Message]:
    """Three replies to one question, the last one active."""
    asked = store.add(session.id, Role.USER, "why?", parent_id=None)
    return [
        store.add(session.id, Role.ASSISTANT, f"reply {n}", parent_id=asked.id) for n in range(3)
    ]


def marks(store: SessionStore) -> list[tuple[str, int, bool, bool]]:
    return [(m.text, m.rating, m.picked_at > 0, m.by_person) for m in store.with_feedback()]


def test_a_rating_is_kept_and_taken_back(store: SessionStore, replies: list[Message]) -> None:
    assert store.rate(replies[0].id, 1).rating == 1
    store.rate(replies[1].id, -1)
    assert marks(store) == [("reply 0", 1, False, False), ("reply 1", -1, False, False)]
    store.rate(replies[0].id, 0)
    assert marks(store) == [("reply 1", -1, False, False)]


def test_one_of_the_siblings_is_picked_and_active(
    store: SessionStore, session: Session, replies: list[Message]
) -> None:
    store.pick(replies[0].id)
    store.pick(replies[1].id)
    assert marks(store) == [("reply 1", 0, True, False)]
    assert store.branch(session.id)[-1].id == replies[1].id


def test_marks_go_and_come_back_with_the_session(
    store: SessionStore, session: Session, replies: list[Message]
) -> None:
    store.rate(replies[0].id, 1)
    store.pick(replies[1].id)
    store.record_scores({replies[2].id: {"human": 0.25}})
    before = store.with_feedback(), store.message(replies[2].id)
    deleted = store.delete(session.id)
    assert store.with_feedback() == []
    store.restore(deleted)
    assert (store.with_feedback(), store.message(replies[2].id)) == before


def test_marks_are_exported_and_imported(
    store: SessionStore, session: Session, replies: list[Message]
) -> None:
    store.rate(replies[0].id, -1)
    store.add(session.id, Role.ASSISTANT, "mine", parent_id=replies[0].parent_id, by_person=True)
    store.record_scores({replies[0].id: {"human": 0.25}})
    before = marks(store)
    [tree] = from_json(to_json([store.tree(session.id)]))
    store.delete(session.id)
    insert_tree(store, tree)
    assert marks(store) == before == [("reply 0", -1, False, False), ("mine", 0, False, True)]
    assert store.with_feedback()[0].scores == {"human": 0.25}


def test_an_import_with_another_rating_is_refused(
    store: SessionStore, session: Session, replies: list[Message]
) -> None:
    text = to_json([store.tree(session.id)]).replace('"rating": 0', '"rating": 7', 1)
    with pytest.raises(UsageError, match="unknown rating 7"):
        from_json(text)


def test_scores_of_a_deleted_message_are_passed_over(
    store: SessionStore, replies: list[Message]
) -> None:
    store.delete_message(replies[0].id)
    store.record_scores({replies[0].id: {"human": 0.5}, replies[1].id: {"human": 0.5}})
    assert store.message(replies[1].id).scores == {"human": 0.5}
