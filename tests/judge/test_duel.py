"""The game on made-up replies: who wins is known."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from tchat.errors import UsageError
from tchat.judge.duel import Duel, Rules, State, Trying
from tchat.judge.guard import Guard, Health
from tchat.judge.saved import load_state, save_state
from tests.judge.table import Puppet, people, plain

RULES = Rules((1,), rounds=6, batch=20)


def played(player: Puppet, rules: Rules = RULES, state: State | None = None) -> State:
    last = None
    for event in Duel(player, people(), plain(), rules).play(state or State()):
        if isinstance(event, State):
            last = event
    assert last is not None
    return last


def test_the_generator_moves_towards_people() -> None:
    end = played(Puppet())
    direction = end.steering.directions[1]
    assert direction[0] > 1.0
    assert int(abs(direction).argmax()) == 0
    assert end.rounds[-1].auc < end.rounds[0].auc
    assert end.rounds[-1].taken > end.rounds[0].taken


def test_it_ends_where_the_discriminator_is_at_chance() -> None:
    end = played(Puppet(), Rules((1,), rounds=40, batch=40))
    assert len(end.rounds) < 40
    assert end.over.startswith(("the discriminator is at chance", "no allowed step"))
    assert abs(end.rounds[-1].generated - end.rounds[-1].people) < 0.25


def test_the_guard_bounds_every_accepted_step() -> None:
    end = played(Puppet(price=0.2))
    health = [each.health.perplexity for each in end.rounds]
    own = Health.of(plain()).perplexity
    assert max(health) <= 1.35 * own  # 1.15 of the same prompts' own, which vary
    assert numpy.linalg.norm(end.steering.directions[1]) < 1.0


def test_no_step_is_made_where_none_is_allowed() -> None:
    end = played(Puppet(price=50.0))
    assert end.steering.directions == {}
    assert end.over.startswith("no allowed step helps (perplexity")
    assert end.rounds[-1].strength == 0.0


def test_each_attempt_of_a_round_has_the_same_seed_and_a_shorter_step() -> None:
    player = Puppet(price=50.0)
    played(player)
    seeds = {seed for seed, _ in player.asked}
    lengths = [length for _, length in player.asked]
    assert len(seeds) == 1
    assert lengths[0] == 0.0
    assert lengths[1:] == sorted(lengths[1:], reverse=True)


def test_the_discriminator_forgets_no_reply() -> None:
    player = Puppet()
    end = played(player)
    assert len(end.replay) == player.written + len(plain())


def test_the_same_game_twice_is_the_same() -> None:
    one, other = played(Puppet()), played(Puppet())
    assert one.steering.directions[1] == pytest.approx(other.steering.directions[1])
    assert one.rounds == other.rounds


def test_progress_is_told() -> None:
    events = list(Duel(Puppet(), people(), plain(), RULES).play(State()))
    trying = [event for event in events if isinstance(event, Trying)]
    assert {event.total for event in trying} == {20}
    assert [event.done for event in trying[:21]] == list(range(21))


def play_and_save(player: Puppet, path: Path) -> None:
    for event in Duel(player, people(), plain(), RULES).play(State()):
        if isinstance(event, State):
            save_state(event, path, key="k")


@pytest.mark.parametrize("after", [5, 30, 50, 90])
def test_an_interrupted_game_goes_on_as_if_it_never_was(tmp_path: Path, after: int) -> None:
    path = tmp_path / "game.npz"
    player = Puppet(stop_after=after)
    with pytest.raises(InterruptedError):
        play_and_save(player, path)
    state = load_state(path, key="k")
    assert state is not None
    end, whole = played(Puppet(), state=state), played(Puppet())
    assert end.rounds == whole.rounds
    assert end.steering.directions[1] == pytest.approx(whole.steering.directions[1])


def test_a_game_of_other_rules_is_not_resumed(tmp_path: Path) -> None:
    save_state(played(Puppet()), tmp_path / "game.npz", key="k")
    assert load_state(tmp_path / "game.npz", key="another") is None
    assert load_state(tmp_path / "none.npz", key="k") is None


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_a_damaged_game_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "game.npz"
    save_state(played(Puppet()), path, key="k")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else 1])
    with pytest.raises(UsageError, match=r"game\.npz is no game of tchat"):
        load_state(path, key="k")


def test_each_bound_of_the_guard_is_named() -> None:
    own, guard = Health(10.0, 0.9, 50.0), Guard()
    assert guard.broken(own, own) == ""
    assert guard.broken(own, Health(11.6, 0.9, 50.0)) == "perplexity 1.16x"
    assert guard.broken(own, Health(10.0, 0.8, 50.0)) == "diversity 0.89x"
    assert guard.broken(own, Health(10.0, 0.9, 20.0)) == "length 0.40x"
    assert guard.broken(own, Health(10.0, 0.9, 100.0)) == "length 2.00x"
