"""A made-up player whose replies move with the control vector, with a price that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy

from tchat.judge.features import Features
from tchat.judge.game.adversarial_loop import GameReplies
from tchat.judge.game.steering import GameReply, Steering
from tests.judge.synthetic import LAYERS, features

PROMPTS = [f"prompt {number}" for number in range(40)]
APART = 2.0  # how far people's states are from the generator's, along the first axis


def people() -> list[GameReply]:
    rng = numpy.random.default_rng(1)
    return [GameReply(prompt, "by hand", features(rng, APART)) for prompt in PROMPTS]


def plain(seed: int = 2) -> list[GameReply]:
    rng = numpy.random.default_rng(seed)
    return [GameReply(prompt, "by rote", features(rng)) for prompt in PROMPTS]


def table() -> GameReplies:
    own = [reply for seed in (2, 3, 4) for reply in plain(seed)]
    return GameReplies(tuple(people()), tuple(plain()), tuple(own))


@dataclass
class Puppet:
    """Replies whose states follow the vector; a unit of it costs ``price`` of log-probability."""

    price: float = 0.0
    stop_after: int = 10**9
    written: int = 0
    asked: list[tuple[int, float]] = field(default_factory=list)
    on_write: Callable[[], None] = lambda: None

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[GameReply]:
        push = steering.directions.get(1)
        along = float(push[0]) if push is not None else 0.0
        length = float(numpy.linalg.norm(push)) if push is not None else 0.0
        self.asked.append((seed, length))
        rng = numpy.random.default_rng(seed)
        for prompt in prompts:
            if self.written >= self.stop_after:
                raise InterruptedError
            self.written += 1
            made = features(rng, along)
            lp = made.plain[1] - self.price * length
            yield GameReply(
                prompt, "steered", Features(made.states, (made.plain[0], lp, made.plain[2]))
            )


__all__ = ["LAYERS", "PROMPTS", "Puppet", "plain", "table"]
