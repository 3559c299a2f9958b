"""A whole game for one model: data, rounds, an outsider's verdict, the control vector, a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy

from tchat.engine.engine import Engine
from tchat.errors import UsageError
from tchat.judge.dialogues import Data
from tchat.judge.duel import Duel, Rules, State, Trying
from tchat.judge.folder import ModelFolder
from tchat.judge.generations import Generations
from tchat.judge.guard import Health, Reply
from tchat.judge.head import fit_head, matrix
from tchat.judge.matching import Pair
from tchat.judge.player import EnginePlayer, read_reply
from tchat.judge.reader import Reader, middle_layers
from tchat.judge.report import Provenance, Verdict, write_report
from tchat.judge.saved import load_state, save_state
from tchat.judge.steering import Steering, write_control_vector
from tchat.judge.training import FEWEST, FEWEST_TO_FIT, LONGEST, TEMPERATURE, Working, write_pairs


@dataclass(frozen=True, slots=True)
class Played:
    """The last event of a game.

    Args:
        state: What it came to.
        verdict: Of a discriminator from outside; None without data to spare for one.
        vector: The control vector; None when no step helped.
        report: Where the report is.
    """

    state: State
    verdict: Verdict | None
    vector: Path | None
    report: Path


GameEvent: TypeAlias = Working | Trying | State | Played


@dataclass(frozen=True, slots=True)
class Plan:
    """How a game is played.

    Args:
        name: Of its folder and its vector.
        rounds: The most.
        batch: Prompts a round.
        seed: Of prompts, replies and the division of the data.
        longest: Tokens of a reply.
    """

    name: str
    rounds: int = 6
    batch: int = 16
    seed: int = 0
    longest: int = LONGEST


@dataclass(frozen=True, slots=True)
class Sides:
    """The pairs of replies, divided by prompt: what one part sees the others never do.

    Args:
        game: What is played with: people's and unsteered replies.
        outside: What a judge from outside is trained on; may be empty.
        unseen: Prompts of the verdict; may be empty.
    """

    game: tuple[tuple[Reply, Reply], ...]
    outside: tuple[tuple[Reply, Reply], ...]
    unseen: tuple[tuple[Reply, Reply], ...]


class Game:
    """A game with one engine; close the engine afterwards.

    Args:
        engine: Loaded.
        folder: Of its model.
        data: People's replies.
        plan: How it is played.
        model: File name of the model.
        architecture: Of the model.
    """

    def __init__(
        self,
        engine: Engine,
        folder: ModelFolder,
        data: Data,
        plan: Plan,
        *,
        model: str,
        architecture: str,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._data = data
        self._plan = plan
        self._model = model
        self._architecture = architecture
        self._layers = tuple(middle_layers(engine.blocks))
        self._place = folder.game(plan.name)

    def play(self) -> Iterator[GameEvent]:
        """Play, from where an interrupted game of this name and these data was left.

        Raises:
            UsageError: There are too few replies to play with.
            InterruptedError: The engine's cancel flag was set; playing again goes on.
        """
        kept = Generations(self._folder.generations)
        pairs = yield from write_pairs(self._engine, self._data.dialogues, kept)
        if len(pairs) < FEWEST_TO_FIT:
            raise UsageError(
                f"{len(pairs)} pairs of replies of like length are too few for a game",
                f"give at least {FEWEST} replies by people: tchat judge duel --data FILE",
            )
        with Reader(self._engine, self._layers) as reader:
            sides = divided((yield from self._read(reader, pairs)), self._plan.seed)
            player = EnginePlayer(
                self._engine, reader, temperature=TEMPERATURE, longest=self._plan.longest
            )
            state = yield from self._rounds(player, sides)
            steered, plain = yield from self._samples(player, sides, state)
        yield self._played(state, sides, plain, steered)

    def _read(
        self, reader: Reader, pairs: Sequence[Pair]
    ) -> Generator[Working, None, list[tuple[Reply, Reply]]]:
        found = []
        for index, pair in enumerate(pairs):
            yield Working("reading", index, len(pairs))
            person = read_reply(reader, pair.prompt, pair.person)
            generated = read_reply(reader, pair.prompt, pair.generated)
            if person is None or generated is None:
                raise InterruptedError
            found.append((person, generated))
        return found

    def _rounds(self, player: EnginePlayer, sides: Sides) -> Generator[GameEvent, None, State]:
        rules = Rules(
            self._layers, rounds=self._plan.rounds, batch=self._plan.batch, seed=self._plan.seed
        )
        duel = Duel(player, [p for p, _ in sides.game], [g for _, g in sides.game], rules)
        path, key = self._place / "game.npz", self._key()
        state = load_state(path, key=key) or State()
        for event in duel.play(state):
            if isinstance(event, State):
                state = event
                save_state(state, path, key=key)
            yield event
        return state

    def _samples(
        self, player: EnginePlayer, sides: Sides, state: State
    ) -> Generator[Trying, None, tuple[list[Reply], list[Reply]]]:
        """Replies to the unseen prompts, steered and not, with the same seeds."""
        prompts = [person.prompt for person, _ in sides.unseen or sides.game[:4]]
        found = []
        for attempt, steering in enumerate((state.steering, Steering({}))):
            replies: list[Reply] = []
            for reply in player.write(prompts, steering, self._plan.seed + 777_000):
                replies.append(reply)
                yield Trying(len(state.rounds), attempt, len(replies), len(prompts))
            found.append(replies)
        return found[0], found[1]

    def _played(
        self, state: State, sides: Sides, plain: Sequence[Reply], steered: Sequence[Reply]
    ) -> Played:
        verdict = outsiders_verdict(sides, plain, steered, self._layers)
        vector = None
        if state.steering.directions:
            vector = self._folder.vector(self._plan.name)
            write_control_vector(state.steering, vector, architecture=self._architecture)
        after = {reply.prompt: reply for reply in steered}
        samples = [(reply, after[reply.prompt]) for reply in plain if reply.prompt in after]
        report = write_report(self._place, state, verdict, samples, self._provenance(sides))
        return Played(state, verdict, vector, report)

    def _provenance(self, sides: Sides) -> Provenance:
        counts = f"{len(sides.game)} to play, {len(sides.outside)} for the judge from outside, "
        return Provenance(
            (
                ("model", self._model),
                ("fingerprint", self._folder.fingerprint),
                ("data", f"{len(self._data.dialogues)} dialogues, SHA-256 {self._data.sha256}"),
                ("pairs of like length", f"{counts}{len(sides.unseen)} for its verdict"),
                ("layers", ", ".join(map(str, self._layers))),
                ("temperature", str(TEMPERATURE)),
                ("seed", str(self._plan.seed)),
            )
        )

    def _key(self) -> str:
        """What a saved game must have been played with to go on."""
        plan = self._plan
        parts = [self._folder.fingerprint, self._data.sha256, self._layers]
        return hashlib.sha256(
            json.dumps([*parts, plan.batch, plan.seed, plan.longest]).encode()
        ).hexdigest()


def divided(pairs: Sequence[tuple[Reply, Reply]], seed: int) -> Sides:
    """Divide pairs by prompt: two fifths to play, two fifths outside, one fifth unseen.

    With too few for an outsider that claims anything, all are played with.
    """
    prompts = sorted({person.prompt for person, _ in pairs})
    if len(prompts) * 2 // 5 < FEWEST:
        return Sides(tuple(pairs), (), ())
    order = numpy.random.default_rng(seed).permutation(len(prompts))
    fifth = {prompts[at]: number * 5 // len(prompts) for number, at in enumerate(order)}
    parts: list[list[tuple[Reply, Reply]]] = [[], [], []]
    for pair in pairs:
        parts[fifth[pair[0].prompt] // 2].append(pair)
    return Sides(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]))


def outsiders_verdict(
    sides: Sides, plain: Sequence[Reply], steered: Sequence[Reply], layers: Sequence[int]
) -> Verdict | None:
    """What a fresh discriminator makes of replies to prompts that nobody has seen."""
    if not sides.outside:
        return None
    people = [person for person, _ in sides.outside]
    known = [*people, *(generated for _, generated in sides.outside)]
    labels = numpy.arange(len(known)) < len(people)
    final = max(known[0].features.states)
    head = fit_head(
        [reply.features for reply in known],
        labels,
        [reply.prompt for reply in known],
        [*layers, final],
    )

    def taken(replies: Sequence[Reply]) -> float:
        features = [reply.features for reply in replies]
        return float((head.scores(matrix(features, head.layer)) > 0).mean())

    return Verdict(
        before=taken(plain),
        after=taken(steered),
        people=taken([person for person, _ in sides.unseen]),
        plain=Health.of(plain),
        steered=Health.of(steered),
    )
