"""The state of a game: steps, rounds, and the checkpoint on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from tchat.errors import UsageError
from tchat.judge.discriminator import read_arrays, write_arrays
from tchat.judge.features import Features
from tchat.judge.game.steering import GameReply, MetricRatio, MetricRatios, ReplyMetrics, Steering
from tchat.sanitize import single_line
from tchat.stored_text import shown_text, stored_text
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

FIRST_STEP = 0.1  # of the mean norm of a layer's states, over all layers together


@dataclass(frozen=True, slots=True)
class StepAttempt:
    """A step that the line search tried."""

    strength: float  # norm of the control vector over the norm of the hidden states
    taken: float  # share of the replies that the discriminator classifies as human
    costs: MetricRatios
    broken: str = ""  # the violated bound


@dataclass(frozen=True, slots=True)
class GameRound:
    """The result of a round: the discriminator on human and on new replies."""

    number: int  # 0 is without steering
    auc: float
    generated: float  # its mean probability of "human" for the new replies
    people: float  # the same for human replies
    taken: float  # share of the new replies that it classifies as human
    health: ReplyMetrics  # of the new replies
    costs: MetricRatios
    strength: float  # norm of the control vector over the norm of the hidden states
    note: str = ""  # why no step was taken
    tried: tuple[StepAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class GameState:
    """All that the next round needs; enough to resume."""

    steering: Steering = field(default_factory=lambda: Steering({}))
    replay: tuple[GameReply, ...] = ()  # all steered replies, the discriminator's replay buffer
    standing: int = 0  # number of replies in `replay` from the current `steering`
    end: int = 0  # index after the last of them
    rounds: tuple[GameRound, ...] = ()
    step: float = FIRST_STEP  # first step length of the next line search
    over: str = ""  # why the game ended

    @property
    def current(self) -> tuple[GameReply, ...]:
        """The replies of the current ``steering``; none without steering."""
        return self.replay[self.end - self.standing : self.end]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Progress of a step of the line search: ``done`` of ``total`` replies."""

    round: int
    attempt: int
    done: int
    total: int


LoopEvent: TypeAlias = StepProgress | GameState


FORMAT = 3


def save_state(
    state: GameState, path: Path, *, key: str, encryption: Encryption | None = None
) -> None:
    """Write a checkpoint; ``key`` identifies data and rules."""
    facts = {
        "format": FORMAT,
        "key": key,
        "step": state.step,
        "standing": state.standing,
        "end": state.end,
        "over": stored_text(state.over),
        "rounds": [_facts(each) for each in state.rounds],
        "replies": [[each.prompt, each.text] for each in state.replay],
    }
    arrays: dict[str, Any] = {
        "plain": numpy.array([reply.features.plain for reply in state.replay]).reshape(-1, 3),
        **{f"direction.{layer}": row for layer, row in state.steering.directions.items()},
    }
    for layer in state.replay[0].features.states if state.replay else ():
        rows = [reply.features.states[layer] for reply in state.replay]
        arrays[f"state.{layer}"] = numpy.stack(rows)
    write_arrays(path, facts, arrays, encryption)


def load_state(path: Path, *, key: str, encryption: Encryption | None = None) -> GameState | None:
    """Read a checkpoint with the same ``key``; None if there is none.

    Raises:
        UsageError: The file is damaged, or belongs to a game with other data or rules.
    """
    try:
        facts, arrays = read_arrays(path, encryption)
        if facts["format"] != FORMAT or facts["key"] != key:
            raise UsageError(
                tr("the duel {name} has other data or rules", name=single_line(path.parent.name)),
                tr(
                    "choose another --name, or remove {parent}",
                    parent=single_line(str(path.parent)),
                ),
            )
        return _state(facts, arrays)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise UsageError(
            tr("{name} is damaged, or not a checkpoint of tchat", name=single_line(path.name)),
            tr("choose another --name, or remove the file"),
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
        shown_text(str(facts["over"])),
    )


def _facts(played: GameRound) -> dict[str, Any]:
    """A round as `_round` reads it."""
    facts = asdict(played)
    facts["note"] = stored_text(played.note)
    for stored, attempt in zip(facts["tried"], played.tried, strict=True):
        stored["broken"] = stored_text(attempt.broken)
    return facts


def _round(facts: Mapping[str, Any]) -> GameRound:
    found = {
        "health": ReplyMetrics(**facts["health"]),
        "costs": _costs(facts["costs"]),
        "note": shown_text(facts["note"]),
        "tried": tuple(map(_attempt, facts["tried"])),
    }
    return GameRound(**{**facts, **found})


def _attempt(facts: Mapping[str, Any]) -> StepAttempt:
    found = {"costs": _costs(facts["costs"]), "broken": shown_text(facts["broken"])}
    return StepAttempt(**{**facts, **found})


def _costs(facts: Mapping[str, Any]) -> MetricRatios:
    return MetricRatios(**{name: MetricRatio(**ratio) for name, ratio in facts.items()})


def _unstacked(name: str, arrays: Mapping[str, Any]) -> dict[int, Any]:
    prefix = f"{name}."
    return {
        int(key.removeprefix(prefix)): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
