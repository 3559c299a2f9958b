"""Speculative decoding: drafted tokens are verified in one decode, where that pays.

A decode of eight tokens takes much less than eight decodes of one. So drafted tokens are decoded
along with the next token, each token is drawn from its own logits as always, and what does not
agree with the draw is cut off again. Sampling, penalties, grammars and stop strings see the same
tokens in the same order, so a reply has the same distribution as without drafts.

Whether it pays is measured: the time of decodes by size, and the acceptance rate. Rejected drafts
may never cost more than a small share of the time.

Greedy replies must be the same to the letter. llama.cpp's kernels for one token and for several may
round differently, which changes near ties: with flash attention, for example, from 256 cached
tokens on with more than one thread. So a trial compares the logits of both bit by bit first; where
they differ, nothing is drafted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tchat.engine.context import Context
from tchat.engine.drafters import AcceptanceStats, DecodeTimes, Drafter, DraftModel, PromptLookup
from tchat.engine.kv_cache import KVCache

if TYPE_CHECKING:
    import numpy

    Row = numpy.ndarray[Any, numpy.dtype[numpy.float32]]

COMPARED_TOKENS = 3  # tokens
KV_PADDING = 256  # llama.cpp pads the cache to multiples of this, and chooses kernels by its length

KernelRegime: TypeAlias = tuple[int, int, int, int]  # all that the choice of kernels depends on


def kernel_regime(context: Context, cached: int, size: int) -> KernelRegime:
    """What decides which kernels decode ``size`` tokens behind ``cached`` ones."""
    return size, _kv_range(cached), context.threads(1), context.threads(size)


def crosses(cached: int, size: int) -> bool:
    """Whether a decode of ``size`` tokens behind ``cached`` ones is of two regimes."""
    return _kv_range(cached) != _kv_range(cached + size - 1)


class ExactnessTrial:
    """Tokens of a reply that are decoded singly, and then once more in one decode of ``size``.

    Attributes:
        cached_tokens: Tokens in the cache before.
        exact: Whether both were equal; None when that is not known.
        row: Output row of the last decode that the reply continues from.
    """

    def __init__(self, context: Context, kv: KVCache, size: int) -> None:
        self._context, self._kv, self.size = context, kv, size
        self._tokens: list[int] = []
        self._rows: list[Row] = []
        self.cached_tokens = len(kv.tokens)
        self.exact: bool | None = None
        self.row = -1

    @property
    def full(self) -> bool:
        """Whether there are enough tokens to compare."""
        return len(self._tokens) == COMPARED_TOKENS

    def add_token(self, token: int) -> None:
        """Add a token that was just decoded singly."""
        self._tokens.append(token)
        self._rows.append(self._context.logits_array().copy())

    def run(self) -> bool:
        """Decode them all at once and compare; False when it was stopped.

        Afterwards the cache is as after the single decodes, to the last bit.
        """
        if crosses(self.cached_tokens, self.size):
            return True
        filled = [*self._tokens, *[self._tokens[0]] * (self.size - COMPARED_TOKENS)]
        self._kv.truncate(self.cached_tokens)
        if not self._kv.verify(filled):
            return False
        rows = enumerate(self._rows)
        self.exact = all((self._context.logits_array(index) == row).all() for index, row in rows)
        if self.exact:
            self._kv.truncate(self.cached_tokens + COMPARED_TOKENS)
            self.row = COMPARED_TOKENS - 1
            return True
        self._kv.truncate(self.cached_tokens)
        return all(map(self._kv.step, self._tokens))


def _kv_range(cached: int) -> int:
    return (cached // KV_PADDING).bit_length()


DRAFT_SIZES = (4, 8, 16, 32)  # tokens of a decode with a draft
FIRST_SIZE = 8  # the largest at first; doubled when all of the last draft was accepted
GREEDY_SIZES = (8,)  # for greedy replies: each costs a trial
MIN_GAIN = 1.15  # speed-up that a decode must promise
MAX_LOSS = 0.02  # share of a reply's time that rejected drafts may have cost


@dataclass(slots=True)
class Speculation:
    """What is known about drafts for one model, over all of its replies.

    ``lookup`` says whether to draft by prompt lookup; ``draft_model`` drafts too, and is closed
    with it.
    """

    context: Context
    kv: KVCache
    lookup: bool = True
    draft_model: DraftModel | None = None
    stats: AcceptanceStats = field(default_factory=AcceptanceStats)
    times: DecodeTimes = field(default_factory=DecodeTimes)
    exact: dict[KernelRegime, bool] = field(default_factory=dict)

    def drafters(self, tokens: Sequence[int]) -> list[Drafter]:
        """The drafters of a reply to a prompt of ``tokens``."""
        found: list[Drafter] = []
        if self.lookup:
            found.append(PromptLookup(tokens, self.stats))
        if self.draft_model is not None:
            self.draft_model.begin(tokens)
            found.append(self.draft_model)
        return found

    def close(self) -> None:
        """Free the draft model."""
        if self.draft_model is not None:
            self.draft_model.close()


class SpeculativeSteps:
    """The decodes of one reply.

    Args:
        speculation: What is known; None to draft nothing.
        kv: Holds the prompt.
        tokens: The prompt.
        greedy: Whether the reply must be exactly the same as without drafts.

    Attributes:
        row: Output row of the last decode that the next token is drawn from; those of the draft
            follow it.
        drafted: Tokens drafted so far.
        accepted: How many of them were accepted.
    """

    def __init__(
        self, speculation: Speculation | None, kv: KVCache, tokens: Sequence[int], *, greedy: bool
    ) -> None:
        self._speculation, self._kv, self._greedy = speculation, kv, greedy
        self._drafters = speculation.drafters(tokens) if speculation else []
        self._drafter: Drafter | None = None
        self._draft: Sequence[int] = ()
        self._trial: ExactnessTrial | None = None
        self._spent = self._balance = self._last = 0.0
        self._largest = FIRST_SIZE
        self.row = -1
        self.drafted = self.accepted = 0

    def decode(self, token: int, left: int) -> Sequence[int] | None:
        """Decode the next token of the reply along with a draft of what follows.

        Returns the draft, most often empty, or None when it was stopped. ``token`` is the one drawn
        last; the reply may have ``left`` tokens behind it.
        """
        known = self._speculation
        if known is None:
            return () if self._kv.step(token) else None
        for drafter in self._drafters:
            drafter.append(token)
        began = started = time.perf_counter()
        self._draft = draft = self._choose_draft(known, left)
        if draft:
            started = time.perf_counter()
        self.row = 0 if draft else -1
        if not (self._kv.verify([token, *draft]) if draft else self._kv.step(token)):
            return None
        ended = time.perf_counter()
        self._last = ended - began
        self._spent += self._last
        known.times.record(1 + len(draft), ended - started)
        if self._trial is not None:
            self._trial.add_token(token)
            if self._trial.full and not self._end_trial(known, self._trial):
                return None
        return draft

    def accept(self, count: int) -> None:
        """Keep the first ``count`` tokens of the last draft in the cache; reject the others."""
        draft, self._draft = self._draft, ()
        if not draft or self._speculation is None or self._drafter is None:
            return
        self._kv.truncate(len(self._kv.tokens) - len(draft) + count)
        for drafter in self._drafters:
            for token in draft[:count]:
                drafter.append(token)
        self._largest = min(2 * (1 + count), DRAFT_SIZES[-1]) if count == len(draft) else FIRST_SIZE
        self._balance += (1 + count) * self._speculation.times.of(1) - self._last
        self.drafted, self.accepted = self.drafted + len(draft), self.accepted + count
        self._drafter.record(len(draft), count)

    def _choose_draft(self, known: Speculation, left: int) -> Sequence[int]:
        """What is decoded along with the next token; nothing where it does not pay."""
        for drafter in self._drafters:
            if drafter.has_draft:
                break
        else:  # most often
            return ()
        lost = self._balance < -MAX_LOSS * self._spent
        if self._trial is not None or lost or not known.times.of(1):
            return ()
        gain, size, number = max(self._offers(known, left), default=(0.0, 0, -1))
        if gain < MIN_GAIN or (self._greedy and not self._is_exact(known, size)):
            return ()
        self._drafter = self._drafters[number]
        return self._drafter.draft(size - 1)

    def _offers(self, known: Speculation, left: int) -> Iterator[tuple[float, int, int]]:
        """Gain, size and drafter of each decode that is possible now."""
        cached = len(self._kv.tokens)
        for size in GREEDY_SIZES if self._greedy else DRAFT_SIZES:
            if size > self._largest or size - 1 > left or cached + size > known.context.size:
                return
            if self._greedy and crosses(cached, size):
                return
            for number, drafter in enumerate(self._drafters):
                yield drafter.gain(size, known.times), size, number

    def _is_exact(self, known: Speculation, size: int) -> bool:
        """Whether decodes of ``size`` equal single ones; starts a trial where unknown."""
        exact = known.exact.get(kernel_regime(known.context, len(self._kv.tokens), size))
        if exact is None:
            self._trial = ExactnessTrial(known.context, self._kv, size)
        return bool(exact)

    def _end_trial(self, known: Speculation, trial: ExactnessTrial) -> bool:
        """End a trial; False when it was stopped."""
        self._trial = None
        key = kernel_regime(known.context, trial.cached_tokens, trial.size)
        done = trial.run()
        self.row = trial.row
        if trial.exact is not None:
            known.exact[key] = trial.exact
        return done
