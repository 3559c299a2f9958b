"""Calls of tools and their results as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tchat.chat.branch import Branch, BranchReader, Questions, messages_of_turn
from tchat.engine.prompt import ChatMessage, MessageCall
from tchat.errors import UsageError
from tchat.sessions.records import Message, Role, Status, ToolCall, ToolOutcome, ToolState
from tchat.sessions.store import SessionStore
from tchat.sessions.tool_steps import NO_RESULT
from tests.sessions.tool_turns import add_call_turn, add_result, call

A, B = call("a", "look", path="x"), call("b", "count")


def read(store: SessionStore, session_id: str) -> list[ChatMessage]:
    return messages_of_turn(store.branch(session_id))


def seen(messages: Sequence[ChatMessage]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (each.role, each.content, tuple(c.id for c in each.tool_calls) or (each.tool_call_id,))
        for each in messages
    ]


def broken_turn(
    store: SessionStore, calls: Sequence[ToolCall], results: Sequence[tuple[str, str]]
) -> list[ChatMessage]:
    """What the model reads of a question, a reply with calls, results by id, and a reply."""
    session, question = store.begin("look and count")
    parent = store.add(
        session.id, Role.ASSISTANT, "hm", parent_id=question.id, tool_calls=tuple(calls)
    )
    for call_id, text in results:
        parent = add_result(store, parent, call_id, text)
    store.add(session.id, Role.ASSISTANT, "done", parent_id=parent.id)
    return read(store, session.id)


def test_a_turn_with_calls_is_read_with_them(store: SessionStore) -> None:
    session, _ = store.begin("look")
    add_call_turn(store, session.id, "42")
    _, asked, result, answer = read(store, session.id)
    assert asked.tool_calls == (MessageCall("c1", "look", '{"path": "a.txt"}'),)
    assert (result.role, result.content) == ("tool", "42")
    assert (result.tool_name, result.tool_call_id) == ("look", "c1")
    assert answer == ChatMessage("assistant", "It is 42.")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([("a", "1"), ("b", "2")], [("a", "1"), ("b", "2")]),
        ([("b", "2"), ("a", "1")], [("a", "1"), ("b", "2")]),  # in the order of the calls
        ([("a", "1")], [("a", "1"), ("b", NO_RESULT)]),
        ([("b", "2")], [("a", NO_RESULT), ("b", "2")]),
        ([], [("a", NO_RESULT), ("b", NO_RESULT)]),
    ],
)
def test_every_call_has_a_result(
    store: SessionStore, results: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    _, asked, *rest, answer = broken_turn(store, [A, B], results)
    assert [each.id for each in asked.tool_calls] == ["a", "b"]
    assert [(each.tool_call_id, each.content) for each in rest] == expected
    assert answer.content == "done"


def test_every_result_has_a_call(store: SessionStore) -> None:
    messages = broken_turn(store, [A], [("a", "1"), ("z", "stray"), ("a", "again")])
    _, asked, *results, _ = messages
    assert [each.id for each in asked.tool_calls] == [each.tool_call_id for each in results]
    assert [each.content for each in results] == ["1", "stray", "again"]


def test_calls_of_one_id_get_their_results_in_order(store: SessionStore) -> None:
    twice = [call("x", "look", path="1"), call("x", "look", path="2")]
    _, asked, *results, _ = broken_turn(store, twice, [("x", "first"), ("x", "second")])
    assert [each.arguments for each in asked.tool_calls] == ['{"path": "1"}', '{"path": "2"}']
    assert [each.content for each in results] == ["first", "second"]


def test_a_result_that_follows_no_reply_gets_one(store: SessionStore) -> None:
    session, question = store.begin("look")
    store.add(session.id, Role.TOOL, "stray", parent_id=question.id)
    _, reply, result = read(store, session.id)
    assert (reply.role, reply.content, len(reply.tool_calls)) == ("assistant", "", 1)
    assert (result.role, result.content) == ("tool", "stray")
    assert result.tool_call_id == reply.tool_calls[0].id != ""


def turn_with_results(store: SessionStore) -> list[Message]:
    session, _ = store.begin("first")
    add_call_turn(store, session.id, "one")
    question = store.add(session.id, Role.USER, "second", parent_id=store.branch(session.id)[-1].id)
    add_call_turn(store, session.id, "two", parent_id=question.id)
    return store.branch(session.id)


def test_a_turn_is_a_question_with_all_that_comes_of_it(store: SessionStore) -> None:
    path = turn_with_results(store)
    branch = Branch(path)
    assert [[each.role for each in turn] for turn in branch.turns] == [
        ["user", "assistant", "tool", "assistant"]
    ] * 2
    assert branch.starts == [path[0].id, path[4].id]
    store.pin(path[6].id, True)
    assert Branch(store.path_to(path[-1].id)).pinned == {1}


def test_the_branch_around_a_message_ends_before_its_turn(store: SessionStore) -> None:
    path = turn_with_results(store)
    reader = BranchReader(store)
    for message, count in zip(path[4:], range(1, 5), strict=True):
        for known in (None, Branch(path)):
            before, turn = reader.around(message, known)
            assert before.ids == [each.id for each in path[:4]]
            assert turn == path[4 : 4 + count]


def test_a_new_prompt_follows_a_result_that_was_not_answered(store: SessionStore) -> None:
    path = turn_with_results(store)
    store.delete_message(path[-1].id)
    branch = Branch(store.branch(path[0].session_id))
    assert branch.last_reply == path[-2].id
    store.delete_message(path[-2].id)
    assert Branch(store.branch(path[0].session_id)).last_reply == path[-3].id


def test_another_reply_behind_a_result_keeps_the_result(store: SessionStore) -> None:
    path = turn_with_results(store)
    session = store.get(path[0].session_id)
    questions = Questions(store, BranchReader(store))
    question, asked, result, answer = path[4:]
    assert questions.find(session, None).message.id == result.id
    assert questions.find(session, answer.id).message.id == result.id
    assert questions.find(session, asked.id).message.id == question.id
    assert questions.find(session, result.id).message.id == result.id


def test_a_turn_that_was_broken_off_goes_on_where_it_ended(store: SessionStore) -> None:
    path = turn_with_results(store)
    session = store.get(path[0].session_id)
    questions = Questions(store, BranchReader(store))
    assert questions.find_continued(session, None).reply_start
    store.delete_message(path[-1].id)
    found = questions.find_continued(session, None)
    assert (found.message.id, found.reply_start) == (path[-2].id, ())
    store.delete_message(path[-2].id)
    found = questions.find_continued(session, None)
    assert (found.message.id, found.reply_start) == (path[-3].id, ())


def test_a_result_cannot_be_edited_and_an_edited_reply_calls_nothing(store: SessionStore) -> None:
    path = turn_with_results(store)
    session = store.get(path[0].session_id)
    questions = Questions(store, BranchReader(store))
    with pytest.raises(UsageError, match="result of a tool cannot be edited"):
        questions.edit(session, path[-2].id, "43")
    edited = questions.edit(session, path[-3].id, "I know it.").message
    assert (edited.by_person, edited.tool_calls) == (True, ())
    assert store.branch(session.id)[-1] == edited


def test_a_stopped_result_is_read_like_others(store: SessionStore) -> None:
    session, question = store.begin("look")
    asked = store.add(session.id, Role.ASSISTANT, "", parent_id=question.id, tool_calls=(A,))
    store.add(
        session.id,
        Role.TOOL,
        "stopped by the user",
        parent_id=asked.id,
        status=Status.STOPPED,
        tool_outcome=ToolOutcome(call_id="a", name="look", state=ToolState.STOPPED),
    )
    assert seen(read(store, session.id)) == [
        ("user", "look", ("",)),
        ("assistant", "", ("a",)),
        ("tool", "stopped by the user", ("a",)),
    ]
