"""Ranking candidate replies to one prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tchat.engine.engine import Engine
from tchat.engine.events import Finished
from tchat.engine.prompt import ChatMessage
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
from tchat.translation import tr

LOGPROB = "logprob"
RANKERS = (HUMAN, PREFERENCE, LOGPROB)


class Ranker(Protocol):
    """Scores replies; higher is better."""

    @property
    def name(self) -> str:
        """One of `RANKERS`."""

    @property
    def states(self) -> bool:
        """Whether it needs the hidden states recorded while generating."""

    def scores(
        self, messages: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """The score of each reply to ``messages``; leaves out replies that cannot be scored."""


@dataclass(frozen=True, slots=True)
class LikelihoodRanker:
    """Ranks by the mean log-probability of the tokens."""

    name: str = LOGPROB
    states: bool = False

    def scores(
        self, _messages: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Ranker`."""
        return {
            index: reply.log_probability
            for index, reply in replies.items()
            if reply.log_probability is not None and math.isfinite(reply.log_probability)
        }


@dataclass(frozen=True, slots=True)
class HeadRanker:
    """Ranks by the probability of a trained head."""

    engine: Engine
    name: str  # `HUMAN` or `PREFERENCE`
    head: LinearHead
    states: bool  # else each reply is processed again

    def scores(
        self, messages: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Ranker`."""
        found: dict[int, Features | None] = {}
        if self.states:
            for index, reply in replies.items():
                found[index] = generated_reply_features(reply, self.head.layer)
        else:
            layers = [self.head.layer] if self.head.layer < self.engine.n_layer else []
            # Without the memory to read them, or stopped meanwhile, replies can still be shown.
            with (
                suppress(DoesNotFit, InterruptedError),
                FeatureExtractor(self.engine, layers) as reader,
            ):
                for index, reply in replies.items():
                    found[index] = reader.features(messages, reply.text)
        return {
            index: self.head.probability(features) for index, features in found.items() if features
        }


def load_ranker(name: str, folder: JudgeFolder, engine: Engine) -> Ranker:
    """The ranker called ``name``, for the model of ``engine``, which must be loaded.

    A head of the last layer uses the hidden states recorded while generating, unless the model runs
    with an adapter: heads are trained on the plain model.

    Raises:
        UsageError: There is no such ranker, or it is not trained.
    """
    if name == LOGPROB:
        return LikelihoodRanker()
    if name not in RANKERS:
        raise UsageError(
            tr("there is no ranker called {name}", name=name),
            tr("choose one of: {rankers}", rankers=", ".join(RANKERS)),
        )
    adapted = bool(engine.options.loras or engine.options.control)
    head = load_head(READING if name == HUMAN and adapted else name, folder, engine)
    return HeadRanker(engine, name, head, head.layer == engine.n_layer and not adapted)


def load_head(name: str, folder: JudgeFolder, engine: Engine) -> LinearHead:
    """The head called `HUMAN`, `READING` or `PREFERENCE`, for the model of ``engine``.

    The engine must be loaded.

    Raises:
        UsageError: It is not trained, its file is damaged, or it belongs to another model.
        StorageError: It cannot be decrypted.
    """
    paths = {HUMAN: folder.human, READING: folder.reading, PREFERENCE: folder.preference}
    path = paths[name]
    trained = load(path, folder.encryption)
    if trained is None:
        if name == PREFERENCE:
            raise UsageError(
                tr("the preference model is not trained for this model"),
                tr("pick and rate replies, then run: tchat judge train; or use --ranker logprob"),
            )
        raise UsageError(
            tr("the discriminator is not trained for this model"),
            tr(
                "train it: tchat judge train FILE.jsonl; or use --ranker logprob, which "
                "needs no training"
            ),
        )
    head, width = trained.head, engine.n_embd + len(SCALAR_FEATURES)
    fits = len(head.center) == width and 1 <= head.layer <= engine.n_layer
    if trained.provenance.fingerprint != folder.fingerprint or not fits:
        raise UsageError(
            tr("{name} belongs to another model", name=single_line(path.name)),
            tr(
                "train it for this one: tchat judge train; or remove {path}",
                path=single_line(str(path)),
            ),
        )
    return head


def best_first(scores: Mapping[int, float]) -> list[int]:
    """Indexes, best first; ties in order of index."""
    return sorted(scores, key=lambda index: (-scores[index], index))
