"""One adversarial game: data split, rounds, independent evaluation, control vector, report."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy

from tchat.engine.batch import BatchOptions
from tchat.engine.engine import Engine
from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.judge.discriminator import JudgeFolder
from tchat.judge.features import FeatureExtractor, middle_layers
from tchat.judge.game.adversarial_loop import BATCH, AdversarialLoop, GameReplies, GameRules
from tchat.judge.game.game_state import GameState, StepProgress, load_state, save_state
from tchat.judge.game.report import IndependentVerdict, write_report
from tchat.judge.game.steering import (
    GameReply,
    MetricRatios,
    ReplyMetrics,
    Steering,
    write_control_vector,
)
from tchat.judge.linear_head import Examples, LinearHead, feature_matrix, fit_head
from tchat.judge.training import (
    MIN_TO_VALIDATE,
    TEMPERATURE,
    ReplyCache,
    ReplyPair,
    TrainingProgress,
    can_validate,
    reply_task,
    reply_text,
    write_pairs,
    write_replies,
)
from tchat.judge.training_data import DialogueSet
from tchat.settings import Sampling
from tchat.translation import tr, trn

MAX_REPLY_TOKENS = 128  # of a reply in a game; training allows twice as many
UNSTEERED_DRAWS = 5  # per prompt; their spread gives the direction and the cost of a step
VERDICT_DRAWS = 3  # steered replies to each prompt of the verdict


@dataclass(frozen=True, slots=True)
class GameResult:
    """The last event of a game: the final state, and the files."""

    state: GameState
    verdict: IndependentVerdict | None  # None if there is too little data
    vector: Path | None  # None if no step helped
    report: Path
    is_encrypted: bool = False  # whether `report` is: `tchat judge report` shows it


GameEvent: TypeAlias = TrainingProgress | StepProgress | GameState | GameResult


@dataclass(frozen=True, slots=True)
class GameConfig:
    """Configuration of a game."""

    name: str  # of its folder and its control vector
    rounds: int = 6  # at most
    batch: int = BATCH  # prompts per step
    seed: int = 0
    longest: int = MAX_REPLY_TOKENS


@dataclass(frozen=True, slots=True)
class DataPart:
    """One part of the split data: all its prompts, and pairs of similar length to some of them."""

    pairs: tuple[ReplyPair, ...] = ()
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSplit:
    """The data, split by prompt."""

    game: DataPart
    outside: DataPart = DataPart()  # trains the independent discriminator; may be empty
    unseen: DataPart = DataPart()  # tests the game; may be empty


class AdversarialGame:
    """A game with one loaded engine; close the engine afterwards.

    Args:
        engine: Must be loaded.
        folder: Folder of its model.
        data: Human replies.
        config: The configuration.
        model: File name of the model.
        architecture: GGUF architecture of the model.
    """

    def __init__(
        self,
        engine: Engine,
        folder: JudgeFolder,
        data: DialogueSet,
        config: GameConfig,
        *,
        model: str,
        architecture: str,
    ) -> None:
        self._engine, self._folder, self._data, self._config = engine, folder, data, config
        self._model, self._architecture = model, architecture
        self._layers = tuple(middle_layers(engine.n_layer))
        self._place = folder.game(config.name)
        self._reply_cache = ReplyCache(folder.generations, folder.encryption)
        self._known: dict[tuple[str, str], GameReply] = {}

    def play(self) -> Iterator[GameEvent]:
        """Play the game, or resume an interrupted one of the same name and data.

        Raises:
            UsageError: There are too few replies, or a game of this name used other data.
            InterruptedError: The engine's cancel flag was set; playing again resumes.
        """
        matched = yield from write_pairs(self._engine, self._data.dialogues, self._reply_cache)
        matched.require_enough()
        pairs = matched.pairs
        if len({pair.prompt for pair in pairs}) < 2:
            raise UsageError(
                tr(
                    "{pairs} pairs of replies of like length, to one prompt, are too few for a "
                    "duel",
                    pairs=len(pairs),
                ),
                tr(
                    "give at least {min_to_validate} human replies: tchat judge duel --data FILE",
                    min_to_validate=MIN_TO_VALIDATE,
                ),
            )
        prompts = [dialogue.prompt for dialogue in self._data.dialogues]
        split = split_data(pairs, prompts, self._config.seed)
        with FeatureExtractor(self._engine, self._layers, longest=self._config.longest) as reader:
            generator = EngineGenerator(self._engine, reader, TEMPERATURE, self._config.longest)
            table = yield from self._table(reader, split.game)
            state = yield from self._rounds(generator, table)
            verdict, samples = yield from self._verdict(generator, reader, split, state)
        yield self._played(state, split, verdict, samples)

    def _table(
        self, reader: FeatureExtractor, part: DataPart
    ) -> Generator[TrainingProgress, None, GameReplies]:
        """Extract the features of the game's replies."""
        people, plain = yield from self._pairs(reader, part)
        own = yield from self._own(reader, part.prompts)
        return GameReplies(tuple(people), tuple(plain), tuple(own))

    def _pairs(
        self, reader: FeatureExtractor, part: DataPart
    ) -> Generator[TrainingProgress, None, tuple[list[GameReply], list[GameReply]]]:
        people = yield from self._read(reader, [(p.prompt, p.person) for p in part.pairs])
        plain = yield from self._read(reader, [(p.prompt, p.generated) for p in part.pairs])
        return people, plain

    def _own(
        self, reader: FeatureExtractor, prompts: Sequence[str]
    ) -> Generator[TrainingProgress, None, list[GameReply]]:
        """The unsteered replies to some prompts; generates the ones that are missing."""
        yield from write_replies(self._engine, prompts, range(UNSTEERED_DRAWS), self._reply_cache)
        draws = [(prompt, number) for prompt in prompts for number in range(UNSTEERED_DRAWS)]
        texts = [(prompt, self._reply_cache.get(prompt, number) or "") for prompt, number in draws]
        return (yield from self._read(reader, texts))

    def _read(
        self, reader: FeatureExtractor, texts: Sequence[tuple[str, str]]
    ) -> Generator[TrainingProgress, None, list[GameReply]]:
        """Extract features; skips empty replies."""
        found: list[GameReply] = []
        for index, (prompt, text) in enumerate(texts):
            yield TrainingProgress(tr("reading"), index, len(texts))
            reply = self._known.get((prompt, text)) or read_reply(reader, prompt, text)
            if reader.stopped:
                raise InterruptedError
            if reply is not None:
                self._known[prompt, text] = reply
                found.append(reply)
        return found

    def _rounds(
        self, generator: EngineGenerator, table: GameReplies
    ) -> Generator[GameEvent, None, GameState]:
        rules = GameRules(
            self._layers,
            rounds=self._config.rounds,
            batch=self._config.batch,
            seed=self._config.seed,
        )
        path, key = self._place / "game.npz", self._key()
        encryption = self._folder.encryption
        state = load_state(path, key=key, encryption=encryption) or GameState()
        if state.rounds:
            yield state
        yield TrainingProgress(tr("fitting"), 0, 0)
        for event in AdversarialLoop(generator, table, rules).play(state):
            if isinstance(event, GameState):
                state = event
                save_state(state, path, key=key, encryption=encryption)
            yield event
        return state

    def _verdict(
        self,
        generator: EngineGenerator,
        reader: FeatureExtractor,
        split: DataSplit,
        state: GameState,
    ) -> Generator[
        GameEvent, None, tuple[IndependentVerdict | None, list[tuple[GameReply, GameReply]]]
    ]:
        """The independent evaluation, and sample replies before and after."""
        prompts = list(split.unseen.prompts or split.game.prompts[:4])
        before = yield from self._own(reader, prompts)
        after: list[GameReply] = []
        for draw in range(VERDICT_DRAWS):
            seed = self._config.seed + 777_000 + 1000 * draw
            total = VERDICT_DRAWS * len(prompts)
            for reply in generator.write(prompts, state.steering, seed):
                after.append(reply)
                yield TrainingProgress(tr("writing"), len(after), total)
        steered = {reply.prompt: reply for reply in after}
        samples = {r.prompt: (r, steered[r.prompt]) for r in before if r.prompt in steered}
        if not split.outside.pairs:
            return None, list(samples.values())
        people, plain = yield from self._pairs(reader, split.outside)
        unseen, _ = yield from self._pairs(reader, split.unseen)
        independent = fit_independent_judge(people, plain, [*self._layers, self._engine.n_layer])
        return judge_independently(independent, before, after, unseen), list(samples.values())

    def _played(
        self,
        state: GameState,
        split: DataSplit,
        verdict: IndependentVerdict | None,
        samples: Sequence[tuple[GameReply, GameReply]],
    ) -> GameResult:
        vector = None
        if state.steering.directions:
            vector = self._folder.vector(self._config.name)
            write_control_vector(state.steering, vector, architecture=self._architecture)
        facts = self._provenance(split)
        report = write_report(
            self._place, state, verdict, samples, facts, encryption=self._folder.encryption
        )
        return GameResult(
            state, verdict, vector, report, is_encrypted=self._folder.encryption is not None
        )

    def _provenance(self, split: DataSplit) -> Sequence[tuple[str, str]]:
        counts = [len(part.pairs) for part in (split.game, split.outside, split.unseen)]
        return (
            (tr("model"), self._model),
            (tr("fingerprint"), self._folder.fingerprint),
            (
                tr("data"),
                trn(
                    "{count:,} dialogue, SHA-256 {sha256}",
                    "{count:,} dialogues, SHA-256 {sha256}",
                    len(self._data.dialogues),
                    sha256=self._data.sha256,
                ),
            ),
            (
                tr("pairs of like length"),
                tr(
                    "{duel} for the duel, {judge} for the independent judge, {verdict} for its "
                    "verdict",
                    duel=counts[0],
                    judge=counts[1],
                    verdict=counts[2],
                ),
            ),
            (tr("prompts of the verdict"), str(len(split.unseen.prompts))),
            (tr("layers"), ", ".join(map(str, self._layers))),
            (tr("temperature"), str(TEMPERATURE)),
            (tr("tokens of a reply"), str(self._config.longest)),
            (tr("seed"), str(self._config.seed)),
        )

    def _key(self) -> str:
        """A hash of all that a saved game must match to be resumed."""
        config = self._config
        parts = [self._folder.fingerprint, self._data.sha256, self._layers]
        return hashlib.sha256(
            json.dumps([*parts, config.batch, config.seed, config.longest]).encode()
        ).hexdigest()


def split_data(pairs: Sequence[ReplyPair], prompts: Sequence[str], seed: int) -> DataSplit:
    """Split data by prompt: 40 % game, 40 % independent discriminator, 20 % test.

    With too few examples for an independent discriminator, all go to the game.
    """
    names = sorted(set(prompts))
    order = numpy.random.default_rng(seed).permutation(len(names))
    fifth = {names[at]: number * 5 // len(names) for number, at in enumerate(order)}
    parts = [
        DataPart(
            tuple(pair for pair in pairs if fifth[pair.prompt] // 2 == part),
            tuple(name for name in names if fifth[name] // 2 == part),
        )
        for part in range(3)
    ]
    spare = all(
        can_validate(len(part.pairs), (pair.prompt for pair in part.pairs)) for part in parts[:2]
    )
    return (
        DataSplit(*parts)
        if spare and parts[2].pairs
        else DataSplit(DataPart(tuple(pairs), tuple(names)))
    )


def fit_independent_judge(
    people: Sequence[GameReply], plain: Sequence[GameReply], layers: Sequence[int]
) -> LinearHead:
    """Fit a discriminator that saw neither the prompts of the game nor steered replies."""
    known = [*people, *plain]
    labels = numpy.arange(len(known)) < len(people)
    prompts = [reply.prompt for reply in known]
    return fit_head(Examples([reply.features for reply in known], labels, prompts), layers)


def judge_independently(
    independent: LinearHead,
    before: Sequence[GameReply],
    after: Sequence[GameReply],
    people: Sequence[GameReply],
) -> IndependentVerdict:
    """Evaluate replies to held-out prompts."""

    def taken(replies: Sequence[GameReply]) -> float:
        features = [reply.features for reply in replies]
        return float((independent.scores(feature_matrix(features, independent.layer)) > 0).mean())

    return IndependentVerdict(
        before=taken(before),
        after=taken(after),
        people=taken(people),
        plain=ReplyMetrics.of(before),
        steered=ReplyMetrics.of(after),
        costs=MetricRatios.of(before, after),
        error=_error_of_gain(independent, before, after),
    )


def _error_of_gain(
    independent: LinearHead, before: Sequence[GameReply], after: Sequence[GameReply]
) -> float:
    """Standard error of the gain, clustered by prompt."""
    gains: dict[str, tuple[list[bool], list[bool]]] = {}
    for side, replies in enumerate((before, after)):
        for reply in replies:
            taken = independent.score(reply.features) > 0
            gains.setdefault(reply.prompt, ([], []))[side].append(taken)
    each = [numpy.mean(new) - numpy.mean(old) for old, new in gains.values() if old and new]
    return float(numpy.std(each, ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 1.0


@dataclass(frozen=True, slots=True)
class EngineGenerator:
    """A `SteerableGenerator` over a loaded engine, without the engine's own control vector."""

    engine: Engine
    reader: FeatureExtractor
    temperature: float
    longest: int  # tokens of a reply

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[GameReply]:
        """Yield a reply to each prompt as it finishes; skips empty ones.

        Raises:
            InterruptedError: The engine's cancel flag was set.
        """
        sampling = Sampling(temp=self.temperature, max_tokens=self.longest)
        tasks = [reply_task(index, prompt, seed + index) for index, prompt in enumerate(prompts)]
        with self.engine.steered(steering.vectors()):
            for outcome in self.engine.map(tasks, BatchOptions(sampling=sampling)):
                prompt, text = prompts[outcome.index], reply_text(outcome)
                if text and (reply := read_reply(self.reader, prompt, text)):
                    yield reply
            if self.engine.cancel.is_set():
                raise InterruptedError


def read_reply(reader: FeatureExtractor, prompt: str, text: str) -> GameReply | None:
    """A reply with its features; None if there are none.

    Raises:
        InterruptedError: The cancel flag was set.
    """
    features = reader.features([ChatMessage("user", prompt)], text)
    return GameReply(prompt, text, features) if features else None
