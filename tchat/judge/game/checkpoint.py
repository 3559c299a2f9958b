"""A game on disk: all that a round needs to go on, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy

from tchat.errors import UsageError
from tchat.judge.features import Features
from tchat.judge.game.constraints import GameReply, MetricRatio, MetricRatios, ReplyMetrics
from tchat.judge.game.game_state import GameRound, GameState, StepAttempt
from tchat.judge.game.steering import Steering
from tchat.judge.npz import read_arrays, write_arrays
from tchat.sanitize import single_line

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
