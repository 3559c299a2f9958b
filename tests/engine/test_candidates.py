"""Several candidates for one prompt, decoded in one batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tchat.engine.context import FIRST_PARALLEL
from tchat.engine.engine import Engine
from tchat.engine.events import CandidateEvent, Event, Finished, PromptProgress, Reason, TextDelta
from tchat.engine.prompt import ChatMessage
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

ASKED = [ChatMessage("user", "why is the sky blue and what would you say about it?")]
DRAWN = Sampling(seed=5, max_tokens=20, logit_bias=("2=-inf", "<|im_end|>=-inf"))
GREEDY = Sampling(temp=0, max_tokens=20)
KINDS = ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"]


def ends(events: Iterable[Event]) -> list[Finished]:
    """The replies by index."""
    found = {
        each.index: each.event
        for each in events
        if isinstance(each, CandidateEvent) and isinstance(each.event, Finished)
    }
    return [found[index] for index in sorted(found)]


def texts(replies: Iterable[Finished]) -> list[str]:
    return [reply.text for reply in replies]


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest) -> Path:
    model: Path = request.getfixturevalue(request.param)
    return model


def test_each_is_what_its_seed_writes_alone(open_engine: OpenEngine, path: Path) -> None:
    replies = ends(open_engine(path).candidates(ASKED, DRAWN, 3))
    alone = open_engine(path)
    seeds = [replace(DRAWN, seed=5 + n) for n in range(3)]
    assert [reply.seed for reply in replies] == [5, 6, 7]
    assert texts(replies) == [finished(alone.generate(ASKED, seed)).text for seed in seeds]
    assert len(set(texts(replies))) == 3


def test_pieces_carry_the_index_of_their_reply(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).candidates(ASKED, DRAWN, 3))
    for index, reply in enumerate(ends(events)):
        pieces = [e.event for e in events if isinstance(e, CandidateEvent) and e.index == index]
        assert isinstance(pieces[-1], Finished)
        assert "".join(p.text for p in pieces if isinstance(p, TextDelta)) == reply.text


def test_the_prompt_is_read_once(open_engine: OpenEngine, path: Path) -> None:
    engine = open_engine(path)
    events = list(engine.candidates(ASKED, DRAWN, 4))
    reading = [event for event in events if isinstance(event, PromptProgress)]
    assert reading[-1].done == reading[-1].total == len(engine.prompt_tokens(ASKED))
    again = list(engine.candidates(ASKED, DRAWN, 4))
    assert ends(again)[0].usage.prefilled == 1
    assert texts(ends(again)) == texts(ends(events))


def test_the_chosen_one_is_not_read_again(open_engine: OpenEngine, path: Path) -> None:
    engine = open_engine(path)
    chosen = ends(engine.candidates(ASKED, DRAWN, 3))[1]
    chat = [*ASKED, ChatMessage("assistant", chosen.text), ChatMessage("user", "and?")]
    reply = finished(engine.generate(chat, GREEDY))
    assert reply.usage.reused >= len(engine.prompt_tokens(ASKED)) + chosen.usage.completion - 1
    assert engine._ready.kv.branches == {}
    alone = open_engine(path)
    finished(alone.generate(ASKED, replace(DRAWN, seed=6)))
    assert reply.text == finished(alone.generate(chat, GREEDY)).text


def test_one_can_be_stopped(open_engine: OpenEngine, path: Path) -> None:
    engine, stopped = open_engine(path), set[int]()
    events = []
    for event in engine.candidates(ASKED, DRAWN, 3, stopped=stopped):
        events.append(event)
        if isinstance(event, CandidateEvent):
            stopped.add(1)
    replies = ends(events)
    assert [reply.reason for reply in replies] == [Reason.LENGTH, Reason.CANCELLED, Reason.LENGTH]
    whole = ends(open_engine(path).candidates(ASKED, DRAWN, 3))
    assert texts(replies)[::2] == texts(whole)[::2]
    assert replies[1].usage.completion == 1


def test_all_are_stopped_by_the_cancel_flag(open_engine: OpenEngine, path: Path) -> None:
    engine = open_engine(path)
    events = []
    for event in engine.candidates(ASKED, DRAWN, 3):
        events.append(event)
        if isinstance(event, CandidateEvent):
            engine.cancel.set()
    assert [reply.reason for reply in ends(events)] == [Reason.CANCELLED] * 3
    engine.cancel.clear()
    fresh = finished(open_engine(path).generate(ASKED, GREEDY))
    assert finished(engine.generate(ASKED, GREEDY)).text == fresh.text


def test_a_stop_during_the_prefill_ends_all(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    events = []
    for event in engine.candidates([ChatMessage("user", "words " * 900)], DRAWN, 2):
        events.append(event)
        if isinstance(event, PromptProgress):
            engine.cancel.set()
    assert [(e.reason, e.text) for e in ends(events)] == [(Reason.CANCELLED, "")] * 2


def test_leaving_early_leaves_the_engine_fit(open_engine: OpenEngine, path: Path) -> None:
    engine = open_engine(path)
    events = engine.candidates(ASKED, DRAWN, 3)
    assert any(isinstance(event, CandidateEvent) for event in events)
    events.close()  # type: ignore[attr-defined]
    fresh = finished(open_engine(path).generate(ASKED, GREEDY))
    assert finished(engine.generate(ASKED, GREEDY)).text == fresh.text


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_recurrent", "tiny_spm"])
def test_the_cache_grows_under_them(
    open_engine: OpenEngine,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not with a sliding window: the order of cells changes, and the last bits of the logits.
    path: Path = request.getfixturevalue(kind)
    long = Sampling(seed=5, max_tokens=300, logit_bias=("2=-inf",))
    whole = texts(ends(open_engine(path).candidates(ASKED, long, 3)))
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    monkeypatch.setattr("tchat.engine.generation.CANDIDATE_CAPACITY", 0)
    engine = open_engine(path)
    assert texts(ends(engine.candidates(ASKED, long, 3))) == whole
    assert engine._ready.context.capacity > 256


def test_a_full_context_ends_the_longest(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    asked = [ChatMessage("user", "word " * 80)]
    endless = Sampling(seed=1, logit_bias=("2=-inf",))
    replies = ends(engine.candidates(asked, endless, 2))
    assert {reply.reason for reply in replies} == {Reason.LENGTH}
    head = len(engine.prompt_tokens(asked)) - 1
    held = sum(map(len, engine._ready.kv.branches.values()))
    assert head + held in (255, 256)


def test_log_probabilities_are_those_of_the_tokens(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    reply = ends(engine.candidates(ASKED, DRAWN, 2))[1]
    known = engine._ready.kv.branches[FIRST_PARALLEL + 1][1:]  # behind the last token of the prompt
    reader = open_engine(tiny_model)
    list(reader.load())
    prompt = reader.prompt_tokens(ASKED)
    with_last = _last_token(engine, reply, known)
    seen = reader.hidden_state_reader([]).read(prompt, with_last)
    assert seen is not None
    assert reply.log_probability == pytest.approx(seen.log_probability, abs=1e-3)
    assert not np.isnan(seen.log_probability)


def _last_token(engine: Engine, reply: Finished, known: list[int]) -> list[int]:
    """The reply's tokens; its last one is not in the cache."""
    model = engine._ready.model
    spelled = b"".join(map(model.piece, known)).decode("utf-8", "replace")
    rest = reply.text.removeprefix(spelled)
    return known + model.tokenize(rest, special=False)


def test_grammars_and_stops_hold_for_each(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    grammar = Sampling(seed=1, grammar='root ::= ("yes" | "no" | "maybe") "!"')
    replies = ends(engine.candidates(ASKED, grammar, 4))
    assert len(replies) == 4
    for reply in replies:
        assert reply.text in ("yes!", "no!", "maybe!")
        assert reply.reason is Reason.STOP


def test_unused_it_costs_no_sequences(open_engine: OpenEngine, tiny_recurrent: Path) -> None:
    engine = open_engine(tiny_recurrent)
    finished(engine.generate(ASKED, GREEDY))
    assert engine._ready.context._sequences == 2


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_recurrent"])
def test_the_states_of_a_written_reply_are_those_of_reading_it(
    open_engine: OpenEngine, request: pytest.FixtureRequest, kind: str
) -> None:
    """So that a reply need not be read to be judged; the cache grows on the way."""
    engine = open_engine(request.getfixturevalue(kind), flash_attn="off")
    replies = ends(engine.candidates(ASKED, replace(DRAWN, max_tokens=300), 3, states=True))
    reader = engine.hidden_state_reader([])
    for reply in replies:
        assert reply.hidden_states is not None
        tokens = list(reply.hidden_states.tokens)
        assert len(tokens) == reply.usage.completion
        # The last token is not decoded any more, since nothing comes after it.
        seen = reader.read(engine.prompt_tokens(ASKED), tokens[:-1])
        assert seen is not None
        [state] = seen.states.values()
        assert np.allclose(reply.hidden_states.state, state, atol=2e-2 * np.abs(state).max())
    reader.close()
    assert ends(engine.candidates(ASKED, DRAWN, 2))[0].hidden_states is None
