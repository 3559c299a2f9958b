"""The game on made-up replies: who wins is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy
import pytest

from tchat.errors import UsageError
from tchat.judge.features import Features
from tchat.judge.game.adversarial_loop import ENOUGH, TRIES, AdversarialLoop, GameRules, LineSearch
from tchat.judge.game.game_state import GameState, StepProgress, load_state, save_state
from tchat.judge.game.report import write_report
from tchat.judge.game.steering import (
    Constraints,
    GameReply,
    MetricRatio,
    MetricRatios,
    ReplyMetrics,
    Steering,
)
from tests.judge.game.game_replies import Puppet, plain, table
from tests.judge.synthetic import features

RULES = GameRules((1,), rounds=6, batch=20)


def played(player: Puppet, rules: GameRules = RULES, state: GameState | None = None) -> GameState:
    last = None
    for event in AdversarialLoop(player, table(), rules).play(state or GameState()):
        if isinstance(event, GameState):
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
    end = played(Puppet(), GameRules((1,), rounds=40, batch=40))
    assert len(end.rounds) < 40
    assert end.over.startswith(("the discriminator is at chance", "no allowed step"))
    assert abs(end.rounds[-1].generated - end.rounds[-1].people) < 0.25


def test_the_guard_bounds_every_accepted_step() -> None:
    end = played(Puppet(price=0.2), GameRules((1,), batch=40))
    health = [each.health.perplexity for each in end.rounds]
    own = ReplyMetrics.of(plain()).perplexity
    assert max(health) <= 1.35 * own  # 1.15 of the same prompts' own, which vary
    assert numpy.linalg.norm(end.steering.directions[1]) < 1.0


def test_it_ends_where_the_bounds_are_used_up() -> None:
    end = played(Puppet(price=0.3), GameRules((1,), batch=40))
    assert end.over == "the bounds are used up"
    last = end.rounds[-1]
    assert last.strength > 0.0
    assert Constraints().used(last.costs) >= ENOUGH


def test_no_step_is_made_where_none_is_allowed() -> None:
    end = played(Puppet(price=50.0))
    assert end.steering.directions == {}
    assert end.over.startswith("no allowed step helps (perplexity")
    assert end.rounds[-1].strength == 0.0


def test_each_step_that_was_tried_is_told_with_what_it_brought_and_cost(tmp_path: Path) -> None:
    end = played(Puppet(price=0.3), GameRules((1,), rounds=1, batch=40))
    tried = end.rounds[1].tried
    strengths = [each.strength for each in tried]
    assert len(set(strengths)) == len(tried) > 1
    weakest, strongest = (
        tried[strengths.index(min(strengths))],
        tried[strengths.index(max(strengths))],
    )
    assert strongest.costs.perplexity.value > weakest.costs.perplexity.value
    assert strongest.taken > weakest.taken
    assert strongest.broken.startswith("perplexity")
    entries = (("model", "made up"),)
    text = write_report(tmp_path, end, None, [], entries).read_text(encoding="utf-8")
    assert all(f"| 1 | {strength:.3f} |" in text for strength in strengths)
    save_state(end, tmp_path / "game.npz", key="k")
    saved = load_state(tmp_path / "game.npz", key="k")
    assert saved is not None
    assert saved.rounds == end.rounds


def test_each_attempt_of_a_round_has_the_same_seed_and_a_shorter_step() -> None:
    player = Puppet(price=50.0)
    played(player)
    seeds = {seed for seed, _ in player.asked}
    lengths = [length for _, length in player.asked]
    assert len(seeds) == 1
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) == TRIES


def test_the_discriminator_forgets_no_reply() -> None:
    player = Puppet()
    end = played(player)
    assert len(end.replay) == player.written
    assert end.current == end.replay[-len(end.current) :]


def test_the_same_game_twice_is_the_same() -> None:
    one, other = played(Puppet()), played(Puppet())
    assert one.steering.directions[1] == pytest.approx(other.steering.directions[1])
    assert one.rounds == other.rounds


def test_progress_is_told() -> None:
    events = list(AdversarialLoop(Puppet(), table(), RULES).play(GameState()))
    trying = [event for event in events if isinstance(event, StepProgress)]
    assert {event.total for event in trying} == {20}
    assert [event.done for event in trying[:21]] == list(range(21))


def play_and_save(player: Puppet, path: Path) -> None:
    for event in AdversarialLoop(player, table(), RULES).play(GameState()):
        if isinstance(event, GameState):
            save_state(event, path, key="k")


@pytest.mark.parametrize("after", [5, 25, 45])
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


def test_a_game_of_other_rules_is_neither_resumed_nor_lost(tmp_path: Path) -> None:
    save_state(played(Puppet()), tmp_path / "warm" / "game.npz", key="k")
    with pytest.raises(UsageError, match="the duel warm has other data or rules") as caught:
        load_state(tmp_path / "warm" / "game.npz", key="another")
    assert "choose another --name" in str(caught.value)
    assert load_state(tmp_path / "none.npz", key="k") is None


def test_a_game_that_was_played_to_its_end_goes_on_when_more_rounds_are_wanted() -> None:
    one, three = (GameRules((1,), rounds=count, batch=40) for count in (1, 3))
    ended = played(Puppet(price=0.5), one)
    assert ended.over == "the only round is played"
    assert played(Puppet(price=0.5), one, ended) == ended
    on, whole = played(Puppet(price=0.5), three, ended), played(Puppet(price=0.5), three)
    assert len(on.rounds) > len(ended.rounds)
    assert (on.rounds, on.over) == (whole.rounds, whole.over)


class Silent(Puppet):
    """Says nothing when it is pushed."""

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[GameReply]:
        self.asked.append((seed, 1.0))
        return iter(())


def test_a_step_that_leaves_nothing_to_say_is_not_made() -> None:
    end = played(Silent())
    assert end.steering.directions == {}
    assert end.over == "no allowed step helps (length 0.00x)"


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_a_damaged_game_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "game.npz"
    save_state(played(Puppet()), path, key="k")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else 1])
    with pytest.raises(UsageError, match=r"game\.npz is damaged, or not a checkpoint of tchat"):
        load_state(path, key="k")


def costs(perplexity: float = 1.0, distinct: float = 1.0, length: float = 1.0) -> MetricRatios:
    return MetricRatios(
        MetricRatio(perplexity, 0.02), MetricRatio(distinct, 0.02), MetricRatio(length, 0.1)
    )


def test_each_bound_of_the_guard_is_named() -> None:
    guard = Constraints()
    assert guard.broken(costs()) == ""
    assert guard.broken(costs(perplexity=1.16)) == "perplexity 1.16x"
    assert guard.broken(costs(distinct=0.89)) == "diversity 0.89x"
    assert guard.broken(costs(length=0.4)) == "length 0.40x"
    assert guard.broken(costs(length=2.0)) == "length 2.00x"


def test_a_broken_bound_pulls_its_figure_back() -> None:
    guard = Constraints()
    assert guard.pull(costs()).tolist() == [0, 0, 0]
    assert guard.pull(costs(perplexity=1.2, length=0.4)).tolist() == [1, 1, 0]
    assert guard.pull(costs(distinct=0.9, length=2.0)).tolist() == [-1, 0, 1]


def test_a_bound_within_the_error_is_unclear() -> None:
    guard = Constraints()
    assert not guard.unclear(costs())
    assert guard.unclear(costs(perplexity=1.14))
    assert guard.unclear(costs(perplexity=1.16))
    assert not guard.unclear(costs(perplexity=1.2))
    assert guard.unclear(costs(distinct=0.96))


def test_costs_compare_prompt_by_prompt() -> None:
    """What a prompt brings with it is no cost of steering, and no error of the comparison."""
    rng = numpy.random.default_rng(5)
    own, steered = [], []
    for number in range(60):
        made = features(rng, log_probability=float(-2 - 0.1 * number), distinct_2=0.9)
        dearer = Features(made.states, (made.plain[0], made.plain[1] - 0.1, 0.9))
        own.append(GameReply(f"p{number}", "a", made))
        steered.append(GameReply(f"p{number}", "b", dearer))
    found = MetricRatios.of(own, steered[:50])
    assert found.perplexity.value == pytest.approx(math.exp(0.1))
    assert found.perplexity.error < 1e-6
    assert found.distinct_2.value == pytest.approx(1.0)
    noisy = MetricRatios.of(own, [GameReply(r.prompt, "c", features(rng)) for r in own])
    assert noisy.perplexity.error > 0.01


def test_more_replies_are_written_while_a_bound_is_too_close_to_tell() -> None:
    """Forty replies cannot tell a cost of 15 % from one of 14 %."""
    player = Puppet(price=0.27)
    list(AdversarialLoop(player, table(), GameRules((1,), rounds=1, batch=20)).play(GameState()))
    again = [(a, b) for a, b in zip(player.asked, player.asked[1:], strict=False) if a[1] == b[1]]
    assert again
    assert all(second[0] == first[0] + 1000 for first, second in again)


@pytest.mark.parametrize(
    ("most", "lengths"),
    [(9.0, [1.0, 1.5, 2.25]), (1.2, [1.0, 1.5, 1.25]), (0.6, [1.0, 0.5, 0.75])],
)
def test_a_step_grows_until_it_is_refused_then_is_halved_between(
    most: float, lengths: list[float]
) -> None:
    search, tried = LineSearch(1.0), []
    while (step := search.next()) is not None:
        tried.append(step)
        search.record(allowed=step < most, used=0.5)
    assert tried == lengths


def test_a_step_that_uses_its_bounds_up_is_the_last() -> None:
    search = LineSearch(1.0)
    assert search.next() == 1.0
    search.record(allowed=True, used=0.9)
    assert search.next() is None
