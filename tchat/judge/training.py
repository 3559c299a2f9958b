"""Training a discriminator: people's replies against the generator's own."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy

from tchat.engine.batch import BatchOptions
from tchat.engine.engine import Engine
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit, UsageError
from tchat.judge.dialogues import Dialogue
from tchat.judge.discriminator import HUMAN, Discriminator, TrainingProvenance
from tchat.judge.features import FeatureExtractor, Features
from tchat.judge.feedback import EditedReply
from tchat.judge.generate_replies import ReplyCache, reply_task, reply_text
from tchat.judge.linear_head import OUTER_FOLDS, fit_head, held_out_quality, layer_aucs
from tchat.judge.logistic_regression import Labels, auc
from tchat.settings import Sampling

TEMPERATURE = 0.7
TRIES = 3  # replies of the generator to a prompt; the one closest to the person's length is taken
LONGEST = 256  # tokens that the generator writes
MIN_TO_VALIDATE = 30  # examples a side, below which no quality is claimed
MIN_TO_FIT = 8  # of two prompts at least, or there is none to hold out
MIN_PROMPTS_TO_VALIDATE = OUTER_FOLDS  # different ones, below which no quality is claimed either


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is: ``writing``, ``reading``, or ``fitting``, which has no total."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LabelledReplies:
    """Replies and who wrote them.

    Args:
        features: One for each reply.
        people: Whether a person wrote it, shape (replies,).
        prompts: What each replies to; replies to one prompt are held out together.
        sha256: Of prompts, replies and writers.
    """

    features: tuple[Features, ...]
    people: Labels
    prompts: tuple[str, ...]
    sha256: str

    @property
    def sides(self) -> tuple[int, int]:
        """How many replies people wrote, and how many the generator."""
        return int(self.people.sum()), int((~self.people).sum())


def write_pairs(
    engine: Engine,
    dialogues: Sequence[Dialogue],
    kept: ReplyCache,
    edits: Sequence[EditedReply] = (),
) -> Generator[TrainingProgress, None, list[ReplyPair]]:
    """Let the generator reply to the prompts, and pair each reply with the person's.

    Of several replies the one closest in length is taken, and pairs are left out until length
    tells next to nothing. What ``kept`` holds is not written again.

    Args:
        engine: Loaded.
        dialogues: Replies by people.
        kept: Replies of the generator.
        edits: Pairs that are there already: what the user wrote instead of a reply.

    Raises:
        UsageError: There are too few to learn anything from.
        InterruptedError: The engine's cancel flag was set.
    """
    given = len(dialogues) + len(edits)
    if given < MIN_TO_FIT:
        raise UsageError(
            f"{given} replies by people are too few to learn from",
            f"give at least {MIN_TO_FIT}, better {MIN_TO_VALIDATE} and more",
        )
    prompts = [dialogue.prompt for dialogue in dialogues]
    yield from write_replies(engine, prompts, range(TRIES), kept)
    edited = [edit_pair(engine, edit) for edit in edits]
    return match_lengths([*edited, *pair_replies(engine, dialogues, kept, range(TRIES))])


def pair_replies(
    engine: Engine, dialogues: Sequence[Dialogue], kept: ReplyCache, numbers: Sequence[int]
) -> list[ReplyPair]:
    """Each person's reply with the closest in length of the kept replies of these ``numbers``."""
    pairs: list[ReplyPair] = []
    for dialogue in dialogues:
        person = len(engine.text_tokens(dialogue.reply))
        tries = [kept.get(dialogue.prompt, number) for number in numbers]
        lengths = {text: len(engine.text_tokens(text)) for text in tries if text}
        if person and lengths:
            text = min(lengths, key=lambda each: abs(math.log(lengths[each] / person)))
            pairs.append(ReplyPair(dialogue.prompt, dialogue.reply, person, text, lengths[text]))
    return pairs


def edit_pair(engine: Engine, edit: EditedReply) -> ReplyPair:
    """What the user wrote, and what the model had written."""
    *before, asked = edit.asked
    lengths = [len(engine.text_tokens(text)) for text in (edit.person, edit.generated)]
    return ReplyPair(
        asked.content, edit.person, lengths[0], edit.generated, lengths[1], tuple(before)
    )


def write_replies(
    engine: Engine, prompts: Sequence[str], numbers: Sequence[int], kept: ReplyCache
) -> Generator[TrainingProgress, None, None]:
    """Let the generator reply to each prompt once for each number, several at a time.

    It is not steered meanwhile. Prompts that do not fit its context get no reply.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    asked = [(prompt, number) for number in numbers for prompt in dict.fromkeys(prompts)]
    missing = [each for each in asked if kept.get(*each) is None]
    tasks = [
        reply_task(index, prompt, number + 1) for index, (prompt, number) in enumerate(missing)
    ]
    options = BatchOptions(sampling=Sampling(temp=TEMPERATURE, max_tokens=LONGEST))
    done = len(asked) - len(missing)
    yield TrainingProgress("writing", done, len(asked))
    with engine.steered(()):
        for outcome in engine.map(tasks, options):
            text = reply_text(outcome)
            if not isinstance(outcome.result, DoesNotFit):
                kept.put(*missing[outcome.index], text)
            done += 1
            yield TrainingProgress("writing", done, len(asked))
    if done < len(asked):
        raise InterruptedError


def read_pairs(
    reader: FeatureExtractor, pairs: Sequence[ReplyPair]
) -> Generator[TrainingProgress, None, LabelledReplies]:
    """The features of both replies of each pair; pairs that are too long are left out.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    features: list[Features] = []
    prompts: list[str] = []
    digest = hashlib.sha256()
    for index, pair in enumerate(pairs):
        yield TrainingProgress("reading", index, len(pairs))
        person = reader.features(pair.asked, pair.person)
        generated = reader.features(pair.asked, pair.generated)
        if person and generated:
            features += [person, generated]
            prompts += [pair.prompt, pair.prompt]
            digest.update(json.dumps([pair.prompt, pair.person, pair.generated]).encode())
    people = numpy.arange(len(features)) % 2 == 0
    return LabelledReplies(tuple(features), people, tuple(prompts), digest.hexdigest())


def can_validate(examples: int, prompts: Iterable[object]) -> bool:
    """Whether so many examples a side, to these prompts, say how good a head is."""
    return examples >= MIN_TO_VALIDATE and len(set(prompts)) >= MIN_PROMPTS_TO_VALIDATE


def train(
    examples: LabelledReplies,
    layers: Sequence[int],
    *,
    model: str,
    fingerprint: str,
    kind: str = HUMAN,
    seed: int = 0,
) -> Discriminator:
    """Fit the head that tells people's replies from the generator's.

    Its quality is that of the same training on four fifths of the examples, measured on the rest;
    with too few, as of `can_validate`, none is claimed.

    Args:
        examples: Of both kinds.
        layers: Which may serve; the best by cross-validation does.
        model: File name of the generator.
        fingerprint: Of its content.
        kind: `HUMAN` or `READING`.
        seed: Of the divisions.

    Raises:
        UsageError: There are too few examples, or prompts, to fit anything.
    """
    people, generated = examples.sides
    if min(people, generated) < MIN_TO_FIT:
        raise UsageError(
            f"{people} replies by people and {generated} by the model are too few to learn from",
            f"give at least {MIN_TO_FIT} of each, better {MIN_TO_VALIDATE}: tchat judge train FILE",
        )
    if len(set(examples.prompts)) < 2:
        raise UsageError(
            "all replies are to one prompt, so that there is none to test on",
            "give replies to several prompts: tchat judge train FILE",
        )
    given = (examples.features, examples.people, examples.prompts)
    enough = can_validate(min(people, generated), examples.prompts)
    return Discriminator(
        fit_head(*given, layers, seed=seed),
        TrainingProvenance(
            model=model,
            fingerprint=fingerprint,
            data=examples.sha256,
            examples=(people, generated),
            quality=held_out_quality(*given, layers, seed=seed) if enough else None,
            layers=dict(layer_aucs(*given, layers, seed=seed)),
            created_at=time.time(),
            kind=kind,
        ),
    )


MAX_AUC_BY_LENGTH = 0.58  # AUC of the length alone, either way around
MIN_TOKENS = 8  # tokens; less says nothing about who wrote it


@dataclass(frozen=True, slots=True)
class ReplyPair:
    """Two replies to one prompt.

    Args:
        prompt: What was asked.
        person: What a person replied.
        person_tokens: How many tokens that is.
        generated: What the generator replied.
        generated_tokens: How many tokens that is.
        before: System prompt and messages before the prompt.
    """

    prompt: str
    person: str
    person_tokens: int
    generated: str
    generated_tokens: int
    before: tuple[ChatMessage, ...] = ()

    @property
    def asked(self) -> tuple[ChatMessage, ...]:
        """What both reply to, the prompt last."""
        return (*self.before, ChatMessage("user", self.prompt))

    @property
    def ratio(self) -> float:
        """Logarithm of the generated length over the person's."""
        return math.log(self.generated_tokens / self.person_tokens)


def match_lengths(pairs: Sequence[ReplyPair]) -> list[ReplyPair]:
    """The pairs with the most unequal lengths left out, until length alone tells little.

    The rest may keep a length that is a weak sign: AUC of at most `MAX_AUC_BY_LENGTH`.
    """
    kept = [p for p in pairs if min(p.person_tokens, p.generated_tokens) >= MIN_TOKENS]
    while len(kept) > 2:
        value = auc_by_length(kept)
        if 1 - MAX_AUC_BY_LENGTH <= value <= MAX_AUC_BY_LENGTH:
            break
        longer = value < 0.5  # the generator's are longer
        kept.remove(max(kept, key=lambda p: p.ratio if longer else -p.ratio))
    return kept


def auc_by_length(pairs: Sequence[ReplyPair]) -> float:
    """How well length alone tells a person's reply: AUC, 0.5 is not at all."""
    lengths = [p.person_tokens for p in pairs] + [p.generated_tokens for p in pairs]
    labels = numpy.arange(2 * len(pairs)) < len(pairs)
    return auc(numpy.array(lengths, dtype=float), labels)
