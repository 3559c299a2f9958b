"""What repeats itself is noticed soon, what is regular is not; a reply ends after one round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import CandidateEvent, Finished, Reason
from tchat.engine.loading import EngineOptions
from tchat.engine.loop_guard import LoopGuard, round_end
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.reasoning import MarkPair, ReplyMarks, ReplyPhase
from tchat.engine.reply_state import ReplyGuard, ReplyText
from tchat.settings import Sampling
from tests.benchmarks.regular_texts import texts
from tests.engine.conftest import OpenEngine, finished, streamed

HELLO = [ChatMessage("user", "Hello")]
MARKS = ReplyMarks(blocks=(MarkPair("<think>", "</think>"),))
BEGIN = "Once upon a time a dog lived in a small house near the sea, and it liked to walk. "


@pytest.fixture(scope="module")
def starter(starter_model: Path) -> Iterator[Engine]:
    with Engine(EngineOptions(path=starter_model, template=None, ctx_size=256)) as engine:
        list(engine.load())
        yield engine


def caught(engine: Engine, text: str) -> tuple[int, str] | None:
    """Tokens until the loop was noticed, and the text that is kept; None for no loop."""
    assert engine.loaded is not None
    model, guard = engine.loaded.model, LoopGuard()
    pieces: list[bytes] = []
    for token in engine.text_tokens(text):
        pieces.append(model.piece(token))
        if guard.feed(token, pieces[-1]):
            begin = len(b"".join(pieces[: guard.second_round]).decode("utf-8", "replace"))
            whole = b"".join(pieces).decode("utf-8", "replace")
            return len(pieces), whole[: round_end(whole, begin)]
    return None


@pytest.mark.parametrize("seed", range(5))
def test_what_is_regular_is_no_loop(starter: Engine, seed: int) -> None:
    of_this_seed = list(texts())[seed::5]
    assert len(of_this_seed) == 40
    assert [kind for kind, text in of_this_seed if caught(starter, text)] == []


@pytest.mark.parametrize(
    ("unit", "rounds"),
    [
        ("The dog sleeps. ", 60),
        ("- The dog sleeps in the house.\n", 60),
        ("la France, ", 100),
        ("The dog sleeps. The cat looks out of the window. It rains, and nobody comes.\n\n", 30),
        ("狗在房子里睡觉。", 60),
        ("ha", 300),
        ("    print(x)\n", 100),
        ("2022-01-22 12:32:53.172.12.12.backup.yaml.yaml\n", 30),
    ],
)
def test_a_loop_is_caught_within_200_tokens(starter: Engine, unit: str, rounds: int) -> None:
    before = len(starter.text_tokens(BEGIN + unit))
    found = caught(starter, BEGIN + unit * rounds)
    assert found is not None
    tokens, kept = found
    assert tokens - before <= 200
    assert kept.startswith(BEGIN.rstrip())
    assert kept.count(unit.strip()) <= 3


def test_rounds_that_are_shuffled_are_a_loop(starter: Engine) -> None:
    people = ("art", "wine", "food", "music")
    lines = [
        f"The French people are known for their love of {people[n * n % 4]}, and the French people"
        f" are known for their love of {people[n * 3 % 4]}."
        for n in range(40)
    ]
    found = caught(starter, BEGIN + " ".join(lines))
    assert found is not None
    assert found[0] < 260


def test_two_rounds_of_a_chorus_are_none(starter: Engine) -> None:
    chorus = "Take me home over the hills,\nwhere the river turns and the lantern burns,\n" * 2
    assert caught(starter, BEGIN + chorus + "and the end of the song comes here.") is None


@pytest.mark.parametrize(
    ("text", "start", "kept"),
    [
        ("One. Two. Two. Two.", 10, "One. Two."),
        ("One. Two. Two. Two.", 11, "One. Two. Two."),
        ("a\nb\nb\nb", 4, "a\nb"),
        ("一。二。二。", 4, "一。二。"),
        ("on and on and on and on", 9, "on and on"),
        ("singing singing singing", 11, "singing singing"),
        ('"Stay." "Stay." "Stay."', 8, '"Stay."'),
    ],
)
def test_a_sentence_is_kept_whole(text: str, start: int, kept: str) -> None:
    assert text[: round_end(text, start)] == kept


def looping(*words: str) -> Sampling:
    """Sampling of a tiny model that has little choice."""
    return Sampling(temp=0, max_tokens=400, logit_bias=tuple(f"{word}=1000" for word in words))


def test_a_reply_ends_before_its_second_round(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).generate(HELLO, looping("x")))
    end = finished(events)
    assert end.reason is Reason.LOOP
    assert 60 <= end.usage.completion <= 200
    assert set(end.text) == {"x"}
    assert len(end.text) < len(streamed(events)) / 2
    assert end.unfinished == b""


def test_without_the_guard_it_goes_on(open_engine: OpenEngine, tiny_model: Path) -> None:
    values = looping("x")
    sampling = Sampling(temp=0, max_tokens=400, logit_bias=values.logit_bias, loop_guard=False)
    end = finished(open_engine(tiny_model).generate(HELLO, sampling))
    assert (end.reason, end.usage.completion) == (Reason.LENGTH, 400)


def test_all_of_several_replies_are_looked_at(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).candidates(HELLO, looping("x"), 3))
    inner = [each.event for each in events if isinstance(each, CandidateEvent)]
    ends = [each.reason for each in inner if isinstance(each, Finished)]
    assert ends == [Reason.LOOP] * 3


def feed(output: ReplyText, guard: ReplyGuard, words: Sequence[str]) -> bool:
    """Whether a loop is noticed in these words, each a token."""
    for word in words:
        output.feed(word.encode(), mark=word == "</think>")
        if guard.feed(hash(word), word.encode()):
            guard.cut()
            return True
    return False


def test_reasoning_is_looked_at_too() -> None:
    output = ReplyText(MARKS, ReplyPhase.REASONING, ())
    assert feed(output, ReplyGuard(output, str), ["So", " it is.", *["Hm, well. "] * 200])
    assert output.reasoning == "So it is.Hm, well."
    assert (output.text, output.close()) == ("", [])


def test_an_answer_may_say_again_what_was_reasoned() -> None:
    draft = [f"word{n} " for n in range(150)]
    output = ReplyText(MARKS, ReplyPhase.REASONING, ())
    guard = ReplyGuard(output, str)
    assert not feed(output, guard, ["Try: ", *draft, "Again: ", *draft, "</think>", *draft])
    assert output.text == "".join(draft)


def test_the_starter_is_stopped(open_engine: OpenEngine, starter_model: Path) -> None:
    engine = open_engine(starter_model, ctx_size=1024)
    asked = [ChatMessage("user", "Write a poem about autumn.")]
    end = finished(engine.generate(asked, Sampling(temp=0, max_tokens=600)))
    assert end.reason is Reason.LOOP
    assert end.usage.completion < 300
    lines = end.text.splitlines()
    assert len(lines) == len(set(lines))


ASKED = [
    ("Write hello 100 times.", "hello ", True),
    ("Write `I will not talk in class.` twenty times", "I will not talk in class.\n", True),
    ("把“你好”写一百遍", "你好", True),
    ("What is the capital of France?", "la France, ", False),
    ("Name 12 animals.", "a dog, ", False),
    ("hello", "hello ", False),
]


@pytest.mark.parametrize(("prompt", "unit", "asked"), ASKED)
def test_what_the_prompt_asks_to_repeat_is_no_loop_for_a_while(
    starter: Engine, prompt: str, unit: str, asked: bool
) -> None:
    assert starter.loaded is not None
    model = starter.loaded.model
    output = ReplyText(ReplyMarks(), ReplyPhase.ANSWER, ())
    guard = ReplyGuard(output, lambda: prompt)
    stopped = 0
    for count, token in enumerate(starter.text_tokens(unit * 2500), 1):
        piece = model.piece(token)
        output.feed(piece)
        if guard.feed(token, piece):
            stopped = count
            break
    assert (stopped > 1500) is asked
    assert 0 < stopped < 2500
