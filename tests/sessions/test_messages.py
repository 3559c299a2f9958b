"""The tree of messages: adding, growing, branching, deleting."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.errors import UsageError
from tchat.sessions.records import Message, Role, Session, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.trees import insert_tree


@pytest.fixture
def session(store: SessionStore) -> Session:
    return new_session(store)


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def user(store: SessionStore, session: Session, text: str, parent: Message | None) -> Message:
    return store.add(session.id, Role.USER, text, parent_id=parent.id if parent else None)


def test_a_message_holds_its_provenance(store: SessionStore, session: Session) -> None:
    before = time.time()
    added = store.add(
        session.id,
        Role.ASSISTANT,
        "Because.",
        parent_id=None,
        reasoning="hm",
        model="starter",
        model_sha256="ab" * 32,
        quantization="Q4_1",
        template_hash="cd",
        sampling={"temp": 0.7, "seed": 4294967294, "stop": ("x", "y")},
        usage={"prompt": 10, "completion": 3},
        timings={"read": 0.5},
        finish_reason="stop",
    )
    assert store.message(added.id) == added
    assert added.sampling == {"temp": 0.7, "seed": 4294967294, "stop": ["x", "y"]}
    assert (added.usage, added.timings) == ({"prompt": 10, "completion": 3}, {"read": 0.5})
    assert (added.status, added.role, added.reasoning) == (Status.DONE, Role.ASSISTANT, "hm")
    assert (added.model, added.quantization, added.finish_reason) == ("starter", "Q4_1", "stop")
    assert (added.model_sha256, added.template_hash) == ("ab" * 32, "cd")
    assert before <= added.created_at <= time.time()
    assert store.get(session.id).updated_at == added.created_at


def test_what_is_not_known_is_empty(store: SessionStore, session: Session) -> None:
    added = user(store, session, "q", None)
    assert (added.model, added.model_sha256, added.template_hash) == ("", "", "")
    assert (added.sampling, added.usage, added.timings, added.reasoning) == ({}, {}, {}, "")


def test_the_branch_follows_the_newest_message(store: SessionStore, session: Session) -> None:
    assert store.branch(session.id) == []
    one = user(store, session, "1", None)
    two = user(store, session, "2", one)
    user(store, session, "3", two)
    assert texts(store.branch(session.id)) == ["1", "2", "3"]
    user(store, session, "2b", one)
    assert texts(store.branch(session.id)) == ["1", "2b"]
    user(store, session, "1b", None)
    assert texts(store.branch(session.id)) == ["1b"]


def test_activating_shows_another_branch_down_to_its_leaf(
    store: SessionStore, session: Session
) -> None:
    one = user(store, session, "1", None)
    two = user(store, session, "2", one)
    user(store, session, "3", two)
    user(store, session, "2b", one)
    user(store, session, "1b", None)
    store.activate(two.id)
    assert texts(store.branch(session.id)) == ["1", "2", "3"]


def test_the_path_to_a_message_need_not_be_the_active_one(
    store: SessionStore, session: Session
) -> None:
    one = user(store, session, "1", None)
    two = user(store, session, "2", one)
    three = user(store, session, "3", two)
    user(store, session, "2b", one)
    assert texts(store.path_to(three.id)) == ["1", "2", "3"]
    assert texts(store.path_to(one.id)) == ["1"]
    assert texts(store.branch(session.id)) == ["1", "2b"]


def test_siblings_are_the_versions_of_one_place(store: SessionStore, session: Session) -> None:
    other = new_session(store)
    user(store, other, "elsewhere", None)
    one = user(store, session, "1", None)
    edited = user(store, session, "1b", None)
    two = user(store, session, "2", one)
    assert texts(store.siblings(edited.id)) == ["1", "1b"]
    assert texts(store.siblings(two.id)) == ["2"]


def test_a_message_below_one_of_another_session_is_refused(
    store: SessionStore, session: Session
) -> None:
    foreign = user(store, new_session(store), "q", None)
    with pytest.raises(UsageError, match="belongs to session"):
        user(store, session, "a", foreign)
    assert store.branch(session.id) == []


def test_an_unknown_message_is_refused(store: SessionStore, session: Session) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.message(7),
        lambda: store.siblings(7),
        lambda: store.activate(7),
        lambda: store.path_to(7),
        lambda: store.delete_message(7),
        lambda: store.journal(7, "x"),
        lambda: store.finish(7, status=Status.DONE, text="x"),
        lambda: store.add(session.id, Role.USER, "x", parent_id=7),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="no message 7"):
            call()


def test_a_reply_grows_and_ends(store: SessionStore, session: Session) -> None:
    asked = user(store, session, "q", None)
    reply = store.add(
        session.id,
        Role.ASSISTANT,
        "",
        parent_id=asked.id,
        status=Status.STREAMING,
        model="starter",
        sampling={"seed": 1},
    )
    store.journal(reply.id, "Bec", "thi")
    grown = store.message(reply.id)
    assert (grown.text, grown.reasoning, grown.status) == ("Bec", "thi", Status.STREAMING)
    ended = store.finish(
        reply.id,
        status=Status.STOPPED,
        text="Because",
        reasoning="think",
        usage={"completion": 2},
        finish_reason="cancelled",
        sampling={"seed": 2},
    )
    assert store.branch(session.id)[-1] == ended
    assert (ended.text, ended.reasoning, ended.status) == ("Because", "think", Status.STOPPED)
    assert (ended.usage, ended.finish_reason) == ({"completion": 2}, "cancelled")
    assert (ended.model, ended.sampling) == ("starter", {"seed": 2})


def test_only_a_growing_reply_is_journaled(store: SessionStore, session: Session) -> None:
    done = user(store, session, "q", None)
    with pytest.raises(UsageError, match="is not being written"):
        store.journal(done.id, "overwritten")
    assert store.message(done.id).text == "q"


def test_a_reply_that_was_deleted_while_it_grew_is_not_written(
    store: SessionStore, session: Session
) -> None:
    reply = store.add(session.id, Role.ASSISTANT, "", parent_id=None, status=Status.STREAMING)
    store.delete(session.id)
    with pytest.raises(UsageError, match="no message"):
        store.journal(reply.id, "x")
    with pytest.raises(UsageError, match="no message"):
        store.finish(reply.id, status=Status.DONE, text="x")


def test_deleting_a_message_takes_what_is_below_it(store: SessionStore, session: Session) -> None:
    one = user(store, session, "1", None)
    two = user(store, session, "2", one)
    user(store, session, "3", two)
    user(store, session, "2b", one)
    third = user(store, session, "2c", one)
    store.activate(two.id)
    deleted = store.delete_message(two.id)
    assert len(deleted.rows) == 2
    assert texts(store.branch(session.id)) == ["1", "2c"]
    store.delete_message(third.id)
    assert texts(store.branch(session.id)) == ["1", "2b"]
    store.restore(deleted)
    assert texts(store.branch(session.id)) == ["1", "2", "3"]
    store.delete_message(one.id)
    assert store.branch(session.id) == []
    assert store.get(session.id).messages == 0


def test_deleting_an_inactive_message_keeps_the_path(store: SessionStore, session: Session) -> None:
    one = user(store, session, "1", None)
    aside = user(store, session, "2", one)
    user(store, session, "2b", one)
    store.delete_message(aside.id)
    assert texts(store.branch(session.id)) == ["1", "2b"]


def test_what_hangs_on_nothing_is_not_restored(store: SessionStore, session: Session) -> None:
    one = user(store, session, "1", None)
    two = user(store, session, "2", one)
    deleted = store.delete_message(two.id)
    store.delete_message(one.id)
    with pytest.raises(UsageError, match="cannot be restored"):
        store.restore(deleted)
    store.delete(session.id)
    with pytest.raises(UsageError, match="no session"):
        store.restore(deleted)


def test_ids_are_not_given_out_twice(store: SessionStore, session: Session) -> None:
    first = user(store, session, "1", None)
    deleted = store.delete_message(first.id)
    second = user(store, session, "2", None)
    assert second.id > first.id
    store.restore(deleted)
    assert texts(store.siblings(second.id)) == ["1", "2"]


PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LONE = re.compile("[\ud800-\udfff]")


def joined(pair: re.Match[str]) -> str:
    high, low = map(ord, pair.group())
    return chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00)


@given(st.text(st.characters(exclude_categories=[])), st.text())
def test_every_text_comes_back(text: str, reasoning: str) -> None:
    """NUL and noncharacters as they are; a lone surrogate as U+FFFD."""
    expected = LONE.sub("\ufffd", PAIR.sub(joined, text))
    with SessionStore.in_memory() as store:
        session = new_session(store, title=text, settings={"x": [text]})
        added = store.add(session.id, Role.USER, text, parent_id=None, reasoning=reasoning)
        read = store.message(added.id)
        assert (read.text, read.reasoning) == (expected, reasoning)
        assert store.get(session.id).title == expected
        assert store.get(session.id).settings == {"x": [expected]}


def test_halves_that_belong_together_become_their_character(
    store: SessionStore, session: Session
) -> None:
    assert user(store, session, "\ud83e\udd8a \ud83e", None).text == "🦊 \ufffd"


def test_records_cannot_be_changed(store: SessionStore, session: Session) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.title = "x"  # type: ignore[misc]


steps = st.lists(
    st.tuples(st.sampled_from(["add", "root", "activate", "delete"]), st.integers(0, 30)),
    max_size=25,
)


@settings(max_examples=60)
@given(steps)
def test_the_active_path_always_leads_to_a_leaf(steps: list[tuple[str, int]]) -> None:
    with SessionStore.in_memory() as store:
        session = new_session(store)
        for action, choice in steps:
            messages = store.tree(session.id).messages
            chosen = messages[choice % len(messages)] if messages else None
            if action == "root" or chosen is None:
                expected = user(store, session, "r", None)
                assert store.branch(session.id)[-1].id == expected.id
            elif action == "add":
                user(store, session, "m", chosen)
            elif action == "activate":
                store.activate(chosen.id)
                assert chosen.id in {message.id for message in store.branch(session.id)}
            else:
                store.delete_message(chosen.id)
            check_tree(store, session)


def check_tree(store: SessionStore, session: Session) -> None:
    tree = store.tree(session.id)
    branch = store.branch(session.id)
    parents = [None, *(message.id for message in branch)]
    assert [message.parent_id for message in branch] == parents[:-1]
    assert bool(branch) == bool(tree.messages)
    # The path ends only where there is nothing below.
    assert parents[-1] is None or parents[-1] not in {m.parent_id for m in tree.messages}
    groups = {message.parent_id for message in tree.messages}
    assert len(tree.active) == len(groups)


def test_a_message_is_pinned_until_it_is_no_more(store: SessionStore, session: Session) -> None:
    question = store.add(session.id, Role.USER, "keep this", parent_id=None)
    assert not question.pinned
    assert store.pin(question.id, True).pinned
    assert [m.pinned for m in store.branch(session.id)] == [True]
    store.restore(store.delete_message(question.id))
    assert store.message(question.id).pinned
    (copied,) = store.branch(insert_tree(store, store.tree(session.id)).id)
    assert copied.pinned
    assert not store.pin(question.id, False).pinned
    with pytest.raises(UsageError, match="no message 99"):
        store.pin(99, True)


def test_the_end_of_a_branch_is_what_the_whole_ends_with(
    store: SessionStore, session: Session
) -> None:
    parent = None
    for number in range(6):
        parent = user(store, session, f"{number}", parent)
    whole = store.branch(session.id)
    assert texts(whole) == ["0", "1", "2", "3", "4", "5"]
    assert store.branch(session.id, last=2) == whole[-2:]
    assert store.branch(session.id, last=9) == whole


def test_the_last_model_is_that_of_the_active_path(store: SessionStore, session: Session) -> None:
    assert store.last_model(session.id) == ""
    asked = user(store, session, "q", None)
    first = store.add(session.id, Role.ASSISTANT, "a", parent_id=asked.id, model="one")
    store.add(session.id, Role.ASSISTANT, "b", parent_id=asked.id, model="two")
    assert store.last_model(session.id) == "two"
    store.activate(first.id)
    user(store, session, "and?", first)
    assert store.last_model(session.id) == "one"
