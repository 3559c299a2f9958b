"""Reasoning marks: found where a model writes them, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.engine.prompt.message_formats import MarkFinder
from tchat.engine.prompt.reasoning import (
    PieceKind,
    ReasoningSplitter,
    ReplyMarks,
    ReplyPhase,
    marks_for,
)
from tchat.engine.reply_state import ReplyText

NO_SPECIALS: frozenset[str] = frozenset()
COMMON = marks_for("", NO_SPECIALS)
HARMONY = marks_for("<|start|>assistant<|channel|>analysis<|message|>", NO_SPECIALS)
MUSE = marks_for("<|start|>assistant to=self<|message|>a<|eom|>", NO_SPECIALS)
SOLAR = marks_for("<|begin|>assistant<|think|>", NO_SPECIALS)
KIMI_K3 = marks_for("{{ '<|open|>' + tag + '<|sep|>' }}", NO_SPECIALS)
GEMMA_4 = marks_for("<|channel>thought", NO_SPECIALS)
APRIEL = marks_for("Here are my reasoning steps:\n[BEGIN FINAL RESPONSE]", NO_SPECIALS)
FUNCTIONARY = marks_for(r"{{ '>>>all\n' + content }}", NO_SPECIALS)
COMMAND = marks_for("<|START_THINKING|><|START_RESPONSE|>", NO_SPECIALS)
HUNYUAN = marks_for("<answer>", NO_SPECIALS)
BLOCKS = marks_for("<response></response> [THINK]", NO_SPECIALS)
FAMILIES = [
    COMMON, HARMONY, MUSE, SOLAR, KIMI_K3, GEMMA_4, APRIEL, FUNCTIONARY, COMMAND, HUNYUAN, BLOCKS
]  # fmt: skip


def split(
    chunks: Iterable[str], marks: ReplyMarks = COMMON, phase: ReplyPhase = ReplyPhase.START
) -> list[tuple[PieceKind, str]]:
    splitter = ReasoningSplitter(marks, phase)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    return pieces + splitter.close()


def told(pieces: list[tuple[PieceKind, str]]) -> tuple[str, str]:
    """Reasoning and answer."""
    by_kind = {kind: "".join(text for k, text in pieces if k is kind) for kind in PieceKind}
    return by_kind[PieceKind.REASONING], by_kind[PieceKind.ANSWER]


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
    assert told(split(["Hm.</think>Yes."], phase=ReplyPhase.REASONING)) == ("Hm.", "Yes.")


def test_an_answer_that_is_continued_has_no_reasoning() -> None:
    assert told(split(["<think> is a tag"], phase=ReplyPhase.ANSWER)) == ("", "<think> is a tag")


def test_an_unclosed_block_is_reasoning_to_the_end() -> None:
    assert told(split(["<think>Hm. Well</thi"])) == ("Hm. Well</thi", "")


def test_a_mark_that_was_only_begun_is_text() -> None:
    assert told(split([" <thi"])) == ("", " <thi")


@pytest.mark.parametrize("chunk", ["Sky", " blue", "a < b", "1"])
def test_text_that_cannot_be_a_mark_passes_at_once(chunk: str) -> None:
    assert ReasoningSplitter(COMMON).feed(chunk) == [(PieceKind.ANSWER, chunk)]


def test_inside_a_block_no_more_than_a_mark_is_held_back() -> None:
    splitter = ReasoningSplitter(COMMON)
    splitter.feed("<think>")

    assert splitter.feed("a < b </thin") == [(PieceKind.REASONING, "a < b ")]


def test_whitespace_without_end_is_not_held_back_for_ever() -> None:
    splitter = ReasoningSplitter(COMMON)

    assert [piece for _ in range(100) for piece in splitter.feed("\n")]


FINAL = "<|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("marks", "reply", "reasoning", "answer"),
    [
        # gpt-oss: headers with recipients, types, and what goes wrong in them
        (HARMONY, "<|channel|>final<|message|>Yes.", "", "Yes."),
        (HARMONY, "<|channel|>commentary<|message|>First…<|end|>" + FINAL + "Yes.", "",
         "First…Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final "
         "<|constrain|>json<|message|>{}", "Hm.", "{}"),
        (HARMONY, "<|channel|>final json<|message|>{}", "", "{}"),
        (HARMONY, "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm.<|end|>"
         + FINAL + "Yes.", "Hm.", "Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary"
         "<|channel|>final<|message|>Yes.<|return|>", "Hm.", "Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary"
         " to=python <|constrain|>code<|message|>print(1)<|call|>", "Hm.", ""),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=container.exec"
         "<|channel|>commentary<|message|>ls", "Hm.", ""),
        (HARMONY, " to=browser.search<|channel|>analysis code<|message|>{}<|call|>", "", ""),
        (HARMONY, "<|channel|>analysis to=python code<|message|>1<|end|>" + FINAL + "Yes.", "",
         "Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final<|message|>"
         "Yes.", "Hm.", "Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>Yes.", "Hm.",
         "Yes."),
        (HARMONY, "<|channel|>analysis<|message|>Hm.<|end|>Yes.", "Hm.", "Yes."),
        (HARMONY, "<|channel|>analysis<|end|>" + FINAL + "Yes.", "", "Yes."),
        (HARMONY, "<|message|>Yes.", "", "Yes."),
        (HARMONY, "Yes, to=all.", "", "Yes, to=all."),
        (HARMONY, "<|channel|>final\n\nYes, they are.", "", "Yes, they are."),
        (HARMONY, "<|channel|>final Yes, they are.", "", "Yes, they are."),
        (HARMONY, "<|start|>assistant<|message|>Yes.", "", "Yes."),
        (HARMONY, FINAL + "Yes.<|end|><|start|>user<|message|>And now?", "", "Yes."),
        (HARMONY, "<|channel|>ana", "", ""),
        # muse-glimmer
        (MUSE, " to=user<|message|>Yes.<|eot|>", "", "Yes."),
        (MUSE, " to=self<|message|>Hm.<|eom|><|start|>assistant to=user<|message|>Yes.", "Hm.",
         "Yes."),
        (MUSE, "<|message|>Yes.", "", "Yes."),
        (MUSE, " to=user<|message|>Yes.<|eom|><|start|>assistant to=get_time<|message|><x>", "",
         "Yes."),
        # Solar
        (SOLAR, "<|content|>Yes.<|end|>", "", "Yes."),
        (SOLAR, "<|think|>Hm.<|end|><|begin|>assistant<|tool_calls|>x<|calls|>", "Hm.", ""),
        # Kimi K3
        (KIMI_K3, "<|open|>response<|sep|>Yes.<|close|>response<|sep|><|close|>message<|sep|>", "",
         "Yes."),
        (KIMI_K3, "Yes.<|close|>response<|sep|><|close|>message<|sep|><|end_of_msg|>", "", "Yes."),
        (KIMI_K3, "<|open|>think<|sep|>Hm.<|open|>response<|sep|>Yes.", "Hm.", "Yes."),
        (KIMI_K3, '<|open|>message role="assistant"<|sep|><|open|>response<|sep|>Yes.', "",
         "Yes."),
        (KIMI_K3, '<|open|>response<|sep|>Yes.<|close|>response<|sep|><|open|>tools<|sep|>'
         '<|open|>call tool="f" index="1"<|sep|><|open|>argument key="a" type="number"<|sep|>1'
         "<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>", "", "Yes."),
        # Gemma 4
        (GEMMA_4, "<|channel>thought<channel|>Yes.", "", "Yes."),
        (GEMMA_4, "<|channel>thought\nHm.<channel|>Yes.", "Hm.", "Yes."),
        (GEMMA_4, "<|channel>thought\n<channel|>Yes.<channel|>", "", "Yes."),
        (GEMMA_4, "Yes.<|channel>thought\nHm.\n<channel|>", "Hm.\n", "Yes."),
        (GEMMA_4, "<|channel><|channel>thought\nHm.<channel|>Yes.<channel|><channel|>", "Hm.",
         "Yes."),
        (GEMMA_4, "<|turn>model\n<|channel>thought Hm.<channel|>Yes.<turn|>", "Hm.", "Yes."),
        (GEMMA_4, "<|channel>final\nYes.", "", "Yes."),
        (GEMMA_4, "Yes.<|tool_call>call:f{}<tool_call|>", "", "Yes."),
        # tags, whatever stands around the word
        (COMMON, "<think:opensource>Hm.</think:opensource>Yes.", "Hm.", "Yes."),
        (COMMON, "<mm:think>Hm.</mm:think>Yes.", "Hm.", "Yes."),
        (COMMON, "<longcat_think>Hm.</longcat_think>Yes.", "Hm.", "Yes."),
        (COMMON, "</mm:think>Yes.", "", "Yes."),
        (COMMON, "\n</think>\n\nYes.", "", "Yes."),
        (COMMON, "<think>a</mm:think>b</think>c", "a</mm:think>b", "c"),
        (COMMON, "<thinker>is a statue</thinker>", "", "<thinker>is a statue</thinker>"),
        (COMMON, "<table><tr></tr></table>", "", "<table><tr></tr></table>"),
        # marks around the answer
        (HUNYUAN, "<think>\nHm.\n</think>\n<answer>\nYes.\n</answer>", "Hm.\n", "Yes.\n"),
        (COMMAND, "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>",
         "Hm.", "Yes."),
        (APRIEL, "Here are my reasoning steps:\nHm.\n[BEGIN FINAL RESPONSE]\nYes."
         "\n[END FINAL RESPONSE]\n", "Hm.\n", "Yes.\n"),
        (APRIEL, "[BEGIN FINAL RESPONSE]\nYes.\n[END FINAL RESPONSE]", "", "Yes.\n"),
        (FUNCTIONARY, "all\nYes.\n>>> 1 + 1\n2", "", "Yes.\n>>> 1 + 1\n2"),
        (FUNCTIONARY, "all of them\nare here", "", "all of them\nare here"),
    ],
)  # fmt: skip
def test_headers_and_marks_are_parsed_however_they_come(
    marks: ReplyMarks, reply: str, reasoning: str, answer: str
) -> None:
    assert told(split([reply], marks)) == (reasoning, answer)
    assert told(split(reply, marks)) == (reasoning, answer)


@pytest.mark.parametrize(
    ("marks", "reply"),
    [
        (KIMI_K3, "Hm.<|close|>think<|sep|><|open|>response<|sep|>Yes."),
        (GEMMA_4, "Hm.<channel|>Yes."),
        (HARMONY, "Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes."),
        (COMMON, "Hm.</think:opensource>Yes."),
        (APRIEL, "Hm.[BEGIN FINAL RESPONSE]\nYes."),
    ],
)
def test_reasoning_that_the_prompt_opened_is_closed(marks: ReplyMarks, reply: str) -> None:
    assert told(split(reply, marks, ReplyPhase.REASONING)) == ("Hm.", "Yes.")


HEADS = {
    HARMONY: "<|start|>assistant",
    MUSE: "<|start|>assistant",
    SOLAR: "<|begin|>assistant",
    KIMI_K3: '<|open|>message role="assistant"<|sep|>',
    GEMMA_4: "<|turn>model\n",
}


@pytest.mark.parametrize("marks", FAMILIES)
def test_what_opens_an_answer_is_told_from_it(marks: ReplyMarks) -> None:
    head = HEADS.get(marks, "<s>assistant\n")
    opened = marks.answer_after(head, marks.phase_after(head))
    phase = ReplyPhase.ANSWER if opened else marks.phase_after(head)

    assert told(split([opened, "Yes."], marks, marks.phase_after(head))) == ("", "Yes.")
    assert told(split(["Yes."], marks, phase)) == ("", "Yes.")


@pytest.mark.parametrize("marks", FAMILIES)
def test_a_reply_written_out_is_split_again(marks: ReplyMarks) -> None:
    head = HEADS.get(marks, "<s>assistant\n")
    reply = marks.written("Hm.", "Yes.", prompt=head)
    reasoning, answer = told(split(reply, marks, marks.phase_after(head)))
    begun = head + marks.written("Hm.", "", prompt=head)

    assert (reasoning.strip(), answer) == ("Hm.", "Yes.")
    assert marks.phase_after(begun.removesuffix("Hm.")) is ReplyPhase.REASONING


@pytest.mark.parametrize(
    ("marks", "prompt", "phase", "opens"),
    [
        (HARMONY, "<|start|>assistant<|channel|>analysis<|message|>", ReplyPhase.REASONING,
         "<|end|><|start|>assistant<|channel|>final<|message|>"),
        (HARMONY, FINAL, ReplyPhase.ANSWER, ""),
        (KIMI_K3, "<|open|>message role=\"assistant\"<|sep|><|open|>think<|sep|>",
         ReplyPhase.REASONING, "<|close|>think<|sep|><|open|>response<|sep|>"),
        (KIMI_K3, "<|open|>response<|sep|>", ReplyPhase.ANSWER, ""),
        (GEMMA_4, "<|turn>model\n<|channel>thought\n", ReplyPhase.REASONING, "<channel|>"),
        (GEMMA_4, "<|turn>model\n<|channel>thought\n<channel|>", ReplyPhase.START, ""),
        (COMMON, "<think:opensource>", ReplyPhase.REASONING, "\n</think:opensource>\n\n"),
        (
            APRIEL,
            "Here are my reasoning steps:\n",
            ReplyPhase.REASONING,
            "[BEGIN FINAL RESPONSE]\n",
        ),
        (FUNCTIONARY, "assistant\n\n>>>", ReplyPhase.START, "all\n"),
    ],
)  # fmt: skip
def test_a_prompt_tells_where_its_reply_goes_on(
    marks: ReplyMarks, prompt: str, phase: ReplyPhase, opens: str
) -> None:
    assert marks.phase_after(prompt) is phase
    if phase is ReplyPhase.REASONING:
        assert marks.answer_after(prompt + "Hm. <b>", phase) == opens
    assert marks.answer_after(prompt, phase) == opens


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
    assert (COMMON.phase_after(prompt) is ReplyPhase.REASONING) is inside


def test_control_tokens_that_marks_are_made_of_are_named() -> None:
    specials = frozenset({"<|channel|>", "<|message|>", "<|end|>", "<|endoftext|>", "<s>"})

    assert HARMONY.controls(specials) == {"<|channel|>", "<|message|>", "<|end|>"}
    tags = {"<think>", "</think>", "<mm:think>"}
    assert COMMON.controls(frozenset({*tags, "<s>"})) == tags


def test_rare_marks_count_where_the_vocabulary_has_them() -> None:
    reply = "[THINK]Hm.[/THINK]Yes."
    known = marks_for("", frozenset({"[THINK]", "[/THINK]"}))

    assert told(split([reply], known)) == ("Hm.", "Yes.")
    assert told(split([reply])) == ("", reply)


TAGS = ("<think>", "</think>", "<mm:think>", "</mm:think>", "all\n")
MARKS = sorted({mark for marks in FAMILIES for mark in marks.strings}.union(TAGS))
HEADERS = ("analysis", "final", " to=user", " to=python ", "thought", "thought\n", "think", "json")
REPLIES = st.lists(
    st.one_of(
        st.sampled_from(MARKS),
        st.sampled_from(MARKS).map(lambda mark: mark[:-2]),
        st.sampled_from(HEADERS),
        st.sampled_from([" ", "\n", " " * 40, "a", "word. ", "<", "é", "日"]),
    ),
    max_size=12,
).map("".join)


PHASES = [ReplyPhase.START, ReplyPhase.REASONING, ReplyPhase.ANSWER]


@given(REPLIES, st.sampled_from(FAMILIES), st.sampled_from(PHASES), st.data())
def test_pieces_are_the_input_however_it_is_cut(
    reply: str, marks: ReplyMarks, phase: ReplyPhase, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=8)))
    ends = zip([0, *cuts], [*cuts, len(reply)], strict=True)
    pieces = split((reply[start:end] for start, end in ends), marks, phase)

    assert "".join(text for _, text in pieces) == reply
    assert told(pieces) == told(split([reply], marks, phase))
    assert told(pieces) == told(split(reply, marks, phase))


def shown(reply: ReplyText, tokens: Iterable[tuple[str, bool]]) -> tuple[str, str]:
    """Reasoning and answer of tokens, each with whether it is a mark."""
    for text, mark in tokens:
        list(reply.feed(text.encode(), mark=mark))
    list(reply.close())
    return reply.reasoning, reply.text


def test_marks_that_are_tokens_are_text_when_they_are_written_as_text() -> None:
    written = "A reply ends with <|end|>, after <|channel|>final<|message|>."
    tokens = [("<|channel|>", True), ("final", False), ("<|message|>", True)]
    quoted = [(letter, False) for letter in written]
    reply = ReplyText(HARMONY, ReplyPhase.START, (), only_tokens=True)

    assert shown(reply, [*tokens, *quoted, ("<|end|>", True)]) == ("", written)


def test_marks_are_tokens_where_the_vocabulary_has_them() -> None:
    assert HARMONY.are_tokens(frozenset({"<|start|>", "<|message|>", "<s>"}))
    assert GEMMA_4.are_tokens(frozenset({"<|channel>", "<|turn>", "<|tool_call>"}))
    assert not HARMONY.are_tokens(frozenset({"<s>"}))
    assert not COMMON.are_tokens(frozenset({"<think>", "</think>"}))


@given(
    st.lists(st.text("<|a]-^\\", min_size=1, max_size=4), max_size=4),
    st.text("<|a]-^\\", max_size=12),
)
def test_marks_are_found_where_they_begin_first_and_the_longest_counts(
    marks: list[str], text: str
) -> None:
    finder = MarkFinder(marks)
    found = [(text.find(mark), -len(mark), mark) for mark in marks if mark in text]
    place, _, mark = min(found, default=(len(text), 0, ""))
    assert finder.first(text) == (place, mark)
    longest = max(map(len, marks), default=1) - 1
    ends = range(min(longest, len(text)), 0, -1)
    begun = (end for end in ends if any(mark.startswith(text[-end:]) for mark in marks))
    assert finder.unfinished(text) == next(begun, 0)
