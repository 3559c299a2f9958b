"""What a game is told in: the steps that were tried, the rounds, and the state that goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from tchat.judge.game.constraints import GameReply, MetricRatios, ReplyMetrics
from tchat.judge.game.steering import Steering

FIRST_STEP = 0.1  # of the mean norm of a layer's states, over all layers together


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """A step that a line search tried, whether or not it was made.

    Args:
        strength: Of the whole control vector with it, as a share of the states' norm.
        taken: Share of the replies that the discriminator takes for a person's.
        costs: Of the replies, against unsteered ones.
        broken: Which bound of the guard they break; empty when none.
    """

    strength: float
    taken: float
    costs: MetricRatios
    broken: str = ""


@dataclass(frozen=True, slots=True)
class GameRound:
    """What a round came to.

    Args:
        number: From 0, the unsteered replies, on.
        auc: How well the discriminator of before tells this round's fresh replies from people's.
        generated: Mean probability that it gives the fresh replies to be a person's.
        people: The same for people's replies.
        taken: Share of fresh replies that it takes for a person's.
        health: Of the fresh replies.
        costs: Of the fresh replies, against unsteered ones.
        strength: Length of the control vector, as a share of the states' norm.
        note: Why no step was made.
        tried: All steps of the line search, made or not: what strength brings, and costs.
    """

    number: int
    auc: float
    generated: float
    people: float
    taken: float
    health: ReplyMetrics
    costs: MetricRatios
    strength: float
    note: str = ""
    tried: tuple[StepAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class GameState:
    """All that goes on into the next round; enough to resume.

    Args:
        steering: The control vector so far.
        replay: All steered replies so far, so that the discriminator forgets none.
        standing: How many of them, the last ones of the last accepted step, are those of
            ``steering``; where it stands in ``replay`` is told by ``end``.
        end: Behind the last of these.
        rounds: What happened.
        step: Length that the next line search begins with.
        over: Why the game has ended; empty while it has not.
    """

    steering: Steering = field(default_factory=lambda: Steering({}))
    replay: tuple[GameReply, ...] = ()
    standing: int = 0
    end: int = 0
    rounds: tuple[GameRound, ...] = ()
    step: float = FIRST_STEP
    over: str = ""

    @property
    def current(self) -> tuple[GameReply, ...]:
        """The replies of ``steering``; none while nothing is steered."""
        return self.replay[self.end - self.standing : self.end]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A step of the line search is being tried: ``done`` of ``total`` replies are written."""

    round: int
    attempt: int
    done: int
    total: int


LoopEvent: TypeAlias = StepProgress | GameState
