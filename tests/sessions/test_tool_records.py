"""Calls of tools and their results in the store: kept through everything that keeps messages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.records import Message, Role, Session, Status, ToolState
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.test_fallback_store import LONG, fill, make_room
from tests.sessions.tool_turns import add_call_turn, add_result, call


def turn(store: SessionStore) -> tuple[Session, list[Message]]:
    session, _ = store.begin("look", title="Tools")
    add_call_turn(store, session.id, "forty-two")
    return session, store.branch(session.id)


def test_a_reply_that_ends_with_calls_is_stored_with_them(store: SessionStore) -> None:
    session, question = store.begin("look")
    reply = store.add(
        session.id, Role.ASSISTANT, "", parent_id=question.id, status=Status.STREAMING
    )
    calls = (call("a", "look", path="x"), call("b", "count"))
    ended = store.finish(reply.id, status=Status.DONE, text="Let me see.", tool_calls=calls)
    assert ended == store.message(reply.id)
    assert ended.tool_calls == calls


def test_what_was_deleted_comes_back(store: SessionStore) -> None:
    session, path = turn(store)
    store.restore(store.delete_message(path[1].id))
    assert store.branch(session.id) == path
    store.restore(store.delete(session.id))
    assert store.branch(session.id) == path


def test_a_search_finds_results(store: SessionStore) -> None:
    _, path = turn(store)
    assert [hit.message and hit.message.role for hit in store.search("forty-two")] == [
        Role.ASSISTANT,
        Role.TOOL,
    ]
    assert store.search("forty-two")[1].message == path[2]


def test_results_have_siblings_and_positions_like_other_messages(store: SessionStore) -> None:
    session, path = turn(store)
    again = store.add(session.id, Role.ASSISTANT, "It is 41.", parent_id=path[2].id)
    assert [each.id for each in store.siblings(again.id)] == [path[3].id, again.id]
    assert store.positions(session.id) == {path[3].id: (1, 2), again.id: (2, 2)}
    assert store.branch(session.id)[:3] == path[:3]


def test_the_model_of_a_session_is_that_of_its_last_reply(store: SessionStore) -> None:
    session, path = turn(store)
    store.delete_message(path[3].id)
    assert store.last_model(session.id) == "tiny"
    assert store.branch_models(session.id) == ["", "tiny"]


def test_merging_keeps_them(store: SessionStore) -> None:
    session, path = turn(store)
    tree = store.tree(session.id)
    with SessionStore.in_memory() as other:
        other.merge_tree(tree, frozenset())
        merged = other.branch(session.id)
    assert [(each.tool_calls, each.tool_outcome) for each in merged] == [
        (each.tool_calls, each.tool_outcome) for each in path
    ]


def test_a_turn_on_a_full_disk_is_written_back_with_them(file: Path) -> None:
    with SessionStore(file) as persistent:
        session, question = persistent.begin("look")
        fallback = FallbackStore(persistent, session.id)
        fill(persistent)
        add_call_turn(fallback, session.id, LONG, parent_id=question.id)
        assert fallback.failure is not None
        written = fallback.branch(session.id)
        make_room(persistent)
        assert fallback.write_back()
        assert persistent.branch(session.id) == written
        assert [len(each.tool_calls) for each in written] == [0, 1, 0, 0]
        fallback.close()


def harm(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_salvage_keeps_them_and_loses_only_what_is_damaged(file: Path) -> None:
    with SessionStore(file) as store:
        session, path = turn(store)
        second = add_result(store, path[3], "c9", "more", state=ToolState.FAILED)
    harm(
        file,
        "CREATE TABLE foreign_one (x)",  # so that it is salvaged
        f"UPDATE messages SET tool_outcome = 'junk' WHERE id = {path[2].id}",
        f"UPDATE messages SET tool_calls = '[1, ' WHERE id = {path[3].id}",
    )
    with SessionStore(file) as store:
        assert "1 session with 5 messages" in store.notices[0]
        found = store.branch(session.id)
        assert found[1].tool_calls == path[1].tool_calls
        assert (found[2].text, found[2].tool_outcome) == ("forty-two", None)
        assert (found[3].text, found[3].tool_calls) == (path[3].text, ())
        assert found[4].tool_outcome == second.tool_outcome


def test_a_row_of_an_unknown_role_is_one_message_lost(file: Path) -> None:
    with SessionStore(file) as store:
        session, path = turn(store)
    harm(
        file,
        "PRAGMA ignore_check_constraints = ON",
        f"UPDATE messages SET role = 'robot' WHERE id = {path[2].id}",
    )
    with SessionStore(file) as store:
        assert "1 session with 3 messages" in store.notices[0]
        assert [each.role for each in store.branch(session.id)] == [
            *("user", "assistant", "assistant"),
        ]


def test_a_role_that_there_is_not_is_refused(store: SessionStore) -> None:
    session = new_session(store)
    errors = store._database._connection
    with pytest.raises((errors.IntegrityError, UsageError)):
        store.add(session.id, "robot", "x", parent_id=None)  # type: ignore[arg-type]
