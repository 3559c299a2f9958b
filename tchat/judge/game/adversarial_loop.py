"""The rounds of the adversarial game.

In each round the discriminator is trained on human replies against all replies generated so far.
Then the generator is steered towards replies with a higher score: by a control vector on middle
layers, whose direction is the covariance of its own hidden states with the score. A line search
finds the longest step within the constraints: perplexity under the unsteered model, diversity and
length, compared with unsteered replies to the same prompts, with standard errors. The weights are
frozen: this is steering at inference time, not the training of a generative adversarial network.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy

from tchat.judge.features import SCALAR_FEATURES
from tchat.judge.game.game_state import GameRound, GameState, LoopEvent, StepAttempt, StepProgress
from tchat.judge.game.steering import (
    Constraints,
    GameReply,
    MetricRatios,
    ReplyMetrics,
    Steering,
    control_directions,
)
from tchat.judge.linear_head import (
    Examples,
    FittedHead,
    Labels,
    LinearHead,
    Vector,
    auc,
    best_head,
    feature_matrix,
    fit_heads,
    probability,
)
from tchat.translation import english, tr, trn

EXTRA_BATCHES = 1  # batches that are written besides where a bound is too close to tell
EQUILIBRIUM = 0.55  # AUC on fresh replies at which the discriminator has nothing left to tell
BATCH = 72  # prompts a round
CORRECTION = 0.25  # added weight of a figure whose bound a step broke; the score has 1


class SteerableGenerator(Protocol):
    """Generates replies under a control vector, and extracts features without it."""

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[GameReply]:
        """Yield a reply to each prompt; equal arguments give equal replies.

        Raises:
            InterruptedError: The user stopped it.
        """


@dataclass(frozen=True, slots=True)
class GameRules:
    """The rules of a game."""

    layers: tuple[int, ...]  # that are steered
    rounds: int = 6  # at most
    batch: int = BATCH  # prompts per step
    constraints: Constraints = field(default_factory=Constraints)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GameReplies:
    """The replies of a game, with features from the unsteered model."""

    people: tuple[GameReply, ...]
    plain: tuple[GameReply, ...]  # unsteered, to the same prompts, of similar length
    # Unsteered, of any length, several per prompt: the baseline of each step and of its direction.
    own: tuple[GameReply, ...]


class AdversarialLoop:
    """The rounds of one game."""

    def __init__(self, generator: SteerableGenerator, data: GameReplies, rules: GameRules) -> None:
        self._generator = generator
        self._data = data
        self._rules = rules
        self._norms = {
            layer: float(
                numpy.mean([numpy.linalg.norm(r.features.states[layer]) for r in data.people])
            )
            for layer in rules.layers
        }
        names = sorted({reply.prompt for reply in data.own})
        order = numpy.random.default_rng(rules.seed).permutation(len(names))
        self._prompts = [names[at] for at in order[: rules.batch]]
        prompts = set(self._prompts)
        self._own = [reply for reply in data.own if reply.prompt in prompts]

    def play(self, state: GameState) -> Generator[LoopEvent, None, GameState]:
        """Play from ``state`` on; yields the new state after each round, and returns the last.

        Raises:
            InterruptedError: The user stopped it; the last state yielded can be resumed.
        """
        if english(state.over) == english(_all_played(len(state.rounds) - 1)):
            state = replace(state, over="")  # the limit of rounds may be higher now
        if not state.rounds:
            best = best_head(self._heads(state))
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

    def _round(self, state: GameState) -> Generator[StepProgress, None, GameState]:
        """Train the discriminator, and take the allowed step with the highest score."""
        best = best_head(self._heads(state))
        number, before = len(state.rounds), self._before(best, state)
        steps = yield from self._tried(best, state, number)
        allowed = [each for each in steps if each.allowed and _helps(before, each.scores)]
        ended = replace(state, replay=steps[-1].replay)
        if allowed:
            made = max(allowed, key=lambda each: _mean(each.scores))
            ended = replace(
                ended,
                steering=made.steering,
                standing=len(made.replies),
                end=len(made.replay),
                step=made.length / 2,
            )
            judged = self._judged(best, made.scores, made.replies, ended, number)
            over = self._ending(judged)
        else:
            reason = steps[-1].attempt.broken or tr("no better score")
            judged = self._judged(best, before, state.current or self._own, state, number)
            judged = replace(judged, note=reason)
            over = tr("no allowed step helps ({reason})", reason=reason)
        judged = replace(judged, tried=tuple(each.attempt for each in steps))
        return replace(ended, rounds=(*state.rounds, judged), over=over)

    def _tried(
        self, best: FittedHead, state: GameState, number: int
    ) -> Generator[StepProgress, None, list[_Step]]:
        """Run a line search; a violated constraint gets more weight in the next step."""
        constraints, own = self._rules.constraints, _scores(best.head, self._data.own)
        # Beyond people's own score there is nothing to gain.
        enough = _mean(best.held_out[: len(self._data.people)])
        sought, search = numpy.zeros(len(SCALAR_FEATURES)), LineSearch(state.step)
        steps: list[_Step] = []
        while (length := search.next()) is not None:
            ascent = control_directions(self._data.own, own, self._rules.layers, sought.tolist())
            steering = state.steering.moved(ascent, self._lengths(length))
            replies = yield from self._written(number, search.tries, steering)
            costs, scores = MetricRatios.of(self._own, replies), _scores(best.head, replies)
            taken = float((scores > 0).mean()) if replies else 0.0
            attempt = StepAttempt(self._strength(steering), taken, costs, constraints.broken(costs))
            before = steps[-1].replay if steps else state.replay
            step = _Step(steering, length, attempt, tuple(replies), scores, (*before, *replies))
            gained = step.allowed and _mean(scores) >= enough
            search.record(allowed=step.allowed, used=1.0 if gained else constraints.used(costs))
            sought += CORRECTION * constraints.pull(costs)
            steps.append(step)
        return steps

    def _ending(self, judged: GameRound) -> str:
        """Why the game ends after this round; empty if it goes on."""
        if judged.auc <= EQUILIBRIUM:
            return tr("the discriminator is at chance")
        if self._rules.constraints.used(judged.costs) >= ENOUGH:
            return tr("the bounds are used up")
        return ""

    def _written(
        self, number: int, attempt: int, steering: Steering
    ) -> Generator[StepProgress, None, list[GameReply]]:
        """Generate replies at one strength; more if a constraint is undecided."""
        replies: list[GameReply] = []
        for more in range(1 + EXTRA_BATCHES):
            seed = self._rules.seed + 10_000 * number + 1000 * more
            total = len(replies) + len(self._prompts)
            yield StepProgress(number, attempt, len(replies), total)
            for reply in self._generator.write(self._prompts, steering, seed):
                replies.append(reply)
                yield StepProgress(number, attempt, len(replies), total)
            if not self._rules.constraints.unclear(MetricRatios.of(self._own, replies)):
                break
        return replies

    # The discriminator

    def _heads(self, state: GameState) -> dict[int, FittedHead]:
        """Fit a head per layer, on human replies against all generated ones so far.

        The classes are balanced, whatever their sizes.
        """
        people = self._data.people
        replies = [*people, *self._data.plain, *state.replay]
        labels = numpy.arange(len(replies)) < len(people)
        groups = [reply.prompt for reply in replies]
        features = [reply.features for reply in replies]
        fitted = fit_heads(Examples(features, labels, groups), self._rules.layers)
        return {layer: each.balanced(labels) for layer, each in fitted.items()}

    def _before(self, fitted: FittedHead, state: GameState) -> Vector:
        """Scores of the replies so far, by a fit that did not see them.

        Those of the steering in force, or the unsteered ones.
        """
        if not state.standing:
            known = {(reply.prompt, reply.text) for reply in self._data.plain}
            unseen = [r for r in self._own if (r.prompt, r.text) not in known] or self._own
            return _scores(fitted.head, unseen)
        end = len(self._data.people) + len(self._data.plain) + state.end
        return fitted.held_out[end - state.standing : end]

    def _judged(
        self,
        fitted: FittedHead,
        scores: Vector,
        replies: Sequence[GameReply],
        state: GameState,
        number: int,
    ) -> GameRound:
        """The round's figures: ``scores`` of the generator's ``replies`` against people's.

        Those of people's replies are by a fit that did not see them either.
        """
        people = fitted.held_out[: len(self._data.people)]
        labels: Labels = numpy.arange(len(people) + len(scores)) < len(people)
        chances = probability(scores)
        return GameRound(
            number=number,
            auc=auc(numpy.concatenate([people, scores]), labels),
            generated=float(chances.mean()),
            people=float(probability(people).mean()),
            taken=float((chances > 0.5).mean()),
            health=ReplyMetrics.of(replies),
            costs=MetricRatios.of(self._own, replies),
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


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of the line search with its replies."""

    steering: Steering
    length: float
    attempt: StepAttempt
    replies: tuple[GameReply, ...]
    scores: Vector
    replay: tuple[GameReply, ...]

    @property
    def allowed(self) -> bool:
        return bool(self.replies) and not self.attempt.broken


def _all_played(rounds: int) -> str:
    return trn("the only round is played", "all {count} rounds are played", rounds)


def _mean(scores: Vector) -> float:
    """Mean of the clipped logits, so that no single reply dominates."""
    return float(_bounded(scores).mean())


def _helps(before: Vector, after: Vector) -> bool:
    """Whether scores rose by more than the standard error of the difference."""
    each = _bounded(before), _bounded(after)
    error = math.sqrt(sum(float(scores.var()) / len(scores) for scores in each))
    return _mean(after) - _mean(before) > error


def _scores(head: LinearHead, replies: Sequence[GameReply]) -> Vector:
    """Calibrated logits, shape (replies,)."""
    if not replies:
        return numpy.zeros(0)
    return head.scores(feature_matrix([reply.features for reply in replies], head.layer))


def _bounded(scores: Vector) -> Vector:
    return numpy.clip(scores, -6.0, 6.0)


TRIES = 3  # lengths of a step that are tried: finer ones differ by less than replies do
GROWTH = 1.5  # from an allowed length to the next one, while none was refused
ENOUGH = 0.8  # share of the bounds that is used up: a longer step is not tried


class LineSearch:
    """Step lengths to try: growing until one is refused, then bisecting."""

    def __init__(self, first: float) -> None:
        self._now = first
        self._allowed, self._refused = 0.0, 0.0  # the longest and the shortest; 0 for none
        self._enough = False
        self.tries = 0

    def next(self) -> float | None:
        """The next length; None when it is found, or there were `TRIES`."""
        if self.tries == TRIES or self._enough:
            return None
        self.tries += 1
        return self._now

    def record(self, *, allowed: bool, used: float) -> None:
        """Record whether the length was ``allowed``, and the share of the bounds that it used."""
        if allowed:
            self._allowed = self._now
            self._enough = used >= ENOUGH
        else:
            self._refused = self._now
        if not self._refused:
            self._now = GROWTH * self._allowed
        else:
            self._now = (self._allowed + self._refused) / 2
