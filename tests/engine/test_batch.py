"""Replies to several prompts, written side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import Candidate, Finished, Token
from tchat.engine.turns import ChatMessage
from tchat.errors import DoesNotFit
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

DRAWN = Sampling(max_tokens=12, logit_bias=("2=-inf", "<|im_end|>=-inf"))
CHATS = [[ChatMessage("user", f"say {'more ' * n}about the sky")] for n in range(11)]
SEEDS = list(range(40, 51))


def loaded(open_engine: OpenEngine, path: Path) -> Engine:
    engine = open_engine(path)
    list(engine.load())
    return engine


def replies(events: list[Candidate]) -> dict[int, Finished]:
    return {e.index: e.event for e in events if isinstance(e.event, Finished)}


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_recurrent", "tiny_sliding"])
def test_each_is_what_its_prompt_and_seed_give_alone(
    open_engine: OpenEngine, request: pytest.FixtureRequest, kind: str
) -> None:
    # Flash attention sums in half precision, in the order of the cells, which differs here.
    engine = open_engine(request.getfixturevalue(kind), flash_attn="off")
    list(engine.load())
    events = list(engine.batch(CHATS, DRAWN, SEEDS))
    ends = replies(events)
    for index, (chat, seed) in enumerate(zip(CHATS, SEEDS, strict=True)):
        alone = finished(engine.generate(chat, replace(DRAWN, seed=seed)))
        assert ends[index].text == alone.text
        assert ends[index].usage.completion == alone.usage.completion
        pieces = [e.event for e in events if e.index == index]
        assert "".join(p.text for p in pieces if isinstance(p, Token)) == alone.text
    assert sorted(ends) == list(range(len(CHATS)))


def test_a_chat_goes_on_after_a_batch(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    before = finished(engine.generate(CHATS[0], replace(DRAWN, seed=1))).text
    list(engine.batch(CHATS[1:], DRAWN, SEEDS[1:]))
    assert finished(engine.generate(CHATS[0], replace(DRAWN, seed=1))).text == before


def test_no_prompts_give_no_replies(open_engine: OpenEngine, tiny_model: Path) -> None:
    assert list(loaded(open_engine, tiny_model).batch([], DRAWN, [])) == []


def test_stopping_ends_it_without_the_rest(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    ends = 0
    for event in engine.batch(CHATS, DRAWN, SEEDS):
        if isinstance(event.event, Finished):
            ends += 1
            engine.cancel.set()
    assert 0 < ends < len(CHATS)
    engine.cancel.clear()
    assert len(replies(list(engine.batch(CHATS, DRAWN, SEEDS)))) == len(CHATS)


def test_a_prompt_that_does_not_fit_is_refused(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = loaded(open_engine, tiny_model)
    with pytest.raises(DoesNotFit):
        list(engine.batch([[ChatMessage("user", "word " * 4000)]], DRAWN, [1]))
