"""The context window: which turns go into the prompt, and why the others do not.

Where they are too many, old results of tools are shortened first, then the oldest turns leave.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt
from tchat.errors import DoesNotFit

Turn: TypeAlias = Sequence[ChatMessage]
Excerpts: TypeAlias = tuple[tuple[ChatMessage, ChatMessage], ...]
Encode = Callable[[Sequence[ChatMessage]], EncodedPrompt]
Count = Callable[[ChatMessage], int]

REPLY_SHARE = 4  # one part in so many of the context stays free for the reply
REPLY_MOST = 1024  # the most tokens that stay free for it
REFILL = 0.75  # share of the limit to which turns are dropped, so that it happens rarely
MARGIN = 1.25  # how far beyond the limit an estimate looks for turns that do not fit
SLACK = 16  # tokens that the marks around a new turn, and its seams, may be more or fewer
CHARACTERS = 8  # for each token of the limit, up to which a prompt is encoded without an estimate
GUESSES = 6  # by estimate, before the place of the first turn is bisected
EXCERPTS = 4  # tries to find how much of the new results fits
LEAST_EXCERPT = 48  # tokens of a result that are worth showing
RECENT = 0.5  # share of the limit, from the end, in which results of tools stay whole


class Cut(NamedTuple):
    """Where whole results of tools begin: behind the first ``results`` of a turn.

    Those before it are shortened, except in pinned turns.
    """

    turn: int = 0
    results: int = 0


ALL_WHOLE = Cut()


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The messages of one prompt, and the prompt; None where they are too many to encode.

    ``first`` is the turn that the window begins with; of those before it only pinned ones are in.
    ``shortened`` names the tools of the results before ``cut`` that are shortened in the window,
    ``excerpts`` are new results of which only the beginning and the end are in it, each with what
    stands for it.
    """

    messages: tuple[ChatMessage, ...]
    first: int
    left_out: tuple[int, ...]
    prompt: EncodedPrompt | None
    cut: Cut = ALL_WHOLE
    shortened: tuple[str, ...] = ()
    excerpts: Excerpts = ()


def reply_reserve(context: int, max_tokens: int) -> int:
    """Tokens to keep free for the reply in a context of ``context`` tokens; at least one."""
    share = min(REPLY_MOST, context // REPLY_SHARE)
    return max(1, min(max_tokens, context // 2)) if max_tokens >= 0 else share


class WindowFitter:
    """Shorten old results of tools, then drop the oldest turns, until a prompt fits.

    Results shrink oldest first; those in the last half of the window stay whole as long as there
    are turns that can leave. Of the results that the model has not seen yet, the middle is left out
    where they are too long for the window by themselves.

    Args:
        system, turns, limit, count, first, pinned: As `TurnDropper` has them.
        cut: Where the whole results of the last window began; those before it stay short.
        excerpts: Results of which earlier windows held only the ends; they stay so.
    """

    def __init__(
        self,
        system: Sequence[ChatMessage],
        turns: Sequence[Turn],
        *,
        limit: int,
        count: Count,
        first: int = 0,
        pinned: Collection[int] = (),
        cut: Cut = ALL_WHOLE,
        excerpts: Excerpts = (),
    ) -> None:
        self._excerpts = dict(excerpts)
        turns = [*map(self._as_before, turns)] if excerpts else turns
        self._system, self._turns, self._pinned = system, turns, frozenset(pinned)
        self._limit, self._count, self._cut = limit, count, cut
        self._first = min(first, len(turns))
        self._has_results = any(map(_results_of, turns))
        self._dropper: tuple[Cut, TurnDropper] | None = None

    def fit(self, new: Turn, encode: Encode) -> ContextWindow:
        """Fit the prompt that ends with the turn ``new``.

        Raises:
            InterruptedError: From ``encode``.
        """
        if not self._has_results and not _results_of(new):
            return self._dropper_for(ALL_WHOLE).fit(new, encode)
        encode = _encoding_once(encode)
        new = whole = self._as_before(new)
        cut = self._cut
        size = self._size(cut, new, encode)
        if size > self._limit:
            new = self._within(new, self._limit * RECENT)
            size = size if new is whole else self._size(cut, new, encode)
        if size > self._limit:
            cut = self._advanced(cut, size, new, self._end_of_old(new))
        window = replace(self._fit(cut, new, encode), excerpts=_changed(whole, new))
        size = math.inf if window.prompt is None else len(window.prompt.tokens)
        if size > self._limit:  # no turn is left that could leave
            last = self._advanced(cut, size, new, Cut(len(self._turns) + 1))
            if last != cut:
                window = replace(self._fit(last, new, encode), excerpts=window.excerpts)
            window = self._excerpted(window, whole, encode)
        return window

    def _as_before(self, turn: Turn) -> Turn:
        """A turn with the excerpts of earlier windows."""
        if not self._excerpts or not _results_of(turn):
            return turn
        return [self._excerpts.get(message, message) for message in turn]

    def _within(self, new: Turn, tokens: float) -> Turn:
        """A turn whose unseen results have at most so many tokens; itself where they do."""
        from tchat.chat.tool_messages import excerpted

        seen = len(new) - _count_unseen(new)
        results = _results_of(new[seen:])
        if sum(map(self._count, results)) <= tokens:
            return new
        pieces = iter(excerpted(results, int(tokens), self._count))
        return (*new[:seen], *(next(pieces) if m.role == "tool" else m for m in new[seen:]))

    def _excerpted(self, window: ContextWindow, new: Turn, encode: Encode) -> ContextWindow:
        """The window with as much of the new results as fits; as it is where that is next to none.

        What the template writes around them is known only by encoding, so it may take several.
        """
        size = math.inf if window.prompt is None else len(window.prompt.tokens)
        unseen = _count_unseen(new)
        results = _results_of(new[len(new) - unseen :])
        if size <= self._limit or not results:
            return window
        before = window.messages[: len(window.messages) - unseen]
        others = sum(map(self._count, (*before, *new[len(new) - unseen :])))
        others -= sum(map(self._count, results))
        room = float(self._limit - others)
        for _ in range(EXCERPTS):
            if room < LEAST_EXCERPT * len(results):
                break
            made = self._within(new, room)
            messages = (*before, *made[len(new) - unseen :])
            try:
                prompt = encode(messages)
            except DoesNotFit:
                room /= 2
                continue
            if len(prompt.tokens) <= self._limit:
                excerpts = _changed(new, made)
                return replace(window, messages=messages, prompt=prompt, excerpts=excerpts)
            wanted = max(0, self._limit - others - SLACK)
            room *= wanted / max(1, len(prompt.tokens) - others)
        return window

    def _fit(self, cut: Cut, new: Turn, encode: Encode) -> ContextWindow:
        own = self._short(len(self._turns), new, cut)
        window = self._dropper_for(cut).fit(own, encode)
        if cut == ALL_WHOLE:
            return window
        stubs = tuple(
            message.tool_name
            for turn, messages in enumerate((*self._turns, new))
            if turn >= window.first
            for message, short in zip(messages, self._short(turn, messages, cut), strict=True)
            if short is not message
        )
        return replace(window, cut=cut, shortened=stubs)

    def _dropper_for(self, cut: Cut) -> TurnDropper:
        if self._dropper is None or self._dropper[0] != cut:
            turns = [self._short(n, turn, cut) for n, turn in enumerate(self._turns)]
            dropper = TurnDropper(
                self._system,
                turns,
                limit=self._limit,
                count=self._count,
                first=self._first,
                pinned=self._pinned,
            )
            self._dropper = cut, dropper
        return self._dropper[1]

    def _size(self, cut: Cut, new: Turn, encode: Encode) -> float:
        """Tokens with all turns; infinite where they are clearly too many."""
        own = self._short(len(self._turns), new, cut)
        messages = self._dropper_for(cut).messages(self._first, own)
        if sum(len(each.content) for each in messages) > self._limit * CHARACTERS:
            return math.inf
        try:
            return len(encode(messages).tokens)
        except DoesNotFit:
            return math.inf

    def _short(self, place: int, turn: Turn, cut: Cut) -> Turn:
        """A turn with the results before ``cut`` shortened."""
        if place > cut.turn or place in self._pinned or not _results_of(turn):
            return turn
        from tchat.chat.tool_messages import shortened

        left = len(turn) if place < cut.turn else cut.results
        made = []
        for message in turn:
            is_before = message.role == "tool" and left > 0
            left -= message.role == "tool"
            made.append(shortened(message, self._count) if is_before else message)
        return made

    def _advanced(self, cut: Cut, size: float, new: Turn, end: Cut) -> Cut:
        """The next ``cut``, up to ``end``, by which a prompt of ``size`` tokens meets the goal."""
        from tchat.chat.tool_messages import shortened

        excess = size - self._limit * REFILL
        for place, message in self._results(new):
            if place <= cut:
                continue
            if place > end or excess <= 0:
                break
            cut = place
            excess -= self._count(message) - self._count(shortened(message, self._count))
        return cut

    def _results(self, new: Turn) -> Iterator[tuple[Cut, ChatMessage]]:
        """The results that may be shortened, the oldest first, each with the cut behind it."""
        own = new[: len(new) - _count_unseen(new)]
        for turn, messages in enumerate((*self._turns, own)):
            if turn >= self._first and turn not in self._pinned:
                results = (each for each in messages if each.role == "tool")
                yield from ((Cut(turn, n), each) for n, each in enumerate(results, 1))

    def _end_of_old(self, new: Turn) -> Cut:
        """The cut behind the last result that is old."""
        recent = 0
        for turn, messages in reversed([*enumerate((*self._turns, new))]):
            results = len(_results_of(messages))
            for message in reversed(messages):
                recent += self._count(message)
                if recent > self._limit * RECENT:
                    return Cut(turn, results)
                results -= message.role == "tool"
        return ALL_WHOLE


def _count_unseen(turn: Turn) -> int:
    """How many messages at the end of a turn the model has not replied to; all without a reply.

    The beginning of a reply, which may stand at the end, is none.
    """
    unseen = 0
    for message in reversed(turn):
        if message.role == "assistant" and (unseen or message.tool_calls):
            break
        unseen += 1
    return unseen


def _changed(whole: Turn, new: Turn) -> Excerpts:
    """The messages that are not the same in two versions of a turn, in both."""
    if new is whole:
        return ()
    pairs = zip(whole, new, strict=True)
    return tuple((before, now) for before, now in pairs if before is not now)


def _results_of(turn: Turn) -> list[ChatMessage]:
    return [message for message in turn if message.role == "tool"]


def _encoding_once(encode: Encode) -> Encode:
    """Encode each prompt once; the last two are remembered."""
    known: list[tuple[Sequence[ChatMessage], EncodedPrompt]] = []

    def encode_once(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        for others, prompt in known:
            if others == messages:
                return prompt
        known[:] = [*known[-1:], (messages, encode(messages))]
        return known[-1][1]

    return encode_once


class TurnDropper:
    """Drop the oldest turns until a prompt fits; for several prompts after the same turns.

    The system message, the pinned turns and the new one always stay, even where they do not fit:
    the engine refuses them with the numbers. Once turns must leave, a quarter of the limit is freed
    at once: each time they do, the KV cache is read again from there.

    The exact size of encoded prompts decides. The token counts of single messages only tell where
    to look, so that no prompt much longer than the limit is encoded.

    Args:
        system: The system message, or nothing.
        turns: Each a question with its reply, before the new one.
        limit: Tokens that a prompt may have.
        count: Estimates the tokens of a message.
        first: The turn that the last window began with; those before it stay out.
        pinned: Indexes of turns that stay.
    """

    def __init__(
        self,
        system: Sequence[ChatMessage],
        turns: Sequence[Turn],
        *,
        limit: int,
        count: Count,
        first: int = 0,
        pinned: Collection[int] = (),
    ) -> None:
        self._system, self._turns, self._pinned = system, turns, sorted(pinned)
        self._limit, self._goal = limit, limit * REFILL
        self._count = count
        self._first = min(first, len(turns))
        self._tail: tuple[int, ...] = (0,)  # about how many tokens the last so many turns have
        self._rest: dict[
            int, float
        ] = {}  # sizes of prompts without their new turns, by their first

    def fit(self, new: Turn, encode: Encode) -> ContextWindow:
        """Fit the prompt that ends with the turn ``new``.

        The second takes one encoding, unless more turns have to leave for it than for the first.

        Raises:
            InterruptedError: From ``encode``.
        """
        known = self._rest
        own = sum(map(self._count, new)) if known else 0
        sizes = _Sizes(new, self, encode, {n: own + rest - SLACK for n, rest in known.items()})
        first = self._place(sizes)
        if sizes.guessed and not self._is_as_before(first, sizes, own):
            known = {}  # the template makes more of a new turn than its text
            sizes = _Sizes(new, self, encode, {})
            first = self._place(sizes)
        prompt = sizes.prompt(first)
        if first > self._first:
            own = own or sum(map(self._count, new))
            known = known | {n: size - own for n, size in sizes.found.items()}
        self._rest = known
        left_out = tuple(n for n in range(first) if n not in self._pinned)
        return ContextWindow(self.messages(first, new), first, left_out, prompt)

    def _is_as_before(self, first: int, sizes: _Sizes, own: int) -> bool:
        """Whether a prompt differs from an earlier one only by its new turn."""
        rest = self._rest.get(first, math.inf)
        return abs(sizes.found.get(first, math.inf) - own - rest) <= SLACK

    def messages(self, first: int, new: Turn) -> tuple[ChatMessage, ...]:
        """The messages of the window that begins with turn ``first``."""
        pinned = (self._turns[n] for n in self._pinned if n < first)
        turns = (*pinned, *self._turns[first:], new)
        return (*self._system, *(message for turn in turns for message in turn))

    def _place(self, sizes: _Sizes) -> int:
        """Find the first turn of the window."""
        first, last = self._first, len(self._turns)
        reach = self._limit * MARGIN
        while True:
            # A prompt only gets shorter with each turn that leaves: what does not fit without
            # the oldest turns does not fit with them.
            start = max(first, self._start_of(reach)) if self._is_long else first
            if sizes.exceeds(start, self._limit):
                return self._refilled(start, last, sizes)
            if start == first:
                return first
            reach *= 2

    @cached_property
    def _is_long(self) -> bool:
        """Whether the turns are clearly too long, so that encoding all of them is a waste."""
        turns = self._turns[self._first :]
        length = sum(len(message.content) for turn in turns for message in turn)
        return length > self._limit * CHARACTERS

    def _refilled(self, low: int, high: int, sizes: _Sizes) -> int:
        """The first turn in (``low``, ``high``] whose window meets the goal; else ``high``."""
        target, guesses = self._goal, 0
        while high - low > 1:
            start = self._start_of(target) if guesses < GUESSES else (low + high) // 2
            start = min(max(start, low + 1), high - 1)
            if sizes.exceeds(start, self._goal):
                low = start
            else:
                high = start
            guesses += 1
            # The estimate is as wrong elsewhere as it was here.
            if 0 < (known := sizes.known(start)) < math.inf:
                target = self._estimate(start) * self._goal / known
            else:
                guesses = GUESSES
        return high

    def _start_of(self, tokens: float) -> int:
        """The first turn of the longest tail with at most ``tokens`` tokens, by estimate."""
        tail = self._tail
        if tail[-1] <= tokens and len(tail) <= len(self._turns):
            tail = self._tail = (*tail, *self._longer(tail, tokens))
        return len(self._turns) - max(0, bisect_right(tail, tokens) - 1)

    def _longer(self, tail: Sequence[int], tokens: float) -> Iterator[int]:
        total = tail[-1]
        for turn in reversed(self._turns[: len(self._turns) - len(tail) + 1]):
            if total > tokens:
                return
            total += sum(map(self._count, turn))
            yield total

    def _estimate(self, first: int) -> int:
        return self._tail[min(len(self._turns) - first, len(self._tail) - 1)]


class _Sizes:
    """Sizes of the prompts with one new turn, by the first turn of their window.

    Attributes:
        guessed: Whether a prompt was judged too long by estimate, without encoding it.
    """

    def __init__(
        self, new: Turn, fitter: TurnDropper, encode: Encode, least: Mapping[int, float]
    ) -> None:
        self._new, self._fitter, self._encode = new, fitter, encode
        self._least = least
        self._prompts: dict[int, EncodedPrompt | None] = {}
        self.guessed = False

    def exceeds(self, first: int, limit: float) -> bool:
        """Whether the prompt has more than ``limit`` tokens."""
        if first not in self._prompts and self._least.get(first, 0) > limit:
            self.guessed = True
            return True
        return self._size(first) > limit

    def known(self, first: int) -> float:
        """The size of a prompt, or a lower bound of it."""
        return self._size(first) if first in self._prompts else self._least[first]

    def prompt(self, first: int) -> EncodedPrompt | None:
        """The prompt; None where it is too long to be encoded."""
        if first not in self._prompts:
            try:
                self._prompts[first] = self._encode(self._fitter.messages(first, self._new))
            except DoesNotFit:
                self._prompts[first] = None
        return self._prompts[first]

    @property
    def found(self) -> dict[int, float]:
        """The sizes of the prompts that were encoded."""
        return {n: len(each.tokens) for n, each in self._prompts.items() if each is not None}

    def _size(self, first: int) -> float:
        prompt = self.prompt(first)
        return math.inf if prompt is None else len(prompt.tokens)
