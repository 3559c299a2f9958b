"""What was made of replies, as examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tchat.judge.feedback import Feedback, PreferencePair, read_feedback
from tchat.sessions.records import Message, Role
from tchat.sessions.store import SessionStore


@pytest.fixture
def store() -> Iterator[SessionStore]:
    with SessionStore.in_memory() as opened:
        yield opened


def replies(store: SessionStore, question: str, *texts: str) -> list[Message]:
    session = store.create(title=question, system="Be brief.")
    asked = store.add(session.id, Role.USER, question, parent_id=None)
    return [
        store.add(session.id, Role.ASSISTANT, text, parent_id=asked.id, model="m", model_sha256="f")
        for text in texts
    ]


def pairs(use: Feedback) -> list[tuple[str, str]]:
    return [(each.chosen.text, each.rejected.text) for each in use.choices]


def test_nothing_is_learnt_from_replies_alone(store: SessionStore) -> None:
    replies(store, "q", "a", "b")
    assert read_feedback(store) == Feedback()


def test_the_picked_one_was_preferred_to_those_that_were_there(store: SessionStore) -> None:
    a, b, _ = replies(store, "q", "a", "b", "c")
    store.pick(b.id)
    later = store.add(a.session_id, Role.ASSISTANT, "later", parent_id=a.parent_id)
    assert pairs(read_feedback(store)) == [("b", "a"), ("b", "c")]
    store.rate(later.id, -1)
    assert ("b", "later") in pairs(read_feedback(store))


def test_a_reply_that_is_good_as_well_stands_above_later_ones_too(store: SessionStore) -> None:
    a, b = replies(store, "q", "a", "b")
    store.pick(b.id)
    store.rate(b.id, 1)
    store.add(a.session_id, Role.ASSISTANT, "later", parent_id=a.parent_id)
    assert pairs(read_feedback(store)) == [("b", "a"), ("b", "later")]


def test_good_stands_above_unsaid_above_bad(store: SessionStore) -> None:
    a, _, c = replies(store, "q", "a", "b", "c")
    store.rate(a.id, -1)
    store.rate(c.id, 1)
    use = read_feedback(store)
    assert sorted(pairs(use)) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert (use.liked, use.disliked, use.picked, use.written) == (1, 1, 0, 0)


def test_what_was_rated_alone_is_held_against_another_question(store: SessionStore) -> None:
    [good], [bad], [worse] = (replies(store, f"q{n}", f"r{n}") for n in range(3))
    store.rate(good.id, 1)
    assert read_feedback(store).choices == ()
    store.rate(bad.id, -1)
    store.rate(worse.id, -1)
    first, second = read_feedback(store).choices
    assert pairs(read_feedback(store)) == [("r0", "r1"), ("r0", "r2")]
    assert [m.content for m in first.chosen.asked] == ["Be brief.", "q0"]
    assert [m.content for m in second.rejected.asked] == ["Be brief.", "q2"]


def test_a_reply_by_hand_is_a_persons_and_preferred(store: SessionStore) -> None:
    [a] = replies(store, "q", "the reply")
    store.add(a.session_id, Role.ASSISTANT, "my reply", parent_id=a.parent_id, by_person=True)
    use = read_feedback(store)
    [edit] = use.edits
    assert (edit.person, edit.generated) == ("my reply", "the reply")
    assert (edit.model, edit.model_sha256) == ("m", "f")
    assert pairs(use) == [("my reply", "the reply")]
    assert use.written == 1


def test_a_reply_that_was_left_as_it_was_teaches_nothing(store: SessionStore) -> None:
    [a] = replies(store, "q", "the reply")
    store.add(a.session_id, Role.ASSISTANT, "the reply", parent_id=a.parent_id, by_person=True)
    use = read_feedback(store)
    assert (use.edits, use.choices) == ((), ())


def test_the_chat_before_the_question_is_part_of_it(store: SessionStore) -> None:
    [a] = replies(store, "first", "one")
    asked = store.add(a.session_id, Role.USER, "second", parent_id=a.id)
    two, _ = (
        store.add(a.session_id, Role.ASSISTANT, text, parent_id=asked.id) for text in ("x", "y")
    )
    store.pick(two.id)
    store.add(a.session_id, Role.ASSISTANT, "z", parent_id=asked.id)
    [choice] = read_feedback(store).choices
    assert isinstance(choice, PreferencePair)
    assert [m.content for m in choice.chosen.asked] == ["Be brief.", "first", "one", "second"]


def test_examples_go_with_their_session(store: SessionStore) -> None:
    a, b = replies(store, "q", "a", "b")
    store.pick(b.id)
    assert read_feedback(store).picked == 1
    store.delete(a.session_id)
    assert read_feedback(store) == Feedback()
