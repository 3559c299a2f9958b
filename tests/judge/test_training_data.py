"""Dialogues in the shapes that data sets come in, and feedback as examples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.judge.training_data import (
    Dialogue,
    Feedback,
    PreferencePair,
    read_dialogues,
    read_feedback,
)
from tchat.sessions.records import Message, Role
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.tool_turns import add_call_turn, call

EXPECTED = Dialogue("Why is the sky blue?", "Because air scatters blue light most.")
PROMPT, REPLY = EXPECTED.prompt, EXPECTED.reply


def written(tmp_path: Path, *rows: object, name: str = "data.jsonl") -> Path:
    path = tmp_path / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": PROMPT, "reply": REPLY},
        {"prompt": PROMPT, "response": f" {REPLY}\n"},
        {"instruction": PROMPT, "input": "", "output": REPLY},
        {"instruction": PROMPT, "instances": [{"input": "", "output": REPLY}]},
        {"conversations": [{"from": "human", "value": PROMPT}, {"from": "gpt", "value": REPLY}]},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": PROMPT},
                {"role": "assistant", "content": REPLY},
                {"role": "user", "content": "And at dusk?"},
            ]
        },
    ],
)
def test_known_shapes(tmp_path: Path, row: object) -> None:
    assert read_dialogues([written(tmp_path, row)]).dialogues == (EXPECTED,)


def test_an_input_follows_its_instruction(tmp_path: Path) -> None:
    row = {"instruction": "Translate.", "input": "Hallo", "output": "Hello"}
    data = read_dialogues([written(tmp_path, row)])
    assert data.dialogues == (Dialogue("Translate.\n\nHallo", "Hello"),)


def test_files_are_joined_without_duplicates(tmp_path: Path) -> None:
    row = {"prompt": PROMPT, "reply": REPLY}
    one = written(tmp_path, row, row, name="a.jsonl")
    other = written(tmp_path, row, {"prompt": "p", "reply": "r"}, name="b.jsonl")
    assert read_dialogues([one, other]).dialogues == (EXPECTED, Dialogue("p", "r"))


def test_a_reply_before_the_first_prompt_answers_something_else(tmp_path: Path) -> None:
    greeting = {"from": "gpt", "value": "Hello, how can I help?"}
    asked = [{"from": "human", "value": PROMPT}, {"from": "gpt", "value": REPLY}]
    path = written(tmp_path, {"conversations": [greeting, *asked]})
    assert read_dialogues([path]).dialogues == (EXPECTED,)


def test_a_byte_order_mark_costs_no_line(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_text(json.dumps({"prompt": PROMPT, "reply": REPLY}), encoding="utf-8-sig")
    assert read_dialogues([path]).dialogues == (EXPECTED,)


def test_lines_without_a_dialogue_are_counted(tmp_path: Path) -> None:
    bad = ["{", "[]", "7", "null", {"prompt": 1, "reply": 2}, {"prompt": "", "reply": "x"}]
    bad += [{"conversations": "no"}, {"instances": [3], "instruction": "a"}, "[" * 5000]
    bad += [{"conversations": [{"from": ["human"], "value": "a"}, {"from": {}, "value": "b"}]}]
    bad += [{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}]
    path = written(tmp_path, *bad, {"prompt": PROMPT, "reply": REPLY})
    data = read_dialogues([path])
    assert (data.dialogues, data.skipped) == ((EXPECTED,), len(bad))


def test_the_hash_tells_the_dialogues(tmp_path: Path) -> None:
    one = read_dialogues([written(tmp_path, {"prompt": "a", "reply": "b"})])
    same = read_dialogues([written(tmp_path, {"instruction": "a", "output": "b"})])
    other = read_dialogues(
        [written(tmp_path, {"prompt": "ab", "reply": ""}, {"prompt": "a", "reply": "c"})]
    )
    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00\xff\n", b'{"a": 1}\n'])
def test_a_file_without_dialogues_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"data\.jsonl holds no dialogue"):
        read_dialogues([path])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_dialogues([path])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="cannot be read: it is a pipe or a device"):
        read_dialogues([path])


def test_lines_that_are_not_utf8_hold_no_dialogue(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    line = '{"prompt": "Größe?", "reply": "schön"}\n'
    path.write_bytes(line.encode() + line.encode("latin-1"))
    data = read_dialogues([path])
    assert [(each.prompt, each.reply) for each in data.dialogues] == [("Größe?", "schön")]
    assert data.skipped == 1


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"prompt": "' + b"a" * (2 << 20))
    with pytest.raises(UsageError, match="has a line of over"):
        read_dialogues([path])


@pytest.fixture
def store() -> Iterator[SessionStore]:
    with SessionStore.in_memory() as opened:
        yield opened


def replies(store: SessionStore, question: str, *texts: str) -> list[Message]:
    session = new_session(store, title=question, system="Be brief.")
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
    assert [m.content for m in first.chosen.messages] == ["Be brief.", "q0"]
    assert [m.content for m in second.rejected.messages] == ["Be brief.", "q2"]


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
    assert [m.content for m in choice.chosen.messages] == ["Be brief.", "first", "one", "second"]


def test_examples_go_with_their_session(store: SessionStore) -> None:
    a, b = replies(store, "q", "a", "b")
    store.pick(b.id)
    assert read_feedback(store).picked == 1
    store.delete(a.session_id)
    assert read_feedback(store) == Feedback()


def test_steps_and_results_of_tools_are_no_replies_to_learn_from(store: SessionStore) -> None:
    session, question = store.begin("how many?")
    asked, result, answer = add_call_turn(store, session.id, "42")
    direct = store.add(session.id, Role.ASSISTANT, "No idea.", parent_id=question.id)
    spoken = store.add(
        session.id,
        Role.ASSISTANT,
        "Let me count.",
        parent_id=question.id,
        tool_calls=(call("c", "count"),),
    )
    for each in (asked, spoken, result):
        store.rate(each.id, 1)
    store.pick(spoken.id)
    store.rate(direct.id, -1)
    assert pairs(read_feedback(store)) == []
    other = store.add(session.id, Role.ASSISTANT, "It is 41.", parent_id=result.id)
    store.rate(answer.id, 1)
    [choice] = [each for each in read_feedback(store).choices if each.question == result.id]
    assert (choice.chosen.text, choice.rejected.text) == (answer.text, other.text)
    shown = choice.chosen.messages
    assert [each.role for each in shown] == ["user", "assistant", "tool"]
    assert [each.id for each in shown[1].tool_calls] == [shown[2].tool_call_id]
