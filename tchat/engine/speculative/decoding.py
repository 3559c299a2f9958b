"""Speculative decoding: several guessed tokens are checked in one decode, where that pays.

A decode of eight tokens takes much less than eight decodes of one. So what is likely to come is
decoded along with the token at hand, each token is drawn from its own output as always, and what
does not agree with the draw is cut off again. Draws, penalties, grammars and stop strings see the
same tokens in the same order, so a reply has the distribution that it has without guesses.

Whether it pays is measured: what decodes of each size take here and now, and how often guesses
are right. What was lost by wrong guesses may never exceed a small share of the time.

Greedy replies shall be the same to the letter. llama.cpp's kernels for one token and for several
may round differently, which turns near ties: with flash attention, for example, from 256 tokens in
the cache on with more than one thread. So for those a trial compares the outputs of both bit by
bit first, and where they differ, nothing is guessed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache
from tchat.engine.speculative.batch_exactness import (
    ExactnessTrial,
    KernelRegime,
    crosses,
    kernel_regime,
)
from tchat.engine.speculative.prompt_lookup import AcceptanceStats, PromptLookup

if TYPE_CHECKING:
    from tchat.engine.speculative.draft_model import DraftModel

SIZES = (4, 8, 16, 32)  # tokens of a decode with guesses
FIRST = 8  # no more at first; twice as many as the last time when all of those were right
COMPARED = (8,)  # sizes for greedy replies, each of which costs a trial
GAIN = 1.15  # times as fast as without guesses is what a decode must promise
LOSS = 0.02  # share of the time of a reply that wrong guesses may have cost
FEWEST = 64  # tokens that must have been read for their speed to be known
READING = 0.7  # of the time of a single token, for each one more, until it is measured
WEIGHT = 0.3  # of a new time in the mean
FADING = 0.995  # of an old one, with each single token since


class DecodeTimes:
    """Mean seconds of decodes, by their number of tokens."""

    def __init__(self) -> None:
        self._single = 0.0
        self._costs: dict[int, tuple[float, int]] = {}  # in single tokens; and when it was noted
        self._each = 0.0  # of each token when many are read
        self._count = 0  # decodes of single tokens

    def note(self, size: int, seconds: float) -> None:
        """Note a decode."""
        if size == 1:
            self._count += 1
            mean = self._single or seconds
            # A pause of the whole process is no time of the decode.
            self._single = mean + WEIGHT * (min(seconds, 3 * mean) - mean)
        elif self._single:
            known = self._cost(size)
            cost = min(seconds / self._single, 2 * known)
            self._costs[size] = known + WEIGHT * (cost - known), self._count

    def note_reading(self, tokens: int, seconds: float) -> None:
        """Note the reading of a prompt."""
        if tokens >= FEWEST:
            self._each = seconds / tokens

    def of(self, size: int) -> float:
        """Seconds of a decode of ``size`` tokens, estimated where none was; 0 when unknown."""
        return self._single if size == 1 else self._single * self._cost(size)

    def _cost(self, size: int) -> float:
        """A decode's time in single tokens; what was measured long ago counts little."""
        each = min(self._each / self._single, 1.0) if self._each and self._single else READING
        estimate = 1 + (size - 1) * each
        if size not in self._costs:
            return estimate
        cost, noted = self._costs[size]
        return estimate + (cost - estimate) * FADING ** (self._count - noted)


class Drafter(Protocol):
    """Guesses, by some means."""

    @property
    def has_draft(self) -> bool:
        """Whether there may be a guess now; `gain` says what it is worth."""

    def append(self, token: int) -> None:
        """Go on by one token of the reply."""

    def gain(self, size: int, times: DecodeTimes) -> float:
        """How many times as fast a decode of ``size`` tokens makes the reply; 0 for no guess."""

    def guess(self, count: int) -> Sequence[int]:
        """Up to ``count`` tokens that may come next."""

    def judge(self, guessed: int, right: int) -> None:
        """Note that of so many guesses so many were right, before the first wrong one."""


@dataclass(slots=True)
class PromptLookupDrafter:
    """Guesses by `PromptLookup`."""

    lookup: PromptLookup
    odds: AcceptanceStats

    @property
    def has_draft(self) -> bool:
        """As of `Drafter`."""
        return self.lookup.run > 0

    def append(self, token: int) -> None:
        """Go on by one token of the reply."""
        self.lookup.append(token)

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if not self.has_draft:
            return 0.0
        expected = 1 + self.odds.expected(self.lookup.run, size - 1)
        return expected * times.of(1) / times.of(size)

    def guess(self, count: int) -> Sequence[int]:
        """The tokens that came before."""
        return self.lookup.guess(count)

    def judge(self, guessed: int, right: int) -> None:
        """The odds have learnt from the tokens themselves."""


@dataclass(slots=True)
class Speculation:
    """What is known of guessing with one model, over all of its replies.

    Args:
        context: Where it decodes.
        kv: Its cache, which can be trimmed.
        lookup: Whether the text so far gives guesses.
        draft: Gives others; closed with it.
    """

    context: Context
    kv: KVCache
    lookup: bool = True
    draft: DraftModel | None = None
    odds: AcceptanceStats = field(default_factory=AcceptanceStats)
    times: DecodeTimes = field(default_factory=DecodeTimes)
    exact: dict[KernelRegime, bool] = field(default_factory=dict)

    def sources(self, tokens: Sequence[int]) -> list[Drafter]:
        """What guesses a reply to a prompt of ``tokens``."""
        found: list[Drafter] = []
        if self.lookup:
            found.append(PromptLookupDrafter(PromptLookup(tokens, self.odds), self.odds))
        if self.draft is not None:
            from tchat.engine.speculative.draft_model import ModelDrafter

            found.append(ModelDrafter(self.draft, tokens))
        return found

    def close(self) -> None:
        """Free the draft model."""
        if self.draft is not None:
            self.draft.close()


class SpeculativeSteps:
    """The decodes of one reply.

    Args:
        speculation: What is known; None to guess nothing.
        kv: Holds the prompt.
        tokens: The prompt.
        greedy: Whether the reply must be the same as without guesses to the last bit.

    Attributes:
        row: Output of the last decode that the next token is drawn from; those of the guesses
            follow it.
        guessed: Tokens guessed so far.
        right: How many of them were right.
    """

    def __init__(
        self, speculation: Speculation | None, kv: KVCache, tokens: Sequence[int], *, greedy: bool
    ) -> None:
        self._known, self._kv, self._greedy = speculation, kv, greedy
        self._sources = speculation.sources(tokens) if speculation else []
        self._source: Drafter | None = None
        self._guesses: Sequence[int] = ()
        self._trial: ExactnessTrial | None = None
        self._spent = self._balance = self._last = 0.0
        self._most = FIRST
        self.row = -1
        self.guessed = self.right = 0

    def decode(self, token: int, left: int) -> Sequence[int] | None:
        """Decode the next token of the reply, and guesses of those that follow it.

        Args:
            token: What was drawn.
            left: Tokens that the reply may have behind it.

        Returns:
            The guesses, most often none; None when it was stopped.
        """
        known = self._known
        if known is None:
            return () if self._kv.step(token) else None
        for source in self._sources:
            source.append(token)
        began = time.perf_counter()
        self._guesses = guesses = self._chosen(known, left)
        started = time.perf_counter()
        self.row = 0 if guesses else -1
        if not (self._kv.verify([token, *guesses]) if guesses else self._kv.step(token)):
            return None
        ended = time.perf_counter()
        self._last = ended - began
        self._spent += self._last
        known.times.note(1 + len(guesses), ended - started)
        if self._trial is not None:
            self._trial.take(token)
            if self._trial.full and not self._settle(known, self._trial):
                return None
        return guesses

    def keep(self, right: int) -> None:
        """Keep only the first ``right`` guesses of the last decode in the cache."""
        guesses, self._guesses = self._guesses, ()
        if not guesses or self._known is None or self._source is None:
            return
        self._kv.truncate(len(self._kv.tokens) - len(guesses) + right)
        for source in self._sources:
            for token in guesses[:right]:
                source.append(token)
        all_right = right == len(guesses)
        self._most = min(2 * (1 + right), SIZES[-1]) if all_right else FIRST
        self._balance += (1 + right) * self._known.times.of(1) - self._last
        self.guessed, self.right = self.guessed + len(guesses), self.right + right
        self._source.judge(len(guesses), right)

    def _chosen(self, known: Speculation, left: int) -> Sequence[int]:
        """What is decoded along with the next token; nothing where it does not pay."""
        self._source = None
        lost = self._balance < -LOSS * self._spent
        if self._trial is not None or lost or not known.times.of(1):
            return ()
        if not any(source.has_draft for source in self._sources):
            return ()
        gain, size, source = max(self._offers(known, left), default=(0.0, 0, -1))
        if gain < GAIN or (self._greedy and not self._is_exact(known, size)):
            return ()
        self._source = self._sources[source]
        return self._source.guess(size - 1)

    def _offers(self, known: Speculation, left: int) -> Iterator[tuple[float, int, int]]:
        """Gain, size and source of each decode that may be done now."""
        held = len(self._kv.tokens)
        for size in COMPARED if self._greedy else SIZES:
            if size > self._most or size - 1 > left or held + size > known.context.size:
                return
            if self._greedy and crosses(held, size):
                return
            for place, source in enumerate(self._sources):
                yield source.gain(size, known.times), size, place

    def _is_exact(self, known: Speculation, size: int) -> bool:
        """Whether decodes of ``size`` give what single ones give; begins a trial where unknown."""
        exact = known.exact.get(kernel_regime(known.context, len(self._kv.tokens), size))
        if exact is None:
            self._trial = ExactnessTrial(known.context, self._kv, size)
        return bool(exact)

    def _settle(self, known: Speculation, trial: ExactnessTrial) -> bool:
        """End a trial; False when it was stopped."""
        self._trial = None
        key = kernel_regime(known.context, trial.held, trial.size)
        done = trial.settle()
        self.row = trial.row
        if trial.same is not None:
            known.exact[key] = trial.same
        return done
