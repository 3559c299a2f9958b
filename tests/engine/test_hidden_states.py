"""Hidden states of replies, as the layers of real models make them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import LabelScores
from tchat.engine.loading import ControlVector
from tchat.engine.prompt import ChatMessage
from tchat.engine.scoring import BATCH, HiddenStateReader, LayerStates
from tchat.errors import DoesNotFit, ModelInvalid
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished

ASKED = [ChatMessage("user", "Say something about the sea.")]
REPLY = "The sea is wide and deep, and it is never the same."


def loaded(open_engine: OpenEngine, path: Path, **options: object) -> Engine:
    engine = open_engine(path, **options)
    list(engine.load())
    return engine


def observed(reader: HiddenStateReader, engine: Engine, reply: str = REPLY) -> LayerStates:
    prompt, tokens = engine.prompt_tokens(ASKED), engine.text_tokens(reply)
    found = reader.read(prompt, tokens)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("fixture", "layers"),
    [
        ("tiny_model", (1,)),
        ("tiny_sliding", (1,)),
        ("tiny_recurrent", (1,)),
        ("starter_model", (9, 21)),
    ],
)
def test_every_layer_gives_one_averaged_state(
    open_engine: OpenEngine, request: pytest.FixtureRequest, fixture: str, layers: tuple[int, ...]
) -> None:
    engine = loaded(open_engine, request.getfixturevalue(fixture))
    reader = engine.hidden_state_reader(layers)
    found = observed(reader, engine)
    last = max(found.states)
    assert sorted(found.states) == sorted({*layers, last})
    widths = {state.shape for state in found.states.values()}
    assert len(widths) == 1
    assert all(numpy.isfinite(state).all() and state.any() for state in found.states.values())
    assert found.tokens == len(engine.text_tokens(REPLY))
    reader.close()


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_sliding", "tiny_recurrent"])
def test_what_was_read_before_changes_nothing(
    open_engine: OpenEngine, request: pytest.FixtureRequest, fixture: str
) -> None:
    engine = loaded(open_engine, request.getfixturevalue(fixture))
    fresh, used = engine.hidden_state_reader((1,)), engine.hidden_state_reader((1,))
    observed(used, engine, "Something else altogether, and rather longer than the other one.")
    one, other = observed(fresh, engine), observed(used, engine)
    for layer, state in one.states.items():
        assert other.states[layer] == pytest.approx(state, rel=1e-3, abs=1e-4)
    assert other.log_probability == pytest.approx(one.log_probability, rel=1e-3)
    fresh.close()
    used.close()


def test_a_reply_over_several_batches_is_averaged_whole(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    """The mean over a whole equals the weighted mean over its halves, where they are told apart."""
    engine = loaded(open_engine, tiny_model, ctx_size=1024)
    reader = engine.hidden_state_reader((1,))
    prompt = engine.prompt_tokens(ASKED)
    tokens = engine.text_tokens("wide and deep " * 60)[: 2 * BATCH + 7]
    assert len(tokens) > 2 * BATCH
    whole = reader.read(prompt, tokens)
    first = reader.read(prompt, tokens[:100])
    rest = reader.read([*prompt, *tokens[:100]], tokens[100:])
    assert whole
    assert first
    assert rest
    share = 100 / len(tokens)
    for layer, state in whole.states.items():
        joined = share * first.states[layer] + (1 - share) * rest.states[layer]
        assert joined == pytest.approx(state, rel=1e-2, abs=1e-3)
    joined_lp = share * first.log_probability + (1 - share) * rest.log_probability
    assert joined_lp == pytest.approx(whole.log_probability, rel=1e-3)
    reader.close()


def test_the_probability_of_a_reply_is_that_of_choosing_it(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = loaded(open_engine, tiny_model)
    events = list(engine.score_labels(ASKED, ["a", "b"]))
    shares = dict(next(e for e in events if isinstance(e, LabelScores)).probabilities)
    reader = engine.hidden_state_reader(())
    odds = (
        observed(reader, engine, "a").log_probability
        - observed(reader, engine, "b").log_probability
    )
    assert math.exp(odds) == pytest.approx(shares["a"] / shares["b"], rel=1e-2)
    reader.close()


def test_a_control_vector_steers_what_is_written_and_not_what_is_observed(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = loaded(open_engine, tiny_model)
    greedy = Sampling(temp=0, max_tokens=24)
    reader = engine.hidden_state_reader((1,))
    plain, before = finished(engine.generate(ASKED, greedy)).text, observed(reader, engine)
    width = len(before.states[1])
    rng = numpy.random.default_rng(0)
    vector = ControlVector(Path("v"), width, {1: (50 * rng.normal(size=width)).tolist()})
    engine.steer([vector])
    assert finished(engine.generate(ASKED, greedy)).text != plain
    after = observed(reader, engine)
    assert after.states[1] == pytest.approx(before.states[1], rel=1e-4, abs=1e-5)
    engine.steer([])
    assert finished(engine.generate(ASKED, greedy)).text == plain
    reader.close()


def test_a_layer_that_llama_does_not_tell_of_is_named(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = loaded(open_engine, tiny_model)
    reader = engine.hidden_state_reader((99,))
    with pytest.raises(ModelInvalid, match="has no hidden states of layer 99"):
        observed(reader, engine)
    reader.close()


def test_a_stop_ends_the_prefill(open_engine: OpenEngine, starter_model: Path) -> None:
    engine = loaded(open_engine, starter_model)
    reader = engine.hidden_state_reader(())
    engine.cancel.set()
    prompt, tokens = engine.prompt_tokens(ASKED), engine.text_tokens(REPLY)
    assert reader.read(prompt, tokens) is None
    engine.cancel.clear()
    assert reader.read(prompt, tokens) is not None
    reader.close()


def test_what_does_not_fit_is_refused_with_both_numbers(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = loaded(open_engine, tiny_model, ctx_size=256)
    reader = engine.hidden_state_reader(())
    with pytest.raises(DoesNotFit, match=r"\d+ tokens exceeds the 256"):
        reader.read(engine.prompt_tokens(ASKED), engine.text_tokens("wide " * 300))
    reader.close()
