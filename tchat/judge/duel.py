"""The game: generator and discriminator improve against each other.

The discriminator learns to tell people's replies from all that the generator has written so far.
The generator is then steered along the discriminator's gradient in activation space: a control
vector on middle layers, the weights untouched. A step is as long as a line search allows, whose
guard keeps the unsteered model's perplexity, the diversity and the length of the replies within
bounds. This is adversarial steering of a frozen model at inference time, not the training of a
generative adversarial network.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy

from tchat.judge.guard import Guard, Health, Reply
from tchat.judge.head import Head, fit_head, matrix
from tchat.judge.logistic import Labels, Vector, auc
from tchat.judge.steering import Steering

FIRST_STEP = 0.1  # of the mean norm of a layer's states, over all layers together
SHRINK, TRIES = 0.5, 4
EQUILIBRIUM = 0.55  # AUC on fresh replies at which the discriminator has nothing left to tell
BATCH = 16  # prompts a round


class Player(Protocol):
    """The generator's side: writes replies under a control vector, and reads them without."""

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[Reply]:
        """A reply to each prompt; the same arguments give the same replies.

        Raises:
            InterruptedError: The user stopped it.
        """


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
        strength: Length of the control vector, as a share of the states' norm.
        note: Why no step was made, or which bound cut it short.
    """

    number: int
    auc: float
    generated: float
    people: float
    taken: float
    health: Health
    strength: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """All that goes on into the next round; enough to resume.

    Args:
        steering: The control vector so far.
        replay: All replies of the generator so far, so that the discriminator forgets none.
        rounds: What happened.
        step: Length that the next line search begins with.
        over: Why the game has ended; empty while it has not.
    """

    steering: Steering = field(default_factory=lambda: Steering({}))
    replay: tuple[Reply, ...] = ()
    rounds: tuple[Round, ...] = ()
    step: float = FIRST_STEP
    over: str = ""


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
        batch: Prompts a round.
        guard: What a step may cost.
        seed: Of prompts and replies.
    """

    layers: tuple[int, ...]
    rounds: int = 6
    batch: int = BATCH
    guard: Guard = field(default_factory=Guard)
    seed: int = 0


class Duel:
    """A game on one set of people's replies.

    Args:
        player: Writes and reads.
        people: People's replies, read by the unsteered model.
        plain: The generator's unsteered replies to the same prompts.
        rules: What it is played by.
    """

    def __init__(
        self, player: Player, people: Sequence[Reply], plain: Sequence[Reply], rules: Rules
    ) -> None:
        self._player = player
        self._people = tuple(people)
        self._plain = {reply.prompt: reply for reply in plain}
        self._rules = rules
        self._norms = {
            layer: float(numpy.mean([numpy.linalg.norm(r.features.states[layer]) for r in people]))
            for layer in rules.layers
        }

    def play(self, state: State) -> Generator[DuelEvent, None, State]:
        """Play from ``state`` on; yields it anew after each round, and returns the last.

        Raises:
            InterruptedError: The user stopped it; the last state yielded can be resumed.
        """
        if not state.rounds:
            state = self._opening()
            yield state
        while not state.over and len(state.rounds) <= self._rules.rounds:
            state = yield from self._round(state)
            yield state
        if not state.over:
            state = replace(state, over=f"all {self._rules.rounds} rounds are played")
            yield state
        return state

    # One round

    def _opening(self) -> State:
        """The unsteered replies, as a discriminator sees them that has not learnt from them."""
        replies = [self._plain[prompt] for prompt in self._prompts(0)]
        asked = {reply.prompt for reply in replies}
        others = [reply for reply in self._plain.values() if reply.prompt not in asked]
        head = self._discriminator(others or replies, self._rules.layers)
        first = self._judged(0, head, replies, 0.0)
        return State(replay=tuple(self._plain.values()), rounds=(first,))

    def _round(self, state: State) -> Generator[Trying, None, State]:
        number = len(state.rounds)
        head = self._discriminator(state.replay, self._rules.layers)
        gradients = {layer: self._ascent(state.replay, layer) for layer in self._rules.layers}
        # Unsteered replies to the same prompts with the same seeds are what a step is held against.
        own = yield from self._write(number, 0, Steering({}))
        replay, before = [*state.replay, *own], own
        if state.steering.directions:
            before = yield from self._write(number, 1, state.steering)
            replay += before
        step, note = state.step, ""
        for attempt in range(2, 2 + TRIES):
            tried = state.steering.moved(gradients, self._lengths(step))
            replies = yield from self._write(number, attempt, tried)
            replay += replies
            note = self._rules.guard.broken(Health.of(own), Health.of(replies))
            if not note and self._score(head, replies) > self._score(head, before):
                found = self._judged(number, head, replies, self._strength(tried))
                rounds = (*state.rounds, found)
                over = "the discriminator is at chance" if found.auc <= EQUILIBRIUM else ""
                return State(tried, tuple(replay), rounds, step / SHRINK, over)
            note = note or "no better score"
            step *= SHRINK
        found = self._judged(number, head, before, self._strength(state.steering))
        rounds = (*state.rounds, replace(found, note=note))
        over = f"no allowed step helps ({note})"
        return State(state.steering, tuple(replay), rounds, step, over)

    def _write(
        self, number: int, attempt: int, steering: Steering
    ) -> Generator[Trying, None, list[Reply]]:
        """This round's replies; each attempt has the same prompts and seeds, so they compare."""
        prompts = self._prompts(number)
        count = len(prompts)
        replies: list[Reply] = []
        yield Trying(number, attempt, 0, count)
        for reply in self._player.write(prompts, steering, self._rules.seed + 1000 * number):
            replies.append(reply)
            yield Trying(number, attempt, len(replies), count)
        return replies

    def _prompts(self, number: int) -> list[str]:
        """The prompts of a round."""
        rng = numpy.random.default_rng((self._rules.seed, number))
        count = min(self._rules.batch, len(self._people))
        chosen = rng.choice(len(self._people), size=count, replace=False)
        return [self._people[at].prompt for at in chosen]

    # The discriminator

    def _discriminator(self, replay: Sequence[Reply], layers: Sequence[int]) -> Head:
        replies = [*self._people, *replay]
        labels = numpy.arange(len(replies)) < len(self._people)
        groups = [reply.prompt for reply in replies]
        return fit_head([r.features for r in replies], labels, groups, layers)

    def _ascent(self, replay: Sequence[Reply], layer: int) -> Vector:
        """Where the score of a layer's head rises fastest for a step of natural size.

        The plain gradient points where a small step changes the score most, which is where
        replies hardly differ: the model's text suffers before it sounds like a person's. So a
        step is measured by the spread of the states themselves (their Mahalanobis norm), and
        the steepest ascent under that norm is the covariance times the gradient. Measured on
        the starter model at like perplexity: 36 % instead of 14 % taken for a person's.
        """
        replies = [*self._people, *replay]
        states = numpy.stack([reply.features.states[layer] for reply in replies])
        covariance = numpy.cov(states.T.astype(numpy.float64))
        ascent: Vector = covariance @ self._discriminator(replay, (layer,)).gradient
        return ascent

    def _score(self, head: Head, replies: Sequence[Reply]) -> float:
        """Mean logit; bounded, so that one reply cannot pay for the others."""
        scores = head.scores(matrix([r.features for r in replies], head.layer))
        return float(numpy.clip(scores, -6.0, 6.0).mean())

    def _judged(self, number: int, head: Head, replies: Sequence[Reply], strength: float) -> Round:
        """The round's figures: people's replies to the same prompts against ``replies``."""
        prompts = {reply.prompt for reply in replies}
        people = [reply for reply in self._people if reply.prompt in prompts]
        both = [*people, *replies]
        labels: Labels = numpy.arange(len(both)) < len(people)
        scores = head.scores(matrix([reply.features for reply in both], head.layer))
        chances = 1.0 / (1.0 + numpy.exp(-numpy.clip(scores, -30.0, 30.0)))
        return Round(
            number=number,
            auc=auc(scores, labels),
            generated=float(chances[~labels].mean()),
            people=float(chances[labels].mean()),
            taken=float((chances[~labels] > 0.5).mean()),
            health=Health.of(replies),
            strength=strength,
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
