"""One reply of a loaded engine: read, write, finish."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from tchat.engine.cancel import Cancel
from tchat.engine.choice import choose
from tchat.engine.context import Context
from tchat.engine.events import (
    Chosen,
    Event,
    Finished,
    Notice,
    Reading,
    Reason,
    Restored,
    Timings,
    Usage,
)
from tchat.engine.kv import KVCache
from tchat.engine.model import Model
from tchat.engine.prompt import Prompt
from tchat.engine.reasoning import Marks, Phase
from tchat.engine.reply import ReplyText
from tchat.engine.sampling import Sampler
from tchat.engine.template import ChatTemplate
from tchat.errors import DoesNotFit, UsageError
from tchat.settings import Sampling


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its context, ready to read and write.

    Args:
        model: The weights and the vocabulary.
        context: Where they decode.
        kv: What sequence 0 of the context holds.
        template: How a chat becomes a prompt.
    """

    model: Model
    context: Context
    kv: KVCache
    template: ChatTemplate


class Run:
    """One reply of a loaded engine."""

    def __init__(
        self,
        loaded: Loaded,
        prompt: Prompt,
        sampling: Sampling,
        seed: int,
        cancel: Cancel,
        *,
        restored: Restored | None = None,
    ) -> None:
        self._model, self._kv, self._context = loaded.model, loaded.kv, loaded.context
        self._sampling, self._seed, self._cancel = sampling, seed, cancel
        self._tokens = self._shortest(prompt.tokens)
        stops = (*sampling.stop, *prompt.stops)
        # A grammar describes the answer, from its first token on.
        marks = Marks(blocks=()) if sampling.grammar else loaded.template.marks
        phase = Phase.ANSWER if sampling.grammar else prompt.phase
        self._reply = ReplyText(marks, phase, stops)
        self._marks = marks.controls(self._model.special_strings())
        self._reused = self._written = self._reasoned = 0
        self._restored = restored
        self.reading = (0, 0.0)  # tokens that were read, and the seconds that took

    def events(self, load: float) -> Iterator[Event]:
        """Read the prompt, write the reply, finish."""
        self._refuse_unfit(0)
        started = time.perf_counter()
        # Made before the prompt is read, which may take a minute: a bad grammar is told at once.
        sampler = Sampler(self._model, self._sampling, seed=self._seed, prompt=self._tokens)
        try:
            done = yield from self._read()
            read = time.perf_counter() - started
            self.reading = (len(self._tokens) - self._reused if done else 0, read)
            reason = (yield from self._write(sampler)) if done else Reason.CANCELLED
        finally:
            sampler.close()
        yield from self._reply.close()
        write = time.perf_counter() - started - read
        yield self._finished(reason, self._reply.text, Timings(load, read, write))

    def choice(self, labels: Sequence[str], load: float) -> Iterator[Event]:
        """Read the prompt, weigh the labels, finish."""
        longest = max(len(self._model.tokenize(label, special=False)) for label in labels)
        self._refuse_unfit(longest)
        started = time.perf_counter()
        done = self._kv.reserve(len(self._tokens) + longest) and (yield from self._read())
        read = time.perf_counter() - started
        self.reading = (len(self._tokens) - self._reused if done else 0, read)
        weighed = choose(self._model, self._context, self._kv, labels) if done else None
        write = time.perf_counter() - started - read
        timings = Timings(load, read, write)
        if weighed is None:
            yield self._finished(Reason.CANCELLED, "", timings)
            return
        yield Chosen(weighed)
        yield self._finished(Reason.STOP, weighed[0][0], timings)

    def _shortest(self, prompt: list[int]) -> list[int]:
        """``prompt`` in the cache's own tokens, unless only its plain spelling fits."""
        spliced = self._kv.splice(prompt)
        return spliced if len(spliced) < self._context.size else prompt

    def _refuse_unfit(self, more: int) -> None:
        """Refuse an empty prompt, and one that leaves no room for ``more`` tokens and one."""
        count = len(self._tokens)
        if not count:
            raise UsageError("the prompt is empty, so there is nothing to go on from", "write one")
        if count + more >= self._context.size:
            raise too_long(count + more, self._context.size)

    def _read(self) -> Generator[Event, None, bool]:
        """Bring the prompt into the KV cache; returns False when it was stopped."""
        total = len(self._tokens)
        if not self._kv.reserve(total + 1):
            return False
        self._reused = self._kv.reuse(self._tokens)
        if self._kv.reread:
            text = (
                f"this model's cache cannot be cut back: {self._kv.reread:,} tokens are read again"
            )
            yield Notice("reread", text)
        yield Reading(self._reused, total, self._reused)
        for done in self._kv.read(self._tokens[self._reused :]):
            if not done or (self._cancel.is_set() and len(self._kv.tokens) < total):
                return False
            yield Reading(len(self._kv.tokens), total, self._reused)
        return True

    def _write(self, sampler: Sampler) -> Generator[Event, None, Reason]:
        """Sample and decode until the reply ends; returns why it did."""
        room = self._context.size - len(self._tokens)
        limit = room if self._sampling.max_tokens < 0 else min(room, self._sampling.max_tokens)
        while self._written < limit:
            token = sampler.sample(self._context)
            if self._model.ends_reply(token):
                return Reason.STOP
            self._written += 1
            self._reasoned += self._reply.in_reasoning
            yield from self._reply.feed(self._visible(token))
            if self._reply.stopped:
                return Reason.STOP
            if self._cancel.is_set():
                return Reason.CANCELLED
            if self._written < limit and not self._kv.step(token):
                return Reason.CANCELLED
        return Reason.LENGTH

    def _visible(self, token: int) -> bytes:
        """A token's text; control tokens have none, unless they mark reasoning."""
        piece = self._model.piece(token)
        if not self._model.is_control(token):
            return piece
        return piece if piece.decode("utf-8", "replace") in self._marks else b""

    def _finished(self, reason: Reason, text: str, timings: Timings) -> Finished:
        usage = Usage(
            prompt=len(self._tokens),
            reused=self._reused,
            read=len(self._tokens) - self._reused,
            completion=self._written,
            reasoning=self._reasoned,
            restored=min(self._restored.tokens, self._reused) if self._restored else 0,
        )
        if self._restored:
            timings = replace(timings, restore=self._restored.seconds)
        return Finished(reason, text, self._reply.reasoning, self._seed, usage, timings)


def nothing_written(seed: int = 0) -> Finished:
    """The end of a reply that was stopped before it began."""
    return Finished(Reason.CANCELLED, "", "", seed, Usage(0, 0, 0, 0), Timings(0.0, 0.0, 0.0))


def too_long(tokens: int, size: int, *, about: bool = False) -> DoesNotFit:
    """The refusal of a prompt of ``tokens`` tokens by a context of ``size``, with both numbers."""
    count = f"about {tokens:,}" if about else f"{tokens:,}"
    return DoesNotFit(
        f"the prompt has {count} tokens and the context holds {size:,}, reply included",
        "shorten it, or ask for a larger context with --ctx-size",
    )
