"""What the generator writes and the reader reads for a training, with the tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy
import pytest

from tchat.engine.engine import Engine
from tchat.engine.events import Finished
from tchat.engine.loading import ControlVector, EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.judge.features import FeatureExtractor
from tchat.judge.linear_head import Examples
from tchat.judge.training import (
    LeftOut,
    MatchedPairs,
    ReplyCache,
    ReplyPair,
    read_pairs,
    train,
    write_pairs,
    write_replies,
)
from tchat.judge.training_data import Dialogue, EditedReply, Feedback
from tchat.judge.training_run import feedback_on_model
from tchat.models.metadata import read_metadata
from tchat.paths import user_paths
from tchat.settings import Sampling
from tests.judge.synthetic import LAYERS, features

T = TypeVar("T")
PROMPTS = ["How do you mend a kettle?", "Where is the harbour?"]
TOO_LONG = "word " * 5000


def result(work: Iterator[object]) -> object:
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return ended.value


def engine_of(path: Path, control: tuple[ControlVector, ...] = ()) -> Engine:
    options = EngineOptions(path=path, template=read_metadata(path).chat_template, threads=1)
    engine = Engine(replace(options, control=control, ctx_size=1024))
    list(engine.load())
    return engine


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Engine]:
    opened = engine_of(tiny_model)
    yield opened
    opened.close()


def written(engine: Engine, path: Path) -> list[str | None]:
    kept = ReplyCache(path)
    result(write_replies(engine, PROMPTS, range(1), kept))
    return [kept.get(prompt, 0) for prompt in PROMPTS]


def said(engine: Engine) -> str:
    greedy = Sampling(temp=0, max_tokens=16)
    *_, last = engine.generate([ChatMessage("user", PROMPTS[0])], greedy)
    assert isinstance(last, Finished)
    return last.text


def test_replies_to_learn_from_are_the_unsteered_models(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    """Also where a control vector is the model's default; that is in force again afterwards."""
    rng = numpy.random.default_rng(0)
    vector = ControlVector(Path("v"), 64, {1: (50 * rng.normal(size=64)).tolist()})
    steered = engine_of(tiny_model, (vector,))
    try:
        before = said(steered)
        assert written(steered, tmp_path / "a.jsonl") == written(engine, tmp_path / "b.jsonl")
        assert said(steered) == before != said(engine)
    finally:
        steered.close()


def test_what_does_not_fit_is_left_out_and_the_rest_is_learnt_from(
    engine: Engine, tmp_path: Path
) -> None:
    kept = ReplyCache(tmp_path / "kept.jsonl")
    asked = [*(f"{number}: {PROMPTS[0]}" for number in range(7)), TOO_LONG]
    dialogues = [Dialogue(prompt, "I would ask my aunt. " * 12) for prompt in asked]
    matched = result(write_pairs(engine, dialogues, kept))
    assert isinstance(matched, MatchedPairs)
    pairs = matched.pairs
    left_out = matched.left_out
    assert (left_out.given, left_out.unanswered) == (8, 1)
    assert left_out.count == 8 - len(pairs)
    assert "1 to prompts that do not fit the context" in left_out.notice
    assert {pair.prompt for pair in pairs} <= set(asked[:-1])
    assert pairs
    assert kept.get(TOO_LONG, 0) is None
    given = [ReplyPair(p, "one two three", 3, "four five six", 3) for p in (*PROMPTS, TOO_LONG)]
    with FeatureExtractor(engine) as reader:
        found = result(read_pairs(reader, given))
    assert isinstance(found, tuple)
    examples, _ = found
    assert examples.groups == [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1]]
    assert examples.labels.tolist() == [True, False, True, False]


def test_hopeless_data_are_refused_before_anything_is_generated(
    engine: Engine, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    long, short = "I would ask my aunt. " * 4, "Yes."
    few = [Dialogue(f"{n}?", long if n < 7 else short) for n in range(20)]
    with pytest.raises(UsageError, match=r"7 human replies are too few .*13 of 20 .*8 tokens"):
        result(write_pairs(engine, few, ReplyCache(kept)))
    one = [Dialogue("Why?", long + str(n)) for n in range(20)]
    with pytest.raises(UsageError, match="all replies are to one prompt"):
        result(write_pairs(engine, one, ReplyCache(kept)))
    assert not kept.exists()


def test_pairs_that_are_too_few_are_refused_with_the_reasons() -> None:
    left_out = LeftOut(given=10, short=1, unanswered=0, unequal=7)
    with pytest.raises(UsageError, match="2 human replies are too few") as caught:
        MatchedPairs([ReplyPair("p", "a", 9, "b", 9)] * 2, left_out).require_enough()
    assert "8 of 10 human replies are left out: 1 shorter than 8 tokens, 7 of another length" in (
        caught.value.message
    )


def examples_to(prompts: int) -> Examples:
    rng = numpy.random.default_rng(1)
    people = numpy.arange(64) % 2 == 0
    asked = tuple(f"p{index // 2 % prompts}" for index in range(64))
    return Examples([features(rng, 2.0 * each) for each in people], people, asked)


def test_replies_to_a_single_prompt_are_refused_and_to_few_claim_no_quality() -> None:
    with pytest.raises(UsageError, match="all replies are to one prompt"):
        train(examples_to(1), LAYERS, model="m", fingerprint="f", data="d")
    few = train(examples_to(3), LAYERS, model="m", fingerprint="f", data="d")
    assert few.provenance.quality is None
    several = train(examples_to(8), LAYERS, model="m", fingerprint="f", data="d")
    assert several.provenance.quality is not None


def test_only_what_this_model_wrote_is_its_own_to_learn_from(tiny_model: Path) -> None:
    def edit(model: str, sha256: str = "") -> EditedReply:
        return EditedReply((), "mine", "the model's", model, sha256)

    given = (edit(str(tiny_model)), edit("starter"), edit("no such model"), edit("x", "5" * 64))
    facts, paths = read_metadata(tiny_model), user_paths()
    assert feedback_on_model(Feedback(edits=given), facts, paths).edits == given[:1]
    hashed = replace(facts, sha256="5" * 64)
    assert feedback_on_model(Feedback(edits=given), hashed, paths).edits == given[3:]
