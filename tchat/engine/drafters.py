"""Drafters of speculative decoding: prompt lookup and a draft model, and how often they are right.

Prompt lookup drafts from where the same tokens stood before: a reply that rewrites, quotes or
extracts repeats long parts of its prompt. A draft model is a smaller model with the same
vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tchat.engine.binding import Cancel
from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache
from tchat.engine.model import Model
from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

MEASURED_PREFILL = 64  # tokens that must have been prefilled for their speed to count
PREFILL_SHARE = 0.7  # of a single token's time, for each further one, until it is measured
WEIGHT = 0.3  # of a new time in the mean
TIME_DECAY = 0.995  # of an old time, with each single token since

STATS_WINDOW = 300.0  # drafted tokens that the statistics remember
# By the length of the match: up to, acceptance rate at first, weight of that in tokens.
_PRIOR = ((4, 0.5, 4.0), (8, 0.65, 4.0), (16, 0.8, 4.0), (32, 0.9, 4.0), (1 << 30, 0.95, 4.0))


class DecodeTimes:
    """Mean seconds of decodes, by their number of tokens."""

    def __init__(self) -> None:
        self._single = 0.0
        self._costs: dict[int, tuple[float, int]] = {}  # in single tokens; and when recorded
        self._each = 0.0  # seconds of each token in a prefill
        self._count = 0  # decodes of single tokens

    def record(self, size: int, seconds: float) -> None:
        """Record a decode."""
        if size == 1:
            self._count += 1
            mean = self._single or seconds
            # A pause of the whole process is no time of the decode.
            self._single = mean + WEIGHT * (min(seconds, 3 * mean) - mean)
        elif self._single:
            known = self._cost(size)
            cost = min(seconds / self._single, 2 * known)
            self._costs[size] = known + WEIGHT * (cost - known), self._count

    def record_prefill(self, tokens: int, seconds: float) -> None:
        """Record the prefill of a prompt."""
        if tokens >= MEASURED_PREFILL:
            self._each = seconds / tokens

    def of(self, size: int) -> float:
        """Seconds of a decode of ``size`` tokens, estimated where unmeasured; 0 when unknown."""
        return self._single if size == 1 else self._single * self._cost(size)

    def _cost(self, size: int) -> float:
        """A decode's time in single tokens; old measurements count little."""
        each = min(self._each / self._single, 1.0) if self._each and self._single else PREFILL_SHARE
        estimate = 1 + (size - 1) * each
        if size not in self._costs:
            return estimate
        cost, recorded = self._costs[size]
        return estimate + (cost - estimate) * TIME_DECAY ** (self._count - recorded)


class AcceptanceStats:
    """How often drafted tokens are accepted, by the length of the match that they come from."""

    def __init__(self) -> None:
        self._accepted = [rate * weight for _, rate, weight in _PRIOR]
        self._drafted = [weight for _, _, weight in _PRIOR]

    def record(self, match: int, *, accepted: bool) -> None:
        """Record whether the token drafted from a match of ``match`` tokens was accepted."""
        bucket = _bucket(match)
        if self._drafted[bucket] > STATS_WINDOW:
            self._drafted[bucket] /= 2
            self._accepted[bucket] /= 2
        self._drafted[bucket] += 1
        self._accepted[bucket] += accepted

    def rate(self, match: int) -> float:
        """Probability that a token drafted from a match of ``match`` tokens is accepted."""
        bucket = _bucket(match)
        return self._accepted[bucket] / self._drafted[bucket]

    def expected(self, match: int, count: int) -> float:
        """How many of ``count`` drafted tokens are accepted before the first rejection."""
        total, chance = 0.0, 1.0
        for offset in range(count):
            chance *= self.rate(match + offset)
            total += chance
        return total


def _bucket(match: int) -> int:
    return next(bucket for bucket, (end, _, _) in enumerate(_PRIOR) if match <= end)


class Drafter(Protocol):
    """Drafts tokens for one reply."""

    @property
    def has_draft(self) -> bool:
        """Whether there may be a draft now; `gain` says what it is worth."""

    def append(self, token: int) -> None:
        """Add a token of the reply."""

    def gain(self, size: int, times: DecodeTimes) -> float:
        """Expected speed-up of a decode of ``size`` tokens; 0 without a draft."""

    def draft(self, count: int) -> Sequence[int]:
        """Up to ``count`` tokens that may come next."""

    def record(self, drafted: int, accepted: int) -> None:
        """Record how many drafted tokens were accepted before the first rejection."""


NGRAM = 3  # tokens that must be the same before a match begins
LONGEST = 64  # tokens of a match that are counted when it begins


class PromptLookup:
    """A `Drafter` from where the end of the text stood before.

    Every token shows whether its draft would have been accepted, used or not, so the statistics
    always learn.

    Args:
        tokens: The prompt.
        stats: Of all replies of the model.

    Attributes:
        match: Tokens at the end that also stand before the place found; 0 when there is none.
    """

    def __init__(self, tokens: Sequence[int], stats: AcceptanceStats) -> None:
        self._tokens, self._stats = list(tokens), stats
        # What position follows each n-gram.
        ngrams = zip(tokens, tokens[1:], tokens[2:], strict=False)
        positions = zip(ngrams, range(NGRAM, len(tokens)), strict=False)
        self._after: dict[tuple[int, ...], int] = dict(positions)
        self._position = 0
        self.match = 0

    @property
    def has_draft(self) -> bool:
        """Whether the end stood somewhere before."""
        return self.match > 0

    def append(self, token: int) -> None:
        """Add one token."""
        tokens = self._tokens
        if self.match:
            accepted = tokens[self._position] == token
            self._stats.record(self.match, accepted=accepted)
            self._position, self.match = (
                (self._position + 1, self.match + 1) if accepted else (0, 0)
            )
        tokens.append(token)
        ngram = tuple(tokens[-NGRAM:])
        if not self.match:
            self._position = self._after.get(ngram, 0)
            self.match = self._match_length(self._position) if self._position else 0
        self._after[ngram] = len(tokens)

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if not self.match:
            return 0.0
        expected = 1 + self._stats.expected(self.match, size - 1)
        return expected * times.of(1) / times.of(size)

    def draft(self, count: int) -> list[int]:
        """The next ``count`` tokens, if the match continues."""
        drafted: list[int] = []
        for position in range(self._position, self._position + count if self.match else 0):
            behind = position - len(self._tokens)  # where the match has caught up with the end
            drafted.append(drafted[behind] if behind >= 0 else self._tokens[position])
        return drafted

    def record(self, drafted: int, accepted: int) -> None:
        """Nothing: the statistics learn from the tokens themselves."""

    def _match_length(self, position: int) -> int:
        """How many tokens before ``position`` are those at the end."""
        tokens, count = self._tokens, 0
        end = len(tokens)
        while (
            count < min(LONGEST, position)
            and tokens[position - 1 - count] == tokens[end - 1 - count]
        ):
            count += 1
        return count


INITIAL_CAPACITY = 512  # tokens of the draft model's KV cache at first
MAX_BATCH = 8  # tokens of a decode with its drafted tokens
MAX_VOCAB_DIFFERENCE = 128  # tokens that one vocabulary may have more, as llama.cpp allows
MIN_PROBABILITY = 0.4  # a less likely token ends the draft
MODEL_PRIOR = (3.5, 5.0)  # accepted tokens, of so many, to begin with
MODEL_DECAY = 0.99  # of what was recorded, with each drafted token


class DraftModel:
    """A `Drafter` by a smaller model, for one reply after the other. Close it.

    Args:
        path: Its file, already verified.
        main: The model that it drafts for.
        size: Context size of that model.
        threads: As of `Context`.
        cancel: Stops its decodes.

    Raises:
        UsageError: It has another vocabulary, or its cache cannot be cut back.
    """

    has_draft = True

    def __init__(self, path: Path, main: Model, *, size: int, threads: int, cancel: Cancel) -> None:
        self.model = Model(path, cancel=cancel)
        try:
            self._require_same_vocabulary(main)
            self.context = Context(
                self.model,
                size=size,
                capacity=INITIAL_CAPACITY,
                batch=512,
                threads=threads,
                cancel=cancel,
            )
        except BaseException:
            self.model.close()
            raise
        self.kv = KVCache(self.context, self.model)
        self._tokens: list[int] = []
        self._accepted, self._drafted = MODEL_PRIOR
        self._seconds = 0.0  # of one drafted token
        self._failed = False

    def close(self) -> None:
        """Free it. Closing twice is harmless."""
        self.context.close()
        self.model.close()

    def _require_same_vocabulary(self, main: Model) -> None:
        name, other = (single_line(model.path.name) for model in (self.model, main))
        if self.model.shape.recurrent:
            raise UsageError(
                tr("{name} cannot draft: its KV cache cannot be truncated", name=name),
                tr("choose a plain Transformer"),
            )
        here, there = self.model.shape.n_vocab, main.shape.n_vocab
        same = abs(here - there) <= MAX_VOCAB_DIFFERENCE and all(
            self.model.piece(token) == main.piece(token) for token in range(min(here, there))
        )
        if not same:
            raise UsageError(
                tr(
                    "{name} cannot draft for {other}: their vocabularies differ",
                    name=name,
                    other=other,
                ),
                tr("choose a smaller model of the same family"),
            )

    def begin(self, tokens: Sequence[int]) -> None:
        """Draft for a reply to the prompt ``tokens`` from now on."""
        self._tokens = list(tokens)

    def append(self, token: int) -> None:
        """Add a token of the reply."""
        self._tokens.append(token)

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if size > MAX_BATCH or self._failed:
            return 0.0
        rate = self._accepted / self._drafted
        expected = sum(rate**count for count in range(size))
        each = self._seconds or times.of(1) / 4  # or it would never be tried
        return expected * times.of(1) / (times.of(size) + (size - 1) * each)

    def draft(self, count: int) -> list[int]:
        """Up to ``count`` tokens that may come next; none when it was stopped.

        After llama.cpp failed there are none any more: the reply goes on without drafts.
        """
        try:
            return self._draft(count)
        except TchatError:
            self._failed = True
            return []

    def _draft(self, count: int) -> list[int]:
        tokens = self._tokens
        if len(tokens) + count > self.context.size or not self.kv.reserve(len(tokens) + count):
            return []
        if not all(self.kv.prefill(tokens[self.kv.reuse(tokens) :])):
            return []
        drafted: list[int] = []
        started = time.perf_counter()
        for _ in range(count):
            token, probability = self._likeliest()
            if probability < MIN_PROBABILITY:
                break
            drafted.append(token)
            if len(drafted) < count and not self.kv.step(token):
                break
        if drafted:
            each = (time.perf_counter() - started) / len(drafted)
            self._seconds += (each - self._seconds) * (0.3 if self._seconds else 1.0)
        return drafted

    def record(self, drafted: int, accepted: int) -> None:
        """As of `Drafter`."""
        for number in range(min(accepted + 1, drafted)):
            self._accepted = MODEL_PRIOR[0] + (self._accepted - MODEL_PRIOR[0]) * MODEL_DECAY
            self._accepted += number < accepted
            self._drafted = MODEL_PRIOR[1] + (self._drafted - MODEL_PRIOR[1]) * MODEL_DECAY + 1

    def _likeliest(self) -> tuple[int, float]:
        """The likeliest next token, and its probability."""
        import numpy

        logits = self.context.logits_array()
        token = int(logits.argmax())
        return token, 1 / float(numpy.exp(logits - logits[token]).sum())
