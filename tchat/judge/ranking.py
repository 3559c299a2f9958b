"""Several replies to one prompt, put into order by a judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tchat.engine.engine import Engine
from tchat.engine.events import Finished
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit, UsageError
from tchat.judge.discriminator import HUMAN, PREFERENCE, READING, JudgeFolder, load
from tchat.judge.features import (
    SCALAR_FEATURES,
    FeatureExtractor,
    Features,
    generated_reply_features,
)
from tchat.judge.linear_head import LinearHead
from tchat.sanitize import single_line

LOGPROB = "logprob"
RANKERS = (HUMAN, PREFERENCE, LOGPROB)


class Ranker(Protocol):
    """Gives replies their scores: the higher, the better."""

    @property
    def name(self) -> str:
        """One of `RANKERS`."""

    @property
    def states(self) -> bool:
        """Whether replies have to come with an `Observed`."""

    def scores(
        self, asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """The score of each reply to ``asked``; none of what cannot be judged."""


@dataclass(frozen=True, slots=True)
class LikelihoodRanker:
    """The mean log-probability of a reply's tokens, to the model that wrote it."""

    name: str = LOGPROB
    states: bool = False

    def scores(
        self, _asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Ranker`."""
        found = {index: reply.log_probability for index, reply in replies.items()}
        return {
            index: value
            for index, value in found.items()
            if value is not None and math.isfinite(value)
        }


@dataclass(frozen=True, slots=True)
class HeadRanker:
    """The probability that a trained head gives a reply.

    Args:
        engine: Its model reads where that is needed.
        name: `HUMAN` or `PREFERENCE`.
        head: Of this model.
        states: Whether what comes with the writing serves it; else each reply is read.
    """

    engine: Engine
    name: str
    head: LinearHead
    states: bool

    def scores(
        self, asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Ranker`."""
        if self.states:
            layer = self.head.layer
            found = {
                index: generated_reply_features(reply, layer) for index, reply in replies.items()
            }
        else:
            found = _read(self.engine, self.head, asked, replies)
        return {
            index: self.head.probability(features) for index, features in found.items() if features
        }


def load_ranker(name: str, folder: JudgeFolder, engine: Engine) -> Ranker:
    """The judge called ``name``, for the model of ``engine``, which must be loaded.

    The states that come with the writing serve a head of the final state, unless the model is
    adapted: a head is trained on what the model itself makes of replies.

    Raises:
        UsageError: There is no such judge, or it was not trained yet.
    """
    if name == LOGPROB:
        return LikelihoodRanker()
    if name not in RANKERS:
        raise UsageError(f"there is no judge called {name}", f"these are: {', '.join(RANKERS)}")
    adapted = bool(engine.options.loras or engine.options.control)
    head = load_head(READING if name == HUMAN and adapted else name, folder, engine)
    return HeadRanker(engine, name, head, head.layer == engine.n_layer and not adapted)


def load_head(name: str, folder: JudgeFolder, engine: Engine) -> LinearHead:
    """The head called `HUMAN`, `READING` or `PREFERENCE`, for the model of ``engine``.

    The engine must be loaded.

    Raises:
        UsageError: It was not trained yet, its file is damaged, or it is another model's.
    """
    paths = {HUMAN: folder.human, READING: folder.reading, PREFERENCE: folder.preference}
    path = paths[name]
    trained = load(path)
    if trained is None:
        raise not_trained(name)
    head, width = trained.head, engine.n_embd + len(SCALAR_FEATURES)
    fits = len(head.center) == width and 1 <= head.layer <= engine.n_layer
    if trained.provenance.fingerprint != folder.fingerprint or not fits:
        raise UsageError(
            f"{single_line(path.name)} is of another model",
            f"train it for this one: tchat judge train; or remove {single_line(str(path))}",
        )
    return head


def not_trained(name: str) -> UsageError:
    """What to do where a judge was not trained for the model."""
    if name == PREFERENCE:
        return UsageError(
            "what you prefer was not learnt for this model yet",
            "pick and rate replies, then: tchat judge train; or take --ranker logprob",
        )
    return UsageError(
        "no discriminator was trained for this model",
        "train one: tchat judge train FILE.jsonl; or take --ranker logprob, which needs none",
    )


def _read(
    engine: Engine, head: LinearHead, asked: Sequence[ChatMessage], replies: Mapping[int, Finished]
) -> dict[int, Features | None]:
    layers = [head.layer] if head.layer < engine.n_layer else []
    found: dict[int, Features | None] = {}
    # Without the memory to read them, or stopped meanwhile, replies are still there to be shown.
    with suppress(DoesNotFit, InterruptedError), FeatureExtractor(engine, layers) as reader:
        for index, reply in replies.items():
            found[index] = reader.features(asked, reply.text)
    return found


def best_first(scores: Mapping[int, float]) -> list[int]:
    """Indexes, the best first; among equals the first written."""
    return sorted(scores, key=lambda index: (-scores[index], index))
