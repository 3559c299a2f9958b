"""A whole game for one model: data, rounds, an outsider's verdict, the control vector, a report."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy

from tchat.engine.engine import Engine
from tchat.errors import UsageError
from tchat.judge.dialogues import Data
from tchat.judge.duel import BATCH, Duel, Rules, Table
from tchat.judge.folder import ModelFolder
from tchat.judge.generations import Generations
from tchat.judge.guard import Costs, Health, Reply
from tchat.judge.head import Head, fit_head, matrix
from tchat.judge.matching import Pair
from tchat.judge.player import EnginePlayer, read_reply
from tchat.judge.reader import Reader, middle_layers
from tchat.judge.report import Provenance, Verdict, write_report
from tchat.judge.rounds import State, Trying
from tchat.judge.saved import load_state, save_state
from tchat.judge.steering import write_control_vector
from tchat.judge.training import (
    FEWEST,
    FEWEST_TO_FIT,
    TEMPERATURE,
    Working,
    enough_to_claim,
    write_pairs,
    write_replies,
)

LONGEST_REPLY = 128  # tokens of a reply in a game: half of what training takes, twice the replies
OWN = 5  # unsteered replies to each prompt: their spread says where to, and what a step costs
DRAWS = 3  # steered replies to each prompt of the verdict


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
        batch: Prompts that each step is tried on.
        seed: Of prompts, replies and the division of the data.
        longest: Tokens of a reply.
    """

    name: str
    rounds: int = 6
    batch: int = BATCH
    seed: int = 0
    longest: int = LONGEST_REPLY


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the data, of which the other parts see nothing.

    Args:
        pairs: A person's and the generator's reply of like length to some of the prompts.
        prompts: All of them.
    """

    pairs: tuple[Pair, ...] = ()
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sides:
    """The data, divided by prompt.

    Args:
        game: What is played with.
        outside: What a judge from outside is trained on; may be empty.
        unseen: What its verdict is about; may be empty.
    """

    game: Part
    outside: Part = Part()
    unseen: Part = Part()


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
        self._kept = Generations(folder.generations)
        self._known: dict[tuple[str, str], Reply] = {}

    def play(self) -> Iterator[GameEvent]:
        """Play, from where an interrupted game of this name and these data was left.

        Raises:
            UsageError: There are too few replies to play with, or the game of this name was played
                with others.
            InterruptedError: The engine's cancel flag was set; playing again goes on.
        """
        pairs = yield from write_pairs(self._engine, self._data.dialogues, self._kept)
        about = len({pair.prompt for pair in pairs})
        if len(pairs) < FEWEST_TO_FIT or about < 2:
            raise UsageError(
                f"{len(pairs)} pairs of replies of like length, to {about} different prompts, are "
                "too few for a game",
                f"give at least {FEWEST} replies by people: tchat judge duel --data FILE",
            )
        prompts = [dialogue.prompt for dialogue in self._data.dialogues]
        sides = divided(pairs, prompts, self._plan.seed)
        with Reader(self._engine, self._layers, longest=self._plan.longest) as reader:
            player = EnginePlayer(
                self._engine, reader, temperature=TEMPERATURE, longest=self._plan.longest
            )
            table = yield from self._table(reader, sides.game)
            state = yield from self._rounds(player, table)
            verdict, samples = yield from self._verdict(player, reader, sides, state)
        yield self._played(state, sides, verdict, samples)

    def _table(self, reader: Reader, part: Part) -> Generator[Working, None, Table]:
        """The replies of the game, read."""
        people, plain = yield from self._pairs(reader, part)
        own = yield from self._own(reader, part.prompts)
        return Table(tuple(people), tuple(plain), tuple(own))

    def _pairs(
        self, reader: Reader, part: Part
    ) -> Generator[Working, None, tuple[list[Reply], list[Reply]]]:
        people = yield from self._read(reader, [(p.prompt, p.person) for p in part.pairs])
        plain = yield from self._read(reader, [(p.prompt, p.generated) for p in part.pairs])
        return people, plain

    def _own(self, reader: Reader, prompts: Sequence[str]) -> Generator[Working, None, list[Reply]]:
        """The unsteered replies to some prompts; those that were not kept are written."""
        yield from write_replies(self._engine, prompts, range(OWN), self._kept)
        asked = [(prompt, number) for prompt in prompts for number in range(OWN)]
        texts = [(prompt, self._kept.get(prompt, number) or "") for prompt, number in asked]
        return (yield from self._read(reader, texts))

    def _read(
        self, reader: Reader, texts: Sequence[tuple[str, str]]
    ) -> Generator[Working, None, list[Reply]]:
        """Replies with their features; empty ones are left out."""
        found: list[Reply] = []
        for index, (prompt, text) in enumerate(texts):
            yield Working("reading", index, len(texts))
            reply = self._known.get((prompt, text)) or read_reply(reader, prompt, text)
            if reader.stopped:
                raise InterruptedError
            if reply is not None:
                self._known[prompt, text] = reply
                found.append(reply)
        return found

    def _rounds(self, player: EnginePlayer, table: Table) -> Generator[GameEvent, None, State]:
        rules = Rules(
            self._layers, rounds=self._plan.rounds, batch=self._plan.batch, seed=self._plan.seed
        )
        path, key = self._place / "game.npz", self._key()
        state = load_state(path, key=key) or State()
        if state.rounds:
            yield state
        yield Working("fitting", 0, 0)
        for event in Duel(player, table, rules).play(state):
            if isinstance(event, State):
                state = event
                save_state(state, path, key=key)
            yield event
        return state

    def _verdict(
        self, player: EnginePlayer, reader: Reader, sides: Sides, state: State
    ) -> Generator[GameEvent, None, tuple[Verdict | None, list[tuple[Reply, Reply]]]]:
        """What a judge from outside says, and replies to the same prompts before and after."""
        prompts = list(sides.unseen.prompts or sides.game.prompts[:4])
        before = yield from self._own(reader, prompts)
        after: list[Reply] = []
        for draw in range(DRAWS):
            seed = self._plan.seed + 777_000 + 1000 * draw
            total = DRAWS * len(prompts)
            for reply in player.write(prompts, state.steering, seed):
                after.append(reply)
                yield Working("writing", len(after), total)
        steered = {reply.prompt: reply for reply in after}
        samples = {r.prompt: (r, steered[r.prompt]) for r in before if r.prompt in steered}
        if not sides.outside.pairs:
            return None, list(samples.values())
        people, plain = yield from self._pairs(reader, sides.outside)
        unseen, _ = yield from self._pairs(reader, sides.unseen)
        outsider = fit_outsider(people, plain, [*self._layers, self._engine.blocks])
        return verdict_of(outsider, before, after, unseen), list(samples.values())

    def _played(
        self,
        state: State,
        sides: Sides,
        verdict: Verdict | None,
        samples: Sequence[tuple[Reply, Reply]],
    ) -> Played:
        vector = None
        if state.steering.directions:
            vector = self._folder.vector(self._plan.name)
            write_control_vector(state.steering, vector, architecture=self._architecture)
        report = write_report(self._place, state, verdict, samples, self._provenance(sides))
        return Played(state, verdict, vector, report)

    def _provenance(self, sides: Sides) -> Provenance:
        counts = [len(part.pairs) for part in (sides.game, sides.outside, sides.unseen)]
        return Provenance(
            (
                ("model", self._model),
                ("fingerprint", self._folder.fingerprint),
                ("data", f"{len(self._data.dialogues)} dialogues, SHA-256 {self._data.sha256}"),
                (
                    "pairs of like length",
                    f"{counts[0]} to play, {counts[1]} for the judge from outside, "
                    f"{counts[2]} for its verdict",
                ),
                ("prompts of the verdict", str(len(sides.unseen.prompts))),
                ("layers", ", ".join(map(str, self._layers))),
                ("temperature", str(TEMPERATURE)),
                ("tokens of a reply", str(self._plan.longest)),
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


def divided(pairs: Sequence[Pair], prompts: Sequence[str], seed: int) -> Sides:
    """Divide data by prompt: two fifths to play, two fifths outside, one fifth unseen.

    With too few for an outsider that claims anything, all are played with.
    """
    names = sorted(set(prompts))
    order = numpy.random.default_rng(seed).permutation(len(names))
    fifth = {names[at]: number * 5 // len(names) for number, at in enumerate(order)}
    parts = [
        Part(
            tuple(pair for pair in pairs if fifth[pair.prompt] // 2 == part),
            tuple(name for name in names if fifth[name] // 2 == part),
        )
        for part in range(3)
    ]
    spare = all(
        enough_to_claim(len(part.pairs), (pair.prompt for pair in part.pairs)) for part in parts[:2]
    )
    return Sides(*parts) if spare and parts[2].pairs else Sides(Part(tuple(pairs), tuple(names)))


def fit_outsider(people: Sequence[Reply], plain: Sequence[Reply], layers: Sequence[int]) -> Head:
    """A discriminator that saw neither the game's prompts nor any steered reply."""
    known = [*people, *plain]
    labels = numpy.arange(len(known)) < len(people)
    prompts = [reply.prompt for reply in known]
    return fit_head([reply.features for reply in known], labels, prompts, layers)


def verdict_of(
    outsider: Head, before: Sequence[Reply], after: Sequence[Reply], people: Sequence[Reply]
) -> Verdict:
    """What it makes of replies to prompts that nobody has seen."""

    def taken(replies: Sequence[Reply]) -> float:
        features = [reply.features for reply in replies]
        return float((outsider.scores(matrix(features, outsider.layer)) > 0).mean())

    return Verdict(
        before=taken(before),
        after=taken(after),
        people=taken(people),
        plain=Health.of(before),
        steered=Health.of(after),
        costs=Costs.of(before, after),
        error=_error_of_gain(outsider, before, after),
    )


def _error_of_gain(outsider: Head, before: Sequence[Reply], after: Sequence[Reply]) -> float:
    """Standard error of the gain, by prompt: replies to one prompt are not independent."""
    gains: dict[str, tuple[list[bool], list[bool]]] = {}
    for side, replies in enumerate((before, after)):
        for reply in replies:
            taken = outsider.score(reply.features) > 0
            gains.setdefault(reply.prompt, ([], []))[side].append(taken)
    each = [numpy.mean(new) - numpy.mean(old) for old, new in gains.values() if old and new]
    return float(numpy.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 1.0
