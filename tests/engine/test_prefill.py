"""Prefill of a draft while it is typed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import Event, PromptProgress
from tchat.engine.generation import DraftPrefill, ShouldContinue, stable_prefix
from tchat.engine.prompt import ChatMessage
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished

KINDS = ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"]
GREEDY = Sampling(temp=0, max_tokens=12)
DRAFT = "what would you say about the sky and the people in it " * 4
ROOM = 900


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest) -> Path:
    model: Path = request.getfixturevalue(request.param)
    return model


def asked(text: str) -> list[ChatMessage]:
    return [ChatMessage("user", "why is the sky blue?"), *ANSWERED, ChatMessage("user", text)]


ANSWERED = [ChatMessage("assistant", "it is day")]


def begun(open_engine: OpenEngine, path: Path, **options: int) -> Engine:
    """An engine that holds a turn of a chat."""
    engine = open_engine(path, **options)
    first = [ChatMessage("user", "why is the sky blue?")]
    finished(engine.generate(first, GREEDY))
    finished(engine.generate([*first, *ANSWERED, ChatMessage("user", "and")], GREEDY))
    return engine


def prefill_draft(
    engine: Engine,
    messages: list[ChatMessage],
    limit: int = ROOM,
    should_continue: ShouldContinue = lambda: True,
) -> Iterator[PromptProgress]:
    return DraftPrefill(engine._ready, messages, "auto", limit, should_continue).events()


def read(events: Iterable[Event]) -> PromptProgress:
    """How far it got in the end."""
    last = list(events)[-1]
    assert isinstance(last, PromptProgress)
    return last


def test_a_prefilled_draft_is_not_prefilled_again(open_engine: OpenEngine, path: Path) -> None:
    engine = begun(open_engine, path)
    ahead = read(prefill_draft(engine, asked(DRAFT)))
    assert ahead.done == ahead.total > 40
    reply = finished(engine.generate(asked(DRAFT), GREEDY))
    assert reply.usage.reused >= ahead.done
    assert reply.usage.prefilled < 20
    assert reply.text == finished(begun(open_engine, path).generate(asked(DRAFT), GREEDY)).text


def test_typing_on_reads_only_what_is_new(open_engine: OpenEngine, path: Path) -> None:
    engine = begun(open_engine, path)
    first = read(prefill_draft(engine, asked(DRAFT)))
    second = read(prefill_draft(engine, asked(f"{DRAFT} and the day")))
    assert second.reused == first.done < second.done


def test_an_edit_keeps_what_is_before_it(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = begun(open_engine, tiny_model)
    whole = read(prefill_draft(engine, asked(DRAFT)))
    edited = DRAFT[:100] + "UP" + DRAFT[100:]
    again = read(prefill_draft(engine, asked(edited)))
    assert whole.reused < again.reused < again.done
    fresh = begun(open_engine, tiny_model)
    reply = finished(engine.generate(asked(edited), GREEDY))
    assert reply.text == finished(fresh.generate(asked(edited), GREEDY)).text


def test_the_chat_itself_stays_whatever_becomes_of_the_draft(
    open_engine: OpenEngine, path: Path
) -> None:
    engine = begun(open_engine, path)
    before, held = list(engine._ready.kv.tokens), cached_tokens(engine)
    read(prefill_draft(engine, asked(DRAFT)))
    read(prefill_draft(engine, asked("my " + DRAFT)))
    assert (engine._ready.kv.tokens, cached_tokens(engine)) == (before, held)
    again = [*asked("and"), ChatMessage("assistant", "so"), ChatMessage("user", "why?")]
    fresh = begun(open_engine, path)
    assert finished(engine.generate(again, GREEDY)).text == (
        finished(fresh.generate(again, GREEDY)).text
    )


def test_a_draft_prefill_ends_when_it_should_not_continue(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = begun(open_engine, tiny_model)
    wanted = [True, True, False]
    part = read(prefill_draft(engine, asked(DRAFT * 3), should_continue=lambda: wanted.pop(0)))
    assert 0 < part.done < part.total
    rest = read(prefill_draft(engine, asked(DRAFT * 3)))
    assert rest.reused == part.done
    assert rest.done == rest.total


def test_a_stop_leaves_the_engine_fit(open_engine: OpenEngine, path: Path) -> None:
    engine = begun(open_engine, path)
    for event in prefill_draft(engine, asked(DRAFT)):
        if isinstance(event, PromptProgress) and event.done > event.reused:
            engine.cancel.set()
    engine.cancel.clear()
    reply = finished(engine.generate(asked(DRAFT), GREEDY))
    assert reply.text == finished(begun(open_engine, path).generate(asked(DRAFT), GREEDY)).text


def test_a_draft_for_which_there_is_no_room_is_left_alone(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = begun(open_engine, tiny_model, ctx_size=256)
    before = list(engine._ready.kv.tokens)
    assert list(prefill_draft(engine, asked(DRAFT), limit=60)) == []
    assert engine._ready.kv.tokens == before


def test_another_chat_makes_way_for_a_draft(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    finished(engine.generate([ChatMessage("user", "the day " * 60)], GREEDY))
    draft = [ChatMessage("user", DRAFT * 2)]
    ahead = read(prefill_draft(engine, draft, limit=250))
    assert ahead.done == ahead.total > 100
    assert finished(engine.generate(draft, GREEDY)).usage.reused >= ahead.done


def test_the_cache_grows_under_it(
    open_engine: OpenEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    engine = begun(open_engine, path)
    ahead = read(prefill_draft(engine, asked(DRAFT * 7)))
    assert ahead.done == ahead.total > 256
    assert finished(engine.generate(asked(DRAFT * 7), GREEDY)).usage.reused >= ahead.done


@pytest.mark.parametrize(
    ("typed", "sure"),
    [
        ("", ""),
        ("wor", ""),
        ("hello wor", "hello"),
        ("hello\n\n wor", "hello"),
        ("one two three ", "one two"),
        ("天" * 60, "天" * 12),
    ],
)
def test_the_last_word_is_not_settled(typed: str, sure: str) -> None:
    assert stable_prefix(typed) == sure


def test_a_piece_is_never_larger_than_a_batch(open_engine: OpenEngine, tiny_model: Path) -> None:
    # llama.cpp's arrays end where the batch does; pieces of 128 tokens were written behind them.
    engine = begun(open_engine, tiny_model, batch_size=32)
    last = read(prefill_draft(engine, asked(DRAFT * 4)))
    assert last.done == last.total > 128
