"""Several replies to one prompt, put into order by a judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tchat.engine.engine import Engine
from tchat.engine.events import Finished
from tchat.engine.turns import ChatMessage
from tchat.errors import DoesNotFit, UsageError
from tchat.judge.discriminator import HUMAN, PREFERENCE, READING, load
from tchat.judge.features import PLAIN, Features, features_of_written
from tchat.judge.folder import ModelFolder
from tchat.judge.head import Head
from tchat.judge.reader import Reader
from tchat.sanitize import single_line

LOGPROB = "logprob"
JUDGES = (HUMAN, PREFERENCE, LOGPROB)


class Judge(Protocol):
    """Gives replies their scores: the higher, the better."""

    @property
    def name(self) -> str:
        """One of `JUDGES`."""

    @property
    def states(self) -> bool:
        """Whether replies have to come with an `Observed`."""

    def scores(
        self, asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """The score of each reply to ``asked``; none of what cannot be judged."""


@dataclass(frozen=True, slots=True)
class ByLikelihood:
    """The mean log-probability of a reply's tokens, to the model that wrote it."""

    name: str = LOGPROB
    states: bool = False

    def scores(
        self, _asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Judge`."""
        found = {index: reply.log_probability for index, reply in replies.items()}
        return {
            index: value
            for index, value in found.items()
            if value is not None and math.isfinite(value)
        }


@dataclass(frozen=True, slots=True)
class ByHead:
    """The probability that a trained head gives a reply.

    Args:
        engine: Its model reads where that is needed.
        name: `HUMAN` or `PREFERENCE`.
        head: Of this model.
        states: Whether what comes with the writing serves it; else each reply is read.
    """

    engine: Engine
    name: str
    head: Head
    states: bool

    def scores(
        self, asked: Sequence[ChatMessage], replies: Mapping[int, Finished], /
    ) -> dict[int, float]:
        """As of `Judge`."""
        if self.states:
            layer = self.head.layer
            found = {index: features_of_written(reply, layer) for index, reply in replies.items()}
        else:
            found = _read(self.engine, self.head, asked, replies)
        return {
            index: self.head.probability(features) for index, features in found.items() if features
        }


def judge_of(name: str, folder: ModelFolder, engine: Engine) -> Judge:
    """The judge called ``name``, for the model of ``engine``, which must be loaded.

    The states that come with the writing serve a head of the final state, unless the model is
    adapted: a head is trained on what the model itself makes of replies.

    Raises:
        UsageError: There is no such judge, or it was not trained yet.
    """
    if name == LOGPROB:
        return ByLikelihood()
    if name not in JUDGES:
        raise UsageError(f"there is no judge called {name}", f"these are: {', '.join(JUDGES)}")
    adapted = bool(engine.options.loras or engine.options.control)
    head = head_of(READING if name == HUMAN and adapted else name, folder, engine)
    return ByHead(engine, name, head, head.layer == engine.blocks and not adapted)


def head_of(name: str, folder: ModelFolder, engine: Engine) -> Head:
    """The head called `HUMAN`, `READING` or `PREFERENCE`, for the model of ``engine``.

    The engine must be loaded.

    Raises:
        UsageError: It was not trained yet, its file is damaged, or it is another model's.
    """
    paths = {HUMAN: folder.human, READING: folder.reading, PREFERENCE: folder.preference}
    path = paths[name]
    trained = load(path)
    if trained is None:
        raise untrained(name)
    head, width = trained.head, engine.width + len(PLAIN)
    fits = len(head.center) == width and 1 <= head.layer <= engine.blocks
    if trained.provenance.fingerprint != folder.fingerprint or not fits:
        raise UsageError(
            f"{single_line(path.name)} is of another model",
            f"train it for this one: tchat judge train; or remove {single_line(str(path))}",
        )
    return head


def untrained(name: str) -> UsageError:
    """What to do where a judge was not trained for the model."""
    if name == PREFERENCE:
        return UsageError(
            "what you prefer was not learnt for this model yet",
            "pick and rate replies, then: tchat judge train; or take --judge logprob",
        )
    return UsageError(
        "no discriminator was trained for this model",
        "train one: tchat judge train FILE.jsonl; or take --judge logprob, which needs none",
    )


def _read(
    engine: Engine, head: Head, asked: Sequence[ChatMessage], replies: Mapping[int, Finished]
) -> dict[int, Features | None]:
    layers = [head.layer] if head.layer < engine.blocks else []
    found: dict[int, Features | None] = {}
    # Without the memory to read them, or stopped meanwhile, replies are still there to be shown.
    with suppress(DoesNotFit, InterruptedError), Reader(engine, layers) as reader:
        for index, reply in replies.items():
            found[index] = reader.features(asked, reply.text)
    return found


def order_of(scores: Mapping[int, float]) -> list[int]:
    """Indexes, the best first; among equals the first written."""
    return sorted(scores, key=lambda index: (-scores[index], index))
