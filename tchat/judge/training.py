"""Training the discriminator: human replies against the model's own, matched in length.

The model's replies are generated in batches, and cached on disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from tchat.encryption.stored_file import StoredFile
from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
from tchat.engine.engine import Engine
from tchat.engine.events import Finished
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit, TchatError, UsageError
from tchat.judge.discriminator import HUMAN, PURPOSE, Discriminator, TrainingProvenance
from tchat.judge.features import FeatureExtractor, Features
from tchat.judge.linear_head import (
    OUTER_FOLDS,
    Examples,
    auc,
    best_head,
    fit_heads,
    held_out_quality,
)
from tchat.judge.training_data import Dialogue, EditedReply
from tchat.settings import Sampling
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

TEMPERATURE = 0.7
TRIES = 3  # replies of the generator to a prompt; the one closest to the person's length is taken
LONGEST = 256  # tokens that the generator writes
MIN_TO_VALIDATE = 30  # examples a side, below which no quality is claimed
MIN_TO_FIT = 8  # of two prompts at least, or there is none to hold out
MIN_PROMPTS_TO_VALIDATE = OUTER_FOLDS  # different ones, below which no quality is claimed either


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of ``writing``, ``reading``, or ``fitting``, which has no total."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many of the ``given`` human replies are not trained on, by reason."""

    given: int
    short: int  # it or the model's reply has fewer than MIN_TOKENS tokens
    unanswered: int  # the prompt does not fit the context
    unequal: int  # the model's reply is much longer or shorter

    @property
    def count(self) -> int:
        """All of them."""
        return self.short + self.unanswered + self.unequal

    @property
    def notice(self) -> str:
        """The count and the reasons; empty if none was left out."""
        reasons = (
            (self.short, tr("shorter than {min_tokens} tokens", min_tokens=MIN_TOKENS)),
            (self.unanswered, tr("to prompts that do not fit the context")),
            (self.unequal, tr("of another length than the model's replies")),
        )
        told = ", ".join(f"{count:,} {why}" for count, why in reasons if count)
        if not told:
            return ""
        return trn(
            "{left_out:,} of {count:,} human reply is left out: {reasons}",
            "{left_out:,} of {count:,} human replies are left out: {reasons}",
            self.given,
            left_out=self.count,
            reasons=told,
        )


@dataclass(frozen=True, slots=True)
class MatchedPairs:
    """Pairs of like length, and what was left out of the data."""

    pairs: list[ReplyPair]
    left_out: LeftOut

    def require_enough(self) -> None:
        """Raise UsageError unless there are `MIN_TO_FIT` pairs."""
        if len(self.pairs) < MIN_TO_FIT:
            raise _too_few(len(self.pairs), self.left_out)


def write_pairs(
    engine: Engine,
    dialogues: Sequence[Dialogue],
    reply_cache: ReplyCache,
    edits: Sequence[EditedReply] = (),
) -> Generator[TrainingProgress, None, MatchedPairs]:
    """Generate replies to the prompts, and pair each human reply with a generated one.

    Takes the generated reply closest in length, and drops pairs until length alone predicts next to
    nothing. Cached replies are not generated again.

    Raises:
        UsageError: There are too few examples; nothing was generated.
        InterruptedError: The engine's cancel flag was set.
    """
    given = len(dialogues) + len(edits)
    usable = [each for each in dialogues if len(engine.text_tokens(each.reply)) >= MIN_TOKENS]
    edited = [pair for each in edits if (pair := edit_pair(engine, each)).tokens >= MIN_TOKENS]
    short = given - len(usable) - len(edited)
    if given - short < MIN_TO_FIT:
        raise _too_few(given - short, LeftOut(given, short, 0, 0))
    prompts = [dialogue.prompt for dialogue in usable]
    if len({*prompts, *(pair.prompt for pair in edited)}) < 2:
        raise _one_prompt()
    yield from write_replies(engine, prompts, range(TRIES), reply_cache)
    pairs = [*edited, *pair_replies(engine, usable, reply_cache, range(TRIES))]
    unanswered = given - short - len(pairs)
    long_enough = [pair for pair in pairs if pair.tokens >= MIN_TOKENS]
    short += len(pairs) - len(long_enough)
    kept = match_lengths(long_enough)
    return MatchedPairs(kept, LeftOut(given, short, unanswered, len(long_enough) - len(kept)))


def _too_few(usable: int, left_out: LeftOut) -> UsageError:
    notice = left_out.notice
    return UsageError(
        trn(
            "{count:,} human reply is too few to train on",
            "{count:,} human replies are too few to train on",
            usable,
        )
        + (f" ({notice})" if notice else ""),
        tr(
            "give at least {min_to_fit}, better {min_to_validate} and more, of at least "
            "{min_tokens} tokens each",
            min_to_fit=MIN_TO_FIT,
            min_to_validate=MIN_TO_VALIDATE,
            min_tokens=MIN_TOKENS,
        ),
    )


def _one_prompt() -> UsageError:
    return UsageError(
        tr("all replies are to one prompt, so that there is none to test on"),
        tr("give replies to several prompts: tchat judge train FILE"),
    )


def pair_replies(
    engine: Engine, dialogues: Sequence[Dialogue], reply_cache: ReplyCache, numbers: Sequence[int]
) -> list[ReplyPair]:
    """Pair each human reply with the cached reply of these ``numbers`` closest in length."""
    pairs: list[ReplyPair] = []
    for dialogue in dialogues:
        person = len(engine.text_tokens(dialogue.reply))
        tries = [reply_cache.get(dialogue.prompt, number) for number in numbers]
        lengths = {text: len(engine.text_tokens(text)) for text in tries if text}
        if person and lengths:
            text = min(lengths, key=lambda each: abs(math.log(lengths[each] / person)))
            pairs.append(ReplyPair(dialogue.prompt, dialogue.reply, person, text, lengths[text]))
    return pairs


def edit_pair(engine: Engine, edit: EditedReply) -> ReplyPair:
    """The pair of a rewritten reply."""
    *before, prompt = edit.messages
    person, generated = (len(engine.text_tokens(text)) for text in (edit.person, edit.generated))
    return ReplyPair(prompt.content, edit.person, person, edit.generated, generated, tuple(before))


def write_replies(
    engine: Engine, prompts: Sequence[str], numbers: Sequence[int], reply_cache: ReplyCache
) -> Generator[TrainingProgress, None, None]:
    """Generate one reply per prompt and number, in batches, without steering.

    Prompts that do not fit the context get no reply.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    requests = [(prompt, number) for number in numbers for prompt in dict.fromkeys(prompts)]
    missing = [each for each in requests if reply_cache.get(*each) is None]
    tasks = [
        reply_task(index, prompt, number + 1) for index, (prompt, number) in enumerate(missing)
    ]
    options = BatchOptions(sampling=Sampling(temp=TEMPERATURE, max_tokens=LONGEST))
    done = len(requests) - len(missing)
    yield TrainingProgress(tr("writing"), done, len(requests))
    with engine.steered(()):
        for outcome in engine.map(tasks, options):
            text = reply_text(outcome)
            if not isinstance(outcome.result, DoesNotFit):
                reply_cache.put(*missing[outcome.index], text)
            done += 1
            yield TrainingProgress(tr("writing"), done, len(requests))
    if done < len(requests):
        raise InterruptedError


def read_pairs(
    reader: FeatureExtractor, pairs: Sequence[ReplyPair]
) -> Generator[TrainingProgress, None, tuple[Examples, str]]:
    """The features of each pair, and a hash of the texts; skips pairs that are too long.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    features: list[Features] = []
    prompts: list[str] = []
    digest = hashlib.sha256()
    for index, pair in enumerate(pairs):
        yield TrainingProgress(tr("reading"), index, len(pairs))
        person = reader.features(pair.messages, pair.person)
        generated = reader.features(pair.messages, pair.generated)
        if person and generated:
            features += [person, generated]
            prompts += [pair.prompt, pair.prompt]
            digest.update(json.dumps([pair.prompt, pair.person, pair.generated]).encode())
    people = numpy.arange(len(features)) % 2 == 0
    return Examples(features, people, prompts), digest.hexdigest()


def can_validate(examples: int, prompts: Iterable[object]) -> bool:
    """Whether there are enough examples per class and prompts to estimate quality."""
    return examples >= MIN_TO_VALIDATE and len(set(prompts)) >= MIN_PROMPTS_TO_VALIDATE


def train(
    examples: Examples,
    layers: Sequence[int],
    *,
    model: str,
    fingerprint: str,
    data: str,
    kind: str = HUMAN,
) -> Discriminator:
    """Train the discriminator.

    Its quality is cross-validated; None with too few examples, see `can_validate`.

    Args:
        examples: Replies by people, and by the model; the groups are prompts.
        layers: Layers to select from, by cross-validation.
        model: File name of the model.
        fingerprint: Hash of the model.
        data: Hash of the data.
        kind: `HUMAN` or `READING`.

    Raises:
        UsageError: There are too few examples, or prompts, to fit anything.
    """
    people, generated = int(examples.labels.sum()), int((~examples.labels).sum())
    if min(people, generated) < MIN_TO_FIT:
        raise UsageError(
            tr(
                "{people} replies by people and {generated} by the model are too few to train on",
                people=people,
                generated=generated,
            ),
            tr(
                "give at least {min_to_fit} of each, better {min_to_validate}: tchat judge "
                "train FILE",
                min_to_fit=MIN_TO_FIT,
                min_to_validate=MIN_TO_VALIDATE,
            ),
        )
    if len(set(examples.groups)) < 2:
        raise _one_prompt()
    heads = fit_heads(examples, layers)
    enough = can_validate(min(people, generated), examples.groups)
    return Discriminator(
        best_head(heads).head,
        TrainingProvenance(
            model=model,
            fingerprint=fingerprint,
            data=data,
            examples=(people, generated),
            quality=held_out_quality(examples, layers) if enough else None,
            layers={layer: each.auc for layer, each in heads.items()},
            created_at=time.time(),
            kind=kind,
        ),
    )


MAX_AUC_BY_LENGTH = 0.58  # AUC of the length alone, either way around
MIN_TOKENS = 8  # tokens; less says nothing about who wrote it


@dataclass(frozen=True, slots=True)
class ReplyPair:
    """A human and a generated reply to one prompt; ``before`` it are other messages."""

    prompt: str
    person: str
    person_tokens: int
    generated: str
    generated_tokens: int
    before: tuple[ChatMessage, ...] = ()

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """The messages, the prompt last."""
        return (*self.before, ChatMessage("user", self.prompt))

    @property
    def tokens(self) -> int:
        """The length of the shorter reply."""
        return min(self.person_tokens, self.generated_tokens)

    @property
    def ratio(self) -> float:
        """Log ratio of the generated to the human length."""
        return math.log(self.generated_tokens / self.person_tokens)


def match_lengths(pairs: Sequence[ReplyPair]) -> list[ReplyPair]:
    """Drop the most unequal pairs until the AUC of length alone is at most `MAX_AUC_BY_LENGTH`."""
    kept = [pair for pair in pairs if pair.tokens >= MIN_TOKENS]
    while len(kept) > 2:
        value = auc_by_length(kept)
        if 1 - MAX_AUC_BY_LENGTH <= value <= MAX_AUC_BY_LENGTH:
            break
        longer = value < 0.5  # the generator's are longer
        kept.remove(max(kept, key=lambda p: p.ratio if longer else -p.ratio))
    return kept


def auc_by_length(pairs: Sequence[ReplyPair]) -> float:
    """AUC of length alone as a predictor of human replies; 0.5 is chance."""
    lengths = [p.person_tokens for p in pairs] + [p.generated_tokens for p in pairs]
    labels = numpy.arange(2 * len(pairs)) < len(pairs)
    return auc(numpy.array(lengths, dtype=float), labels)


def reply_task(index: int, prompt: str, seed: int) -> BatchTask:
    """A batch task that answers a prompt with its own seed."""
    chat = [ChatMessage("user", prompt)]
    return BatchTask(index, lambda: chat, seed)


def reply_text(outcome: BatchResult) -> str:
    """The reply of a task; empty if there is none, or the prompt does not fit.

    Raises:
        TchatError: It failed.
    """
    if isinstance(outcome.result, TchatError) and not isinstance(outcome.result, DoesNotFit):
        raise outcome.result
    return outcome.result.text.strip() if isinstance(outcome.result, Finished) else ""


class ReplyCache:
    """An append-only JSONL file of replies by prompt and number.

    Skips a line truncated by a crash.
    """

    def __init__(self, path: Path, encryption: Encryption | None = None) -> None:
        self._stored = StoredFile(path, encryption, PURPOSE)
        self._known: dict[tuple[str, int], str] = {}
        if path.exists():
            for line in self._stored.lines():
                self._learn(line)

    def get(self, prompt: str, number: int) -> str | None:
        """The ``number``-th reply to ``prompt``; None if it is not cached."""
        return self._known.get((_key(prompt), number))

    def put(self, prompt: str, number: int, reply: str) -> None:
        """Cache a reply.

        Raises:
            StorageError: It cannot be written.
        """
        row = {"prompt": _key(prompt), "number": number, "reply": reply}
        self._stored.append_line(json.dumps(row).encode())
        self._known[_key(prompt), number] = reply

    def _learn(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._known[str(row["prompt"]), int(row["number"])] = str(row["reply"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:32]
