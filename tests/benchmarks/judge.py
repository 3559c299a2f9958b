"""The discriminator on the starter model: how well it tells, ranks, and learns what is preferred.

Every figure is of examples that training never saw, over five seeds: of the generator's replies,
of the division of the data, and of the made-up preferences. The replies take the generator some
forty minutes of one core; ``TCHAT_JUDGE_BENCH`` names a folder where they, and what the model made
of them, are kept for the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tchat.engine.engine import Engine
from tchat.engine.events import CandidateEvent, Finished
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.judge.features import FeatureExtractor, Features, middle_layers
from tchat.judge.linear_head import Examples, LinearHead, feature_matrix, fit_head, held_out_quality
from tchat.judge.preference_model import PreferenceFeatures, fit_preference
from tchat.judge.ranking import HeadRanker
from tchat.judge.training import (
    TRIES,
    ReplyCache,
    ReplyPair,
    auc_by_length,
    match_lengths,
    pair_replies,
    write_replies,
)
from tchat.judge.training_data import Dialogue, read_dialogues
from tchat.models.metadata import read_metadata
from tchat.models.resolve import resolve
from tchat.paths import user_paths
from tchat.settings import Sampling
from tests.benchmarks.rows import Row

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "human_replies.jsonl"
KEEP = "TCHAT_JUDGE_BENCH"
SEEDS = range(5)
CANDIDATES = 8
TESTED, HELD = 60, 35  # prompts with eight replies; how many of them a seed tests on


def rows() -> Iterator[Row]:
    """The table, as far as it needs no game; that is ``judge_duel``."""
    yield from preferences()
    with tempfile.TemporaryDirectory() as folder:
        bench = opened(Path(os.environ.get(KEEP, folder)))
        with bench.engine:
            yield from detection(bench)
            yield from ranking(bench)
            yield cost(bench)


@dataclass(frozen=True, slots=True)
class Bench:
    """The starter model, people's replies, and the model's own."""

    engine: Engine
    dialogues: tuple[Dialogue, ...]
    kept: ReplyCache
    folder: Path

    def features(self, reader: FeatureExtractor, prompt: str, reply: str) -> Features:
        """What the model makes of a reply, kept in a file."""
        key = hashlib.sha256(json.dumps([prompt, reply]).encode()).hexdigest()[:32]
        path = self.folder / "states" / f"{key}.npz"
        if path.exists():
            with numpy.load(path) as file:
                length, likelihood, distinct = map(float, file["plain"])
                states = {int(name): file[name] for name in file.files if name != "plain"}
            return Features(states, (length, likelihood, distinct))
        found = reader.read([ChatMessage("user", prompt)], reply)
        assert found is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        with partial.open("wb") as file:
            arrays: dict[str, Any] = {str(name): state for name, state in found.states.items()}
            numpy.savez(file, plain=numpy.array(found.plain), **arrays)
        partial.replace(path)
        return found


def opened(folder: Path) -> Bench:
    """Load the model, and let it write what it has not written yet."""
    model = resolve("starter", user_paths())
    engine = Engine(EngineOptions(path=model, template=read_metadata(model).chat_template))
    list(engine.load())
    bench = Bench(
        engine, read_dialogues([DATA]).dialogues, ReplyCache(folder / "generations.jsonl"), folder
    )
    prompts = [dialogue.prompt for dialogue in bench.dialogues]
    for _ in write_replies(engine, prompts, range(len(SEEDS)), bench.kept):
        pass
    for _ in write_replies(engine, tested(bench), range(CANDIDATES), bench.kept):
        pass
    return bench


def tested(bench: Bench) -> list[str]:
    """The prompts on which ranking is tested."""
    order = numpy.random.default_rng(0).permutation(len(bench.dialogues))
    return [bench.dialogues[at].prompt for at in order[:TESTED]]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


# People's replies against the generator's


def detection(bench: Bench) -> Iterator[Row]:
    """Held-out AUC and calibration; the generator's replies are others for each seed."""
    aucs, errors, lengths, counts, read = [], [], [], [], []
    last, middle = bench.engine.n_layer, middle_layers(bench.engine.n_layer)
    with FeatureExtractor(bench.engine, middle) as reader:
        for seed in SEEDS:
            numbers = [(seed + n) % len(SEEDS) for n in range(TRIES)]
            pairs = match_lengths(pair_replies(bench.engine, bench.dialogues, bench.kept, numbers))
            given = examples(bench, reader, pairs)
            found = held_out_quality(given, [last], seed=seed)
            read.append(held_out_quality(given, [*middle, last], seed=seed).auc)
            aucs.append(found.auc)
            errors.append(found.calibration_error)
            lengths.append(max(by := auc_by_length(pairs), 1 - by))
            counts.append(float(len(pairs)))
    pairs_words = f"{statistics.mean(counts):.0f} pairs, length alone {max(lengths):.2f}"
    reached = statistics.mean(aucs) >= 0.9 and max(lengths) <= 0.6
    yield Row(
        f"people's replies told from the model's: held-out AUC ({pairs_words})",
        spread(aucs),
        ">= 0.90",
        reached,
    )
    yield Row(
        "its calibration: expected calibration error, held out",
        spread(errors),
        "<= 0.08",
        statistics.mean(errors) <= 0.08,
    )
    what = "of texts that are read, by the layer that cross-validation chooses: held-out AUC"
    yield Row(what, spread(read), ">= 0.90", statistics.mean(read) >= 0.9)


def examples(bench: Bench, reader: FeatureExtractor, pairs: Sequence[ReplyPair]) -> Examples:
    texts = [(p.prompt, text) for p in pairs for text in (p.person, p.generated)]
    features = [bench.features(reader, *each) for each in texts]
    return Examples(features, numpy.arange(len(texts)) % 2 == 0, [prompt for prompt, _ in texts])


# The best of eight


def ranking(bench: Bench) -> Iterator[Row]:
    """A head of one half of the data ranks, one of the other half judges, on prompts of neither."""
    single, best = [], []
    with FeatureExtractor(bench.engine, middle_layers(bench.engine.n_layer)) as reader:
        for seed in SEEDS:
            rng = numpy.random.default_rng(seed)
            held = set(rng.choice(tested(bench), size=HELD, replace=False).tolist())
            ranker, outsider = halves(bench, reader, held, rng)
            for prompt in sorted(held):
                tries = [bench.kept.get(prompt, n) for n in range(CANDIDATES)]
                found = [bench.features(reader, prompt, text) for text in tries if text]
                chosen = max(found, key=ranker.score)
                single.append((seed, share(outsider, found)))
                best.append((seed, share(outsider, [chosen])))
    before, after = by_seed(single), by_seed(best)
    gain = [b / max(a, 1e-9) for a, b in zip(before, after, strict=True)]
    what = (
        f"best of {CANDIDATES} taken for a person's by a head of another split: "
        f"{statistics.mean(before):.0%} of single replies, {statistics.mean(after):.0%} of best"
    )
    reached = statistics.mean(after) >= 2 * statistics.mean(before)
    yield Row(
        what, f"{statistics.mean(gain):.2f}x ± {statistics.stdev(gain):.2f}", ">= 2x", reached
    )


def halves(
    bench: Bench, reader: FeatureExtractor, held: set[str], rng: numpy.random.Generator
) -> tuple[LinearHead, LinearHead]:
    """Two heads, of two halves of the prompts that are not ``held``."""
    rest = [dialogue for dialogue in bench.dialogues if dialogue.prompt not in held]
    order = rng.permutation(len(rest))
    heads = []
    for part in numpy.array_split(order, 2):
        pairs = pair_replies(bench.engine, [rest[at] for at in part], bench.kept, range(TRIES))
        heads.append(
            fit_head(examples(bench, reader, match_lengths(pairs)), [bench.engine.n_layer])
        )
    return heads[0], heads[1]


def share(head: LinearHead, replies: Sequence[Features]) -> float:
    """How many a head takes for a person's."""
    return float((head.scores(feature_matrix(replies, head.layer)) > 0).mean())


def by_seed(values: Sequence[tuple[int, float]]) -> list[float]:
    return [statistics.mean(v for seed, v in values if seed == each) for each in SEEDS]


def cost(bench: Bench) -> Row:
    """What judging eight candidates adds to writing them; runs with and without alternate."""
    with FeatureExtractor(bench.engine, middle_layers(bench.engine.n_layer)) as reader:
        pairs = match_lengths(pair_replies(bench.engine, bench.dialogues, bench.kept, range(TRIES)))
        head = fit_head(examples(bench, reader, pairs[:40]), [bench.engine.n_layer])
    asked = [ChatMessage("user", bench.dialogues[0].prompt)]
    ratios = []
    for turn in range(5):
        plain = writing(bench, asked, head, turn, judged=False)
        ratios.append(writing(bench, asked, head, turn, judged=True) / plain - 1)
    share = statistics.median(ratios)
    return Row(
        "judging eight candidates, on top of writing them",
        f"{100 * share:.1f} %",
        "<= 10 %",
        share <= 0.1,
    )


def writing(
    bench: Bench, asked: list[ChatMessage], head: LinearHead, seed: int, *, judged: bool
) -> float:
    """Seconds for eight candidates of 96 tokens, and for their scores."""
    sampling = Sampling(temp=0.7, seed=seed, max_tokens=96, logit_bias=("<|im_end|>=-100",))
    started = time.perf_counter()
    events = bench.engine.candidates(asked, sampling, CANDIDATES, states=judged)
    replies = {
        event.index: event.event
        for event in events
        if isinstance(event, CandidateEvent) and isinstance(event.event, Finished)
    }
    if judged:
        scores = HeadRanker(bench.engine, "human", head, states=True).scores(asked, replies)
        assert len(scores) == CANDIDATES
    return time.perf_counter() - started


# What is preferred


def preferences() -> Iterator[Row]:
    """100 choices by a rule, a tenth of them the wrong way around."""
    for what, rule in (("one plain figure", plain_rule), ("two numbers of 48", state_rule)):
        right = [accuracy(rule, seed) for seed in SEEDS]
        yield Row(
            f"preferences by a rule on {what}, learnt from 100 noisy pairs: unseen ones right",
            spread(right),
            ">= 0.85",
            statistics.mean(right) >= 0.85,
        )


def plain_rule(one: Features) -> float:
    return -one.plain[0]


def state_rule(one: Features) -> float:
    return float(one.states[1][0] + one.states[1][1])


def accuracy(rule: object, seed: int) -> float:
    fitted = fit_preference(choices(rule, 100, 0.1, 2 * seed), (1,))
    unseen = choices(rule, 400, 0.0, 2 * seed + 1)
    right = [fitted.score(c.chosen) > fitted.score(c.rejected) for c in unseen]
    return statistics.mean(right)


def choices(rule: object, count: int, noise: float, seed: int) -> list[PreferenceFeatures]:
    rng = numpy.random.default_rng(seed)
    found = []
    for group in range(count):
        pair = sorted((made_up(rng), made_up(rng)), key=rule, reverse=True)  # type: ignore[call-overload]
        if rng.random() < noise:
            pair.reverse()
        found.append(PreferenceFeatures(pair[0], pair[1], group))
    return found


def made_up(rng: numpy.random.Generator) -> Features:
    """Features of noise: a state of 48 numbers, and plain figures as of real replies."""
    state = rng.normal(size=48).astype(numpy.float32)
    length, likelihood = float(rng.normal(4.0, 0.5)), float(rng.normal(-2.0, 0.3))
    return Features({1: state}, (length, likelihood, float(rng.uniform(0.8, 1.0))))
