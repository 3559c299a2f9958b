"""Speculative decoding: the same replies in fewer decodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.drafters import AcceptanceStats, DecodeTimes, PromptLookup
from tchat.engine.engine import Engine
from tchat.engine.events import Finished, Notice, Reason
from tchat.engine.prompt import ChatMessage
from tchat.engine.speculative_decoding import MAX_LOSS, ExactnessTrial
from tchat.errors import UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished, streamed
from tests.tiny import write_tiny

# Of four letters alone: what is written has stood before soon, as in a copy.
LETTERS = {67, 68, 69, 70}


def only_letters(vocabulary: int) -> tuple[str, ...]:
    return tuple(f"{token}=-inf" for token in range(vocabulary) if token not in LETTERS)


GREEDY = Sampling(temp=0, max_tokens=80, logit_bias=only_letters(731))
FREE = replace(GREEDY, logit_bias=("<|im_end|>=-inf", "<|endoftext|>=-inf"))
LOOPING = replace(GREEDY, temp=0.3, top_k=2)
PROMPTS = [
    "the sky is blue and the sea is blue and the sky is",
    "why is the sky blue?",
    "one two one two one two one two",
    "say it again and again and again",
    "people work people work people work time",
    "",
]


def asked(prompt: str) -> list[ChatMessage]:
    return [ChatMessage("user", prompt)]


@pytest.fixture(scope="session")
def tiny_model(tiny_models: Path) -> Path:
    """Of a type whose kernels round alike for one token and for several, unlike F16 and F32."""
    return write_tiny(tiny_models / "tiny-q8.gguf", dtype="Q8_0")


@pytest.fixture(scope="session")
def tiny_spm(tiny_models: Path) -> Path:
    """The same with another vocabulary."""
    return write_tiny(tiny_models / "tiny-spm-q8.gguf", vocab="spm", dtype="Q8_0")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draft whatever it costs, from the first token on."""
    monkeypatch.setattr(DecodeTimes, "of", lambda _, size: 1.0 + size / 100)
    monkeypatch.setattr("tchat.engine.speculative_decoding.MAX_LOSS", 1e9)
    monkeypatch.setattr("tchat.engine.speculative_decoding.MIN_GAIN", 0.01)


@pytest.fixture
def two(open_engine: OpenEngine, tiny_model: Path, eager: None) -> tuple[Engine, Engine]:
    """An engine without drafts and one with."""
    return open_engine(tiny_model, prompt_lookup=False), open_engine(tiny_model)


def facts(end: Finished) -> tuple[Any, ...]:
    return end.text, end.reasoning, end.reason, end.usage.completion


def test_greedy_replies_are_the_same(two: tuple[Engine, Engine]) -> None:
    plain, drafting = two
    guessed = right = 0
    for prompt in PROMPTS:
        one, other = (finished(engine.generate(asked(prompt), GREEDY)) for engine in two)
        assert facts(one) == facts(other)
        assert plain.loaded.kv.tokens == drafting.loaded.kv.tokens  # type: ignore[union-attr]
        guessed, right = guessed + other.usage.drafted, right + other.usage.accepted
    assert 0 < right <= guessed


@pytest.mark.parametrize("kind", ["tiny_sliding", "tiny_spm", "tiny_recurrent"])
def test_they_are_with_other_models(
    open_engine: OpenEngine,
    eager: None,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    path = request.getfixturevalue(kind)
    both = open_engine(path, prompt_lookup=False), open_engine(path)
    list(both[0].load())
    words = both[0].loaded.model.shape.n_vocab  # type: ignore[union-attr]
    greedy = replace(GREEDY, logit_bias=only_letters(words))
    for prompt in PROMPTS[:3]:
        one, other = (finished(engine.generate(asked(prompt), greedy)) for engine in both)
        assert facts(one) == facts(other)
        assert (other.usage.drafted > 0) == (kind != "tiny_recurrent")


@pytest.mark.parametrize(
    "sampling",
    [
        replace(LOOPING, seed=3),
        replace(LOOPING, seed=4, repeat_penalty=1.05, mirostat=2),
        replace(LOOPING, seed=5, logit_bias=(), grammar='root ::= ("the sky " | "blue ")+'),
        replace(GREEDY, logit_bias=(), grammar='root ::= ("the sky " | "blue ")+'),
        replace(LOOPING, seed=6, stop=("CC", "BAB")),
        replace(LOOPING, seed=7, max_tokens=3),
        replace(LOOPING, seed=8, max_tokens=0),
    ],
)
def test_a_seed_draws_the_same(two: tuple[Engine, Engine], sampling: Sampling) -> None:
    for prompt in PROMPTS[:4]:
        one, other = (list(engine.generate(asked(prompt), sampling)) for engine in two)
        assert facts(finished(one)) == facts(finished(other))
        assert streamed(one) == streamed(other)


def test_the_distribution_is_the_same(two: tuple[Engine, Engine]) -> None:
    """Of the second half of short replies, over many seeds that the two do not share."""
    counts: list[Counter[str]] = []
    for engine, first in zip(two, (0, 10_000), strict=True):
        found: Counter[str] = Counter()
        for seed in range(300):
            sampling = replace(LOOPING, temp=1.0, max_tokens=6, seed=first + seed)
            text = finished(engine.generate(asked(PROMPTS[2]), sampling)).text
            found[text[len(text) // 2 :]] += 1
        counts.append(found)
    one, other = counts
    common = [each for each in one | other if one[each] + other[each] >= 10]
    # Two-sample chi-square: its mean is the degrees of freedom, its variance twice that.
    square = sum((one[each] - other[each]) ** 2 / (one[each] + other[each]) for each in common)
    assert len(common) > 3
    assert square < len(common) + 4 * (2 * len(common)) ** 0.5


def test_a_stop_within_a_draft_leaves_the_cache_in_step(two: tuple[Engine, Engine]) -> None:
    _, drafting = two
    events = []
    for event in drafting.generate(asked(PROMPTS[2]), GREEDY):
        events.append(event)
        if len(events) == 31:
            drafting.cancel.set()
    end = finished(events)
    assert end.reason is Reason.CANCELLED
    assert end.usage.completion < 80
    drafting.cancel.clear()
    for prompt in PROMPTS[:3]:
        one, other = (finished(engine.generate(asked(prompt), GREEDY)) for engine in two)
        assert facts(one) == facts(other)


def test_nothing_is_drafted_for_a_greedy_reply_where_logits_differ(
    two: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, drafting = two
    run = ExactnessTrial.run

    def differs(trial: ExactnessTrial) -> bool:
        trial._rows[0] = trial._rows[0] + 1e-6
        return run(trial)

    monkeypatch.setattr(ExactnessTrial, "run", differs)
    one, other = (finished(engine.generate(asked(PROMPTS[2]), GREEDY)) for engine in two)
    assert facts(one) == facts(other)
    assert other.usage.drafted == 0
    drawn = replace(LOOPING, seed=3)
    assert finished(drafting.generate(asked(PROMPTS[2]), drawn)).usage.drafted > 0


def test_it_stops_where_it_does_not_pay(
    open_engine: OpenEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodeTimes, "of", lambda _, size: float(size))
    end = finished(open_engine(tiny_model).generate(asked(PROMPTS[2]), GREEDY))
    assert (end.usage.drafted, end.usage.accepted) == (0, 0)
    assert MAX_LOSS <= 0.03


# A draft model


@pytest.fixture(scope="session")
def other_tiny(tiny_models: Path) -> Path:
    """The tiny model's vocabulary with other weights: its drafts are seldom accepted."""
    return write_tiny(tiny_models / "tiny-other.gguf", dtype="Q8_0", seed=9)


@pytest.mark.parametrize(
    "sampling", [FREE, replace(FREE, temp=0.3, seed=3), replace(FREE, stop=("e",))]
)
@pytest.mark.parametrize("draft", ["tiny_model", "other_tiny"])
def test_a_draft_model_changes_no_reply(
    open_engine: OpenEngine,
    tiny_model: Path,
    eager: None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    draft: str,
    sampling: Sampling,
) -> None:
    monkeypatch.setattr("tchat.engine.drafters.MIN_PROBABILITY", 0.0)
    path = request.getfixturevalue(draft)
    plain = open_engine(tiny_model, prompt_lookup=False)
    drafted = open_engine(tiny_model, prompt_lookup=False, draft=path)
    for prompt in PROMPTS[:3]:
        one, other = (finished(e.generate(asked(prompt), sampling)) for e in (plain, drafted))
        assert facts(one) == facts(other)
        # Itself agrees, but for the tokens that only one of them may not write.
        same = draft == "tiny_model" and sampling is FREE
        assert other.usage.drafted > 0
        assert other.usage.accepted >= 0.9 * other.usage.drafted or not same


def test_a_draft_model_that_does_not_pay_is_left_alone(
    open_engine: OpenEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodeTimes, "of", lambda _, size: float(size))
    engine = open_engine(tiny_model, prompt_lookup=False, draft=tiny_model)
    assert finished(engine.generate(asked(PROMPTS[0]), GREEDY)).usage.drafted == 0


@pytest.mark.parametrize(
    ("draft", "told"),
    [("tiny_spm", "vocabularies differ"), ("tiny_recurrent", "cannot be truncated")],
)
def test_a_draft_model_that_cannot_be_one_is_refused(
    open_engine: OpenEngine,
    tiny_model: Path,
    request: pytest.FixtureRequest,
    draft: str,
    told: str,
) -> None:
    engine = open_engine(tiny_model, draft=request.getfixturevalue(draft))
    with pytest.raises(UsageError, match=told):
        list(engine.load())


def test_a_model_that_cannot_be_cut_back_says_so(
    open_engine: OpenEngine, tiny_model: Path, tiny_recurrent: Path
) -> None:
    events = list(open_engine(tiny_recurrent, draft=tiny_model).load())
    assert any(isinstance(e, Notice) and "the draft model is not used" in e.text for e in events)


# Lookup


def test_a_run_is_found_and_followed() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6], AcceptanceStats())
    for token in (9, 2, 3):
        lookup.append(token)
    assert lookup.draft(3) == []
    lookup.append(4)
    assert (lookup.match, lookup.draft(2)) == (3, [5, 6])
    lookup.append(5)
    assert (lookup.match, lookup.draft(1)) == (4, [6])
    lookup.append(7)
    assert (lookup.match, lookup.draft(1)) == (0, [])


def test_a_run_that_caught_up_with_the_end_goes_round() -> None:
    lookup = PromptLookup([7], AcceptanceStats())
    for token in (1, 2, 1, 2, 1):
        lookup.append(token)
    assert lookup.draft(5) == [2, 1, 2, 1, 2]


def test_acceptance_is_learnt_by_the_length_of_the_match() -> None:
    stats = AcceptanceStats()
    before = stats.rate(40)
    for _ in range(50):
        stats.record(3, accepted=False)
    assert stats.rate(3) < 0.1
    assert stats.rate(40) == before
    assert stats.expected(3, 4) < 0.1
    assert stats.expected(40, 4) == pytest.approx(sum(before**n for n in range(1, 5)))


def test_times_are_estimated_until_they_are_measured() -> None:
    times = DecodeTimes()
    assert times.of(8) == 0
    times.record(1, 0.010)
    times.record_prefill(100, 0.3)
    assert times.of(8) == pytest.approx(0.010 + 7 * 0.003)
    for _ in range(20):
        times.record(8, 0.020)
    assert times.of(8) == pytest.approx(0.020, rel=0.05)
    for _ in range(2000):
        times.record(1, 0.010)
    assert times.of(8) == pytest.approx(0.010 + 7 * 0.003, rel=0.05)
