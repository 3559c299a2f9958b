"""The game: generator and discriminator improve against each other.

The discriminator learns to tell people's replies from all that the generator has written so far.
The generator is then steered along the discriminator's gradient in activation space, weighed by
the spread of its own replies: a control vector on middle layers, the weights untouched. A step is
as long as a line search allows, whose guard keeps the unsteered model's perplexity, the diversity
and the length of the replies within bounds: against unsteered replies to the same prompts, and with
the error of the comparison, since these figures vary more from reply to reply than a step changes
them. This is adversarial steering of a frozen model at inference time, not the training of a
generative adversarial network.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy

from tchat.judge.features import PLAIN
from tchat.judge.guard import Costs, Guard, Health, Reply
from tchat.judge.head import FittedHead, fit_heads, matrix
from tchat.judge.line_search import ENOUGH, LineSearch
from tchat.judge.logistic import Labels, Vector, auc, probability
from tchat.judge.steering import Steering
from tchat.judge.tilt import tilts

FIRST_STEP = 0.1  # of the mean norm of a layer's states, over all layers together
MORE = 1  # batches that are written besides where a bound is too close to tell
EQUILIBRIUM = 0.55  # AUC on fresh replies at which the discriminator has nothing left to tell
BATCH = 72  # prompts a round
PULL = 0.25  # how much more a figure is sought once a step broke its bound; the score counts 1


class Player(Protocol):
    """The generator's side: writes replies under a control vector, and reads them without."""

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[Reply]:
        """A reply to each prompt; the same arguments give the same replies.

        Raises:
            InterruptedError: The user stopped it.
        """


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step that a line search tried, whether or not it was made.

    Args:
        strength: Of the whole control vector with it, as a share of the states' norm.
        taken: Share of the replies that the discriminator takes for a person's.
        costs: Of the replies, against unsteered ones.
        broken: Which bound of the guard they break; empty when none.
    """

    strength: float
    taken: float
    costs: Costs
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Round:
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
    health: Health
    costs: Costs
    strength: float
    note: str = ""
    tried: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
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
    replay: tuple[Reply, ...] = ()
    standing: int = 0
    end: int = 0
    rounds: tuple[Round, ...] = ()
    step: float = FIRST_STEP
    over: str = ""

    @property
    def current(self) -> tuple[Reply, ...]:
        """The replies of ``steering``; none while nothing is steered."""
        return self.replay[self.end - self.standing : self.end]


@dataclass(frozen=True, slots=True)
class Trying:
    """A step of the line search is being tried: ``done`` of ``total`` replies are written."""

    round: int
    attempt: int
    done: int
    total: int


DuelEvent: TypeAlias = Trying | State


@dataclass(frozen=True, slots=True)
class Rules:
    """What a game is played by.

    Args:
        layers: Which are steered.
        rounds: The most.
        batch: Prompts that each step is tried on.
        guard: What a step may cost.
        seed: Of prompts and replies.
    """

    layers: tuple[int, ...]
    rounds: int = 6
    batch: int = BATCH
    guard: Guard = field(default_factory=Guard)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The replies that a game is played with, all read by the unsteered model.

    Args:
        people: People's.
        plain: The unsteered generator's to the same prompts, of like length.
        own: Unsteered replies of any length, several to a prompt: what a step is held against,
            and whose spread says where to.
    """

    people: tuple[Reply, ...]
    plain: tuple[Reply, ...]
    own: tuple[Reply, ...]


class Duel:
    """A game on one table.

    Args:
        player: Writes and reads.
        table: What it is played with.
        rules: What it is played by.
    """

    def __init__(self, player: Player, table: Table, rules: Rules) -> None:
        self._player = player
        self._table = table
        self._rules = rules
        self._norms = {
            layer: float(
                numpy.mean([numpy.linalg.norm(r.features.states[layer]) for r in table.people])
            )
            for layer in rules.layers
        }
        names = sorted({reply.prompt for reply in table.own})
        order = numpy.random.default_rng(rules.seed).permutation(len(names))
        self._prompts = [names[at] for at in order[: rules.batch]]
        asked = set(self._prompts)
        self._own = [reply for reply in table.own if reply.prompt in asked]

    def play(self, state: State) -> Generator[DuelEvent, None, State]:
        """Play from ``state`` on; yields it anew after each round, and returns the last.

        Raises:
            InterruptedError: The user stopped it; the last state yielded can be resumed.
        """
        if state.over == _all_played(len(state.rounds) - 1):
            state = replace(state, over="")  # more may be wanted by now
        if not state.rounds:
            best = _best(self._heads(state))
            first = self._judged(best, self._before(best, state), self._own, state, 0)
            state = replace(state, rounds=(first,))
            yield state
        while not state.over and len(state.rounds) <= self._rules.rounds:
            state = yield from self._round(state)
            yield state
        if not state.over:
            state = replace(state, over=_all_played(self._rules.rounds))
            yield state
        return state

    # One round

    def _round(self, state: State) -> Generator[Trying, None, State]:
        """Train the discriminator, and look for the step that fools it best within the bounds."""
        best = _best(self._heads(state))
        own = best.head.scores(matrix([r.features for r in self._table.own], best.head.layer))
        sought = numpy.zeros(len(PLAIN))
        number, before = len(state.rounds), self._before(best, state)
        replay, search = [*state.replay], LineSearch(state.step)
        attempts: list[Attempt] = []
        most, found = 0.0, None
        while (step := search.next()) is not None:
            ascent = tilts(self._table.own, own, self._rules.layers, sought.tolist())
            tried = state.steering.moved(ascent, self._lengths(step))
            replies = yield from self._written(number, search.tries, tried)
            replay += replies
            costs = Costs.of(self._own, replies)
            broken = self._rules.guard.broken(costs)
            if not replies:
                search.note(allowed=False, used=1.0)
                attempts.append(Attempt(self._strength(tried), 0.0, costs, broken))
                continue
            scores = best.head.scores(matrix([r.features for r in replies], best.head.layer))
            # Beyond people's own score there is nothing to gain.
            gained = _mean(scores) >= _mean(best.held_out[: len(self._table.people)])
            used = 1.0 if gained else self._rules.guard.used(costs)
            search.note(allowed=not broken, used=used)
            sought += PULL * self._rules.guard.pull(costs)
            strength, taken = self._strength(tried), float((scores > 0).mean())
            attempts.append(Attempt(strength, taken, costs, broken))
            gain = _mean(scores) - _mean(before)
            if not broken and gain > max(most, _error(before, scores)):
                most = gain
                ended = replace(
                    state, steering=tried, standing=len(replies), end=len(replay), step=step / 2
                )
                found = ended, self._judged(best, scores, replies, ended, number)
        if found is not None:
            ended, judged = found
            over = self._ending(judged)
            judged = replace(judged, tried=tuple(attempts))
            rounds = (*state.rounds, judged)
            return replace(ended, replay=tuple(replay), rounds=rounds, over=over)
        note = attempts[-1].broken or "no better score"
        judged = self._judged(best, before, state.current or self._own, state, number)
        return replace(
            state,
            replay=tuple(replay),
            rounds=(*state.rounds, replace(judged, note=note, tried=tuple(attempts))),
            over=f"no allowed step helps ({note})",
        )

    def _ending(self, judged: Round) -> str:
        """Why the game is over after a round with a step; empty when it is not."""
        if judged.auc <= EQUILIBRIUM:
            return "the discriminator is at chance"
        if self._rules.guard.used(judged.costs) >= ENOUGH:
            return "the bounds are used up"
        return ""

    def _written(
        self, number: int, attempt: int, steering: Steering
    ) -> Generator[Trying, None, list[Reply]]:
        """Replies at one strength; more of them while a bound is too close to tell."""
        replies: list[Reply] = []
        for more in range(1 + MORE):
            seed = self._rules.seed + 10_000 * number + 1000 * more
            total = len(replies) + len(self._prompts)
            yield Trying(number, attempt, len(replies), total)
            for reply in self._player.write(self._prompts, steering, seed):
                replies.append(reply)
                yield Trying(number, attempt, len(replies), total)
            if not self._rules.guard.unclear(Costs.of(self._own, replies)):
                break
        return replies

    # The discriminator

    def _heads(self, state: State) -> dict[int, FittedHead]:
        """A head for each layer, on people's replies against all of the generator's so far.

        However many these are: even chances are where both are as likely.
        """
        people = self._table.people
        replies = [*people, *self._table.plain, *state.replay]
        labels = numpy.arange(len(replies)) < len(people)
        groups = [reply.prompt for reply in replies]
        features = [reply.features for reply in replies]
        fitted = fit_heads(features, labels, groups, self._rules.layers)
        return {layer: each.balanced(labels) for layer, each in fitted.items()}

    def _before(self, fitted: FittedHead, state: State) -> Vector:
        """Scores of the replies so far, by a fit that did not see them.

        Those of the steering in force, or the unsteered ones.
        """
        if not state.standing:
            known = {(reply.prompt, reply.text) for reply in self._table.plain}
            unseen = [r for r in self._own if (r.prompt, r.text) not in known] or self._own
            head = fitted.head
            return head.scores(matrix([reply.features for reply in unseen], head.layer))
        end = len(self._table.people) + len(self._table.plain) + state.end
        return fitted.held_out[end - state.standing : end]

    def _judged(
        self,
        fitted: FittedHead,
        scores: Vector,
        replies: Sequence[Reply],
        state: State,
        number: int,
    ) -> Round:
        """The round's figures: ``scores`` of the generator's ``replies`` against people's.

        Those of people's replies are by a fit that did not see them either.
        """
        people = fitted.held_out[: len(self._table.people)]
        labels: Labels = numpy.arange(len(people) + len(scores)) < len(people)
        chances = probability(scores)
        return Round(
            number=number,
            auc=auc(numpy.concatenate([people, scores]), labels),
            generated=float(chances.mean()),
            people=float(probability(people).mean()),
            taken=float((chances > 0.5).mean()),
            health=Health.of(replies),
            costs=Costs.of(self._own, replies),
            strength=self._strength(state.steering),
        )

    # The step

    def _lengths(self, step: float) -> Mapping[int, float]:
        """How far each layer moves: the layers add up, so they share the step."""
        share = step / len(self._rules.layers) ** 0.5
        return {layer: share * norm for layer, norm in self._norms.items()}

    def _strength(self, steering: Steering) -> float:
        shares = [
            float(numpy.linalg.norm(direction)) / self._norms[layer]
            for layer, direction in steering.directions.items()
        ]
        return float(numpy.linalg.norm(shares)) if shares else 0.0


def _all_played(rounds: int) -> str:
    return f"all {rounds} rounds are played"


def _best(heads: Mapping[int, FittedHead]) -> FittedHead:
    return min(heads.values(), key=lambda each: each.loss)


def _mean(scores: Vector) -> float:
    """Mean logit; bounded, so that one reply cannot pay for the others."""
    return float(_bounded(scores).mean())


def _error(before: Vector, after: Vector) -> float:
    """Standard error of the difference of two means as of `_mean`: less may be chance."""
    return math.sqrt(sum(float(_bounded(each).var()) / len(each) for each in (before, after)))


def _bounded(scores: Vector) -> Vector:
    return numpy.clip(scores, -6.0, 6.0)
