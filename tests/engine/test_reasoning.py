"""Reasoning marks: found where a model writes them, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.engine.reasoning import Block, Kind, Marks, Phase, ReasoningSplitter, marks_for

NO_SPECIALS: frozenset[str] = frozenset()
COMMON = marks_for("", NO_SPECIALS)
HARMONY = marks_for("<|start|>assistant<|channel|>analysis<|message|>", NO_SPECIALS)
FAMILIES = [COMMON, HARMONY, marks_for("<response></response> [THINK] <channel|>", NO_SPECIALS)]


def split(
    chunks: Iterable[str], marks: Marks = COMMON, phase: Phase = Phase.START
) -> list[tuple[Kind, str]]:
    splitter = ReasoningSplitter(marks, phase)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    return pieces + splitter.close()


def told(pieces: list[tuple[Kind, str]]) -> tuple[str, str]:
    """Reasoning and answer."""
    by_kind = {kind: "".join(text for k, text in pieces if k is kind) for kind in Kind}
    return by_kind[Kind.REASONING], by_kind[Kind.ANSWER]


@pytest.mark.parametrize(
    ("source", "reply", "reasoning", "answer"),
    [
        ("", "<think>\nHm.\n</think>\n\nYes.", "Hm.\n", "Yes."),
        ("", "\n<thinking>Hm.</thinking>Yes.", "Hm.", "Yes."),
        ("", "<reasoning>Hm.</reasoning> Yes.", "Hm.", "Yes."),
        ("[THINK]", "[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."),
        ("<|END_THINKING|>", "<|START_THINKING|>Hm.<|END_THINKING|>Yes.", "Hm.", "Yes."),
        ("<seed:think>", "<seed:think>Hm.</seed:think>Yes.", "Hm.", "Yes."),
        ("'<|channel>thought\\n'", "<|channel>thought\nHm.\n<channel|>Yes.", "Hm.\n", "Yes."),
        (
            "<response></response>",
            "<think>Hm.</think>\n<response>Yes.</response>\n",
            "Hm.",
            "Yes.",
        ),
        (
            "<|channel|> <|message|>",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
            "<|channel|>final<|message|>Yes.",
            "Hm.",
            "Yes.",
        ),
        (
            "'<|open|>' <|sep|>",
            "<|open|>think<|sep|>Hm.<|close|>think<|sep|><|open|>response<|sep|>Yes."
            "<|close|>response<|sep|>",
            "Hm.",
            "Yes.",
        ),
        ("<|begin|>assistant<|think|>", "<|think|>Hm.<|end|><|begin|>assistant<|content|>Yes.",
         "Hm.", "Yes."),
    ],
)  # fmt: skip
def test_each_family_is_split(source: str, reply: str, reasoning: str, answer: str) -> None:
    assert told(split([reply], marks_for(source, NO_SPECIALS))) == (reasoning, answer)


def test_a_mark_later_in_the_answer_is_text() -> None:
    reply = "Models write <think>…</think> around their reasoning."

    assert told(split([reply])) == ("", reply)


def test_a_closing_mark_of_another_family_does_not_close() -> None:
    assert told(split(["<think>a</thinking>b</think>c"])) == ("a</thinking>b", "c")


def test_a_second_block_right_after_the_first_is_reasoning_too() -> None:
    assert told(split(["<think>a</think>\n<think>b</think>\nc"])) == ("ab", "c")


def test_a_reply_that_starts_inside_needs_no_opening_mark() -> None:
    assert told(split(["Hm.</think>Yes."], phase=Phase.REASONING)) == ("Hm.", "Yes.")


def test_an_answer_that_is_continued_has_no_reasoning() -> None:
    assert told(split(["<think> is a tag"], phase=Phase.ANSWER)) == ("", "<think> is a tag")


def test_an_unclosed_block_is_reasoning_to_the_end() -> None:
    assert told(split(["<think>Hm. Well</thi"])) == ("Hm. Well</thi", "")


def test_a_mark_that_was_only_begun_is_text() -> None:
    assert told(split([" <thi"])) == ("", " <thi")


@pytest.mark.parametrize("chunk", ["Sky", " blue", "a < b", "1"])
def test_text_that_cannot_be_a_mark_passes_at_once(chunk: str) -> None:
    assert ReasoningSplitter(COMMON).feed(chunk) == [(Kind.ANSWER, chunk)]


def test_inside_a_block_no_more_than_a_mark_is_held_back() -> None:
    splitter = ReasoningSplitter(COMMON)
    splitter.feed("<think>")

    assert splitter.feed("a < b </thin") == [(Kind.REASONING, "a < b ")]


def test_whitespace_without_end_is_not_held_back_for_ever() -> None:
    splitter = ReasoningSplitter(COMMON)

    assert [piece for _ in range(100) for piece in splitter.feed("\n")]


@pytest.mark.parametrize(
    ("prompt", "inside"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n<think>", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>assistant\n", False),
    ],
)
def test_a_prompt_that_ends_with_an_opening_mark_is_inside(prompt: str, inside: bool) -> None:
    assert COMMON.opened_by(prompt) is inside


def test_control_tokens_that_marks_are_made_of_are_named() -> None:
    specials = frozenset({"<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"})

    assert HARMONY.controls(specials) == {"<|channel|>", "<|message|>", "<|end|>"}
    assert COMMON.controls(frozenset({"<think>", "<s>", "</think>"})) == {"<think>", "</think>"}


def test_rare_marks_count_where_the_vocabulary_has_them() -> None:
    block = Block("[THINK]", "[/THINK]")

    assert block in marks_for("", frozenset({"[THINK]", "[/THINK]"})).blocks
    assert block not in COMMON.blocks


MARKS = sorted(
    {text for marks in FAMILIES for b in marks.blocks for text in (b.opening, b.closing)}
    | {text for marks in FAMILIES for text in (*marks.headers, *marks.ends)}
)
REPLIES = st.lists(
    st.one_of(
        st.sampled_from(MARKS),
        st.sampled_from(MARKS).map(lambda mark: mark[:-2]),
        st.sampled_from([" ", "\n", " " * 40, "a", "word. ", "<", "é", "日"]),
    ),
    max_size=12,
).map("".join)


@given(REPLIES, st.sampled_from(FAMILIES), st.sampled_from(list(Phase)), st.data())
def test_pieces_are_the_input_however_it_is_cut(
    reply: str, marks: Marks, phase: Phase, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=8)))
    ends = zip([0, *cuts], [*cuts, len(reply)], strict=True)
    pieces = split((reply[start:end] for start, end in ends), marks, phase)

    assert "".join(text for _, text in pieces) == reply
    assert told(pieces) == told(split([reply], marks, phase))
    assert told(pieces) == told(split(reply, marks, phase))
