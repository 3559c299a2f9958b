"""Batch inference: many prompts answered in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
from tchat.engine.engine import Engine
from tchat.engine.events import Finished, LabelScores
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit, UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

DRAWN = Sampling(max_tokens=12, logit_bias=("<|endoftext|>=-inf", "<|im_end|>=-inf"))
CHATS = [[ChatMessage("user", f"say {'more ' * n}about the sky")] for n in range(11)]
LABELS = ("yes", "no", "yesterday we go")


def tasks(seeds: Sequence[int | None] = ()) -> list[BatchTask]:
    return [
        BatchTask(index, lambda chat=chat: chat, seeds[index] if seeds else None)  # type: ignore[misc]
        for index, chat in enumerate(CHATS)
    ]


def loaded(open_engine: OpenEngine, path: Path) -> Engine:
    # Flash attention sums in half precision, in the order of the cells, which differs here.
    engine = open_engine(path, flash_attn="off")
    list(engine.load())
    return engine


def results(outcomes: Iterable[BatchResult]) -> list[object]:
    """By index."""
    return [each.result for each in sorted(outcomes, key=lambda each: each.index)]


@pytest.fixture(params=["tiny_model", "tiny_recurrent", "tiny_sliding"])
def path(request: pytest.FixtureRequest) -> Path:
    model: Path = request.getfixturevalue(request.param)
    return model


def test_each_is_what_its_prompt_and_seed_give_alone(open_engine: OpenEngine, path: Path) -> None:
    engine = loaded(open_engine, path)
    seeds = list(range(40, 51))
    replies = results(engine.map(tasks(seeds), BatchOptions(sampling=DRAWN, slots=4)))
    for reply, chat, seed in zip(replies, CHATS, seeds, strict=True):
        alone = finished(engine.generate(chat, replace(DRAWN, seed=seed)))
        assert isinstance(reply, Finished)
        assert (reply.text, reply.seed) == (alone.text, seed)
        assert reply.usage.completion == alone.usage.completion


def test_all_slots_that_may_be_asked_for(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine, slots = loaded(open_engine, tiny_model), 64
    chats = [CHATS[0]] * slots
    rows = [BatchTask(index, lambda chat=chat: chat) for index, chat in enumerate(chats)]  # type: ignore[misc]
    options = BatchOptions(sampling=replace(DRAWN, max_tokens=1), slots=slots)
    found = results(engine.map(rows, options))
    assert len(found) == slots
    assert all(isinstance(one, Finished) for one in found)


def test_a_seed_that_is_given_is_the_first_ones(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    options = BatchOptions(sampling=replace(DRAWN, seed=7))
    replies = results(engine.map(tasks(), options))
    seeds = [reply.seed for reply in replies if isinstance(reply, Finished)]
    assert seeds == list(range(7, 18))


def test_labels_are_weighed_as_one_by_one(open_engine: OpenEngine, path: Path) -> None:
    engine = loaded(open_engine, path)
    options = BatchOptions(sampling=Sampling(), labels=LABELS, slots=3)
    found = results(engine.map(tasks(), options))
    for probabilities, chat in zip(found, CHATS, strict=True):
        alone = next(e for e in engine.score_labels(chat, LABELS) if isinstance(e, LabelScores))
        assert isinstance(probabilities, tuple)
        assert dict(probabilities) == pytest.approx(dict(alone.probabilities), abs=0.01)


def test_what_fails_is_one_task(open_engine: OpenEngine, tiny_model: Path) -> None:
    def lost() -> list[ChatMessage]:
        raise UsageError("it is gone")

    engine = loaded(open_engine, tiny_model)
    long = [ChatMessage("user", "word " * 4000)]
    three = [BatchTask(0, lost), BatchTask(1, lambda: long), BatchTask(2, lambda: CHATS[0])]
    gone, unfit, reply = results(engine.map(three, BatchOptions(sampling=DRAWN)))
    assert isinstance(gone, UsageError)
    assert isinstance(unfit, DoesNotFit)
    assert isinstance(reply, Finished)


def test_replies_share_a_context_that_is_too_small_for_all(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model, ctx_size=256, flash_attn="off")
    sampling = replace(DRAWN, max_tokens=60)
    replies = results(engine.map(tasks(), BatchOptions(sampling=sampling, slots=8)))
    lengths = [reply.usage.completion for reply in replies if isinstance(reply, Finished)]
    assert lengths == [60] * len(CHATS)


def test_a_chat_goes_on_after_it(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    before = finished(engine.generate(CHATS[0], replace(DRAWN, seed=1))).text
    assert len(list(engine.map(tasks(), BatchOptions(sampling=DRAWN)))) == len(CHATS)
    assert finished(engine.generate(CHATS[0], replace(DRAWN, seed=1))).text == before


def test_no_tasks_have_no_outcomes(open_engine: OpenEngine, tiny_model: Path) -> None:
    assert list(loaded(open_engine, tiny_model).map([], BatchOptions(sampling=DRAWN))) == []


def test_stopping_ends_it_without_the_rest(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    ends = 0
    for _ in engine.map(tasks(), BatchOptions(sampling=DRAWN, slots=2)):
        ends += 1
        engine.cancel.set()
    assert 0 < ends < len(CHATS)
    engine.cancel.clear()
    assert len(list(engine.map(tasks(), BatchOptions(sampling=DRAWN)))) == len(CHATS)


def test_a_reply_cut_inside_a_character_holds_no_part_of_it(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = loaded(open_engine, tiny_model)
    cut = BatchOptions(sampling=Sampling(max_tokens=3, grammar='root ::= "a🙂"'))
    replies = results(engine.map(tasks(), cut))
    assert [reply.text for reply in replies if isinstance(reply, Finished)] == ["a"] * len(CHATS)
