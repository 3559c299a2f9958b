"""What a game is told in: the steps that were tried, the rounds, and the state that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy

from tchat.errors import UsageError
from tchat.judge.features import Features
from tchat.judge.game.constraints import GameReply, MetricRatio, MetricRatios, ReplyMetrics
from tchat.judge.game.steering import Steering
from tchat.judge.npz import read_arrays, write_arrays
from tchat.sanitize import single_line

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


FORMAT = 3


def save_state(state: GameState, path: Path, *, key: str) -> None:
    """Write the state of a game; ``key`` names all that it was played with."""
    facts = {
        "format": FORMAT,
        "key": key,
        "step": state.step,
        "standing": state.standing,
        "end": state.end,
        "over": state.over,
        "rounds": [asdict(each) for each in state.rounds],
        "replies": [[each.prompt, each.text] for each in state.replay],
    }
    arrays: dict[str, Any] = {
        "plain": numpy.array([reply.features.plain for reply in state.replay]).reshape(-1, 3),
        **_stacked("direction", state.steering.directions),
    }
    for layer in state.replay[0].features.states if state.replay else ():
        rows = [reply.features.states[layer] for reply in state.replay]
        arrays[f"state.{layer}"] = numpy.stack(rows)
    write_arrays(path, facts, arrays)


def load_state(path: Path, *, key: str) -> GameState | None:
    """The state of a game that was played with the same ``key``; None when there is none.

    Raises:
        UsageError: The file is damaged, or of a game that was played with something else.
    """
    try:
        facts, arrays = read_arrays(path)
        if facts["format"] != FORMAT or facts["key"] != key:
            raise UsageError(
                f"the game {single_line(path.parent.name)} was played with other replies or rules",
                f"choose another --name, or remove {single_line(str(path.parent))}",
            )
        return _state(facts, arrays)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise UsageError(
            f"{single_line(path.name)} is no game of tchat, or damaged",
            "begin anew with another --name, or remove it",
        ) from error


def _state(facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> GameState:
    states = _unstacked("state", arrays)
    replies = []
    for index, (prompt, text) in enumerate(facts["replies"]):
        here = {layer: rows[index].astype(numpy.float32) for layer, rows in states.items()}
        length, log_probability, distinct_2 = map(float, arrays["plain"][index])
        features = Features(here, (length, log_probability, distinct_2))
        replies.append(GameReply(str(prompt), str(text), features))
    rounds = [_round(each) for each in facts["rounds"]]
    directions = _unstacked("direction", arrays)
    return GameState(
        Steering(directions),
        tuple(replies),
        int(facts["standing"]),
        int(facts["end"]),
        tuple(rounds),
        float(facts["step"]),
        str(facts["over"]),
    )


def _round(facts: Mapping[str, Any]) -> GameRound:
    tried = tuple(
        StepAttempt(**{**each, "costs": _costs(each["costs"])}) for each in facts["tried"]
    )
    found = {
        "health": ReplyMetrics(**facts["health"]),
        "costs": _costs(facts["costs"]),
        "tried": tried,
    }
    return GameRound(**{**facts, **found})


def _costs(facts: Mapping[str, Any]) -> MetricRatios:
    return MetricRatios(**{name: MetricRatio(**ratio) for name, ratio in facts.items()})


def _stacked(name: str, rows: Mapping[int, Any]) -> dict[str, Any]:
    return {f"{name}.{layer}": row for layer, row in rows.items()}


def _unstacked(name: str, arrays: Mapping[str, Any]) -> dict[int, Any]:
    prefix = f"{name}."
    return {
        int(key.removeprefix(prefix)): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
