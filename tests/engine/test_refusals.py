"""A context that llama.cpp refuses to make, and decodes that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tchat.engine.binding import backend
from tchat.engine.context import SCRATCH
from tchat.engine.engine import Engine
from tchat.engine.prompt import ChatMessage
from tchat.engine.scoring import HiddenStateReader
from tchat.errors import DoesNotFit, TchatError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished
from tests.refusals.library import Fault, Refusing

GREEDY = Sampling(temp=0, max_tokens=8)
HELLO = [ChatMessage("user", "Hello, why is the sky blue?")]
LONG = [ChatMessage("user", "why is the sky blue and what would you say about it? " * 60)]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    real = backend().lib
    yield Refusing.install()
    backend().lib = real


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent", "tiny_sliding"])
@pytest.mark.parametrize("how", ["once", "lasting"])
def test_a_context_that_cannot_be_wider_stays_or_comes_back(
    refusing: Refusing,
    open_engine: OpenEngine,
    request: pytest.FixtureRequest,
    name: str,
    how: str,
) -> None:
    engine = open_engine(request.getfixturevalue(name))
    first = finished(engine.generate(HELLO, GREEDY))
    held = cached_tokens(engine)
    # llama.cpp is asked a second time for its reason: only when both are refused there is none.
    refusing.arm(Fault("llama_init_from_model", 1, "lasting" if how == "lasting" else "once"))
    if how == "once":
        list(engine.candidates(HELLO, GREEDY, 4))
    else:
        with pytest.raises(DoesNotFit, match=r"no context of [0-9,]+ tokens can be made"):
            list(engine.candidates(HELLO, GREEDY, 4))
        assert cached_tokens(engine) == engine._ready.context.cached_tokens == 0
    refusing.arm(None)
    again = finished(engine.generate(HELLO, GREEDY))
    assert again.text == first.text
    assert cached_tokens(engine) == held
    assert len(list(engine.candidates(HELLO, GREEDY, 4))) > 4


def test_the_old_context_is_made_again_when_only_the_wider_one_is_refused(
    refusing: Refusing, open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    finished(engine.generate(HELLO, GREEDY))
    context = engine._ready.context
    make = context._new_handle

    def refused(capacity: int, sequences: int) -> object:
        if sequences > SCRATCH + 1:
            raise DoesNotFit("no memory")
        return make(capacity, sequences)

    context._new_handle = refused  # type: ignore[method-assign]
    with pytest.raises(DoesNotFit, match="no memory"):
        list(engine.candidates(HELLO, GREEDY, 4))
    assert cached_tokens(engine) == context.cached_tokens > 20
    usage = finished(engine.generate(HELLO, GREEDY)).usage
    assert usage.reused == usage.prompt - 1


def test_no_call_reaches_a_context_that_is_not_there(
    refusing: Refusing, open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    finished(engine.generate(HELLO, GREEDY))
    context = engine._ready.context
    refusing.arm(Fault("llama_init_from_model", 1, "lasting"))
    with pytest.raises(DoesNotFit):
        context.set_parallel(4)
    context.clear()
    context.forget(0)
    context.copy(0, 3)
    context.enable_hidden_states(True)
    context.enable_hidden_states(False)
    assert (context.truncate(0), context.truncate(5)) == (True, False)
    assert context.save_state(None, bytearray()) == 0
    assert context.save_state((0, 4), bytearray()) == 0
    assert not context.load_state(None, bytearray(64), 64)
    for use in (
        lambda: context.step(1, 0),
        lambda: context.decode([]),
        context.logits,
        context.logits_array,
        lambda: context.hidden_state(0),
        lambda: context.handle,
        lambda: context.reserve(10),
        lambda: context.set_parallel(2),
    ):
        with pytest.raises(DoesNotFit):
            use()
    refusing.arm(None)
    assert not context.reserve(10)  # there, and empty
    assert context.handle


def test_no_call_reaches_a_context_that_is_closed(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    finished(engine.generate(HELLO, GREEDY))
    context = engine._ready.context
    engine.close()
    context.close()
    context.clear()
    context.forget(0)
    context.enable_hidden_states(True)
    assert (context.cached_tokens, context.capacity, context.state_size) == (0, 0, 0)
    assert context.save_state(None, bytearray()) == 0
    for use in (
        lambda: context.step(1, 0),
        lambda: context.decode([]),
        context.logits,
        lambda: context.reserve(10),
        lambda: context.set_parallel(9),
    ):
        with pytest.raises((DoesNotFit, ValueError)):
            use()


def test_a_reply_goes_on_without_a_draft_model_that_fails(
    refusing: Refusing,
    open_engine: OpenEngine,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: object) -> NoReturn:
        raise TchatError("no")

    sampling = Sampling(temp=0, max_tokens=40)
    expected = finished(open_engine(tiny_model).generate(HELLO, sampling)).text
    engine = open_engine(tiny_model, draft=tiny_model)
    list(engine.load())
    speculation = engine._ready.speculation
    assert speculation is not None
    assert speculation.draft_model is not None
    monkeypatch.setattr(speculation.draft_model.kv, "prefill", refused)
    speculation.draft_model.begin([1, 2, 3])
    assert speculation.draft_model.draft(4) == []
    assert speculation.draft_model.gain(8, speculation.times) == 0
    assert finished(engine.generate(HELLO, sampling)).text == expected


def test_a_reader_forgets_what_a_failed_decode_left(
    refusing: Refusing, open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine: Engine = open_engine(tiny_model, ctx_size=1024)
    list(engine.load())
    one, other = (engine.text_tokens(text * 40) for text in ("why is the sky ", "why is the day "))
    reader: HiddenStateReader = engine.hidden_state_reader([1])
    try:
        refusing.arm(None)
        first = reader.read(one[:100], one[100:])
        fresh = reader.read(other[:100], other[100:])
        assert first is not None
        assert fresh is not None
        reader.read(one[:100], one[100:])
        refusing.arm(Fault("llama_decode", 2))
        with pytest.raises(TchatError, match="failed while decoding"):
            reader.read(other[:100], other[100:])
        refusing.arm(None)
        again = reader.read(one[:100], one[100:])
        assert again is not None
        assert again.log_probability == pytest.approx(first.log_probability, rel=1e-3)
    finally:
        reader.close()
