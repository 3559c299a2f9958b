"""Replies to several prompts, written side by side in the slots of one context."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tchat.engine.cancel import Cancel
from tchat.engine.encoder import too_long
from tchat.engine.events import Candidate, Finished, Reason, Timings, Usage
from tchat.engine.kv import common_prefix
from tchat.engine.loaded import Loaded
from tchat.engine.prompt import Prompt
from tchat.engine.slots import Slots
from tchat.engine.writing import Writing
from tchat.errors import UsageError
from tchat.settings import Sampling

SLOTS = 8  # replies at a time: more gain little on a CPU, and each takes room in the KV cache
ROOM = 128  # tokens of a reply that a slot waits for


@dataclass(frozen=True, slots=True)
class _Reply:
    """One reply, as a job of `Slots`."""

    index: int
    tokens: Sequence[int]
    writing: Writing

    @property
    def room(self) -> int:
        return len(self.tokens) + ROOM


class Batch:
    """One reply to each of several prompts. What they begin with in common is read once.

    Args:
        loaded: The model.
        prompts: What is answered.
        sampling: How tokens are drawn.
        seeds: One for each prompt.
        cancel: Stops all of them.
        slots: Replies written at a time.
    """

    def __init__(
        self,
        loaded: Loaded,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        cancel: Cancel,
        *,
        slots: int = SLOTS,
    ) -> None:
        self._loaded, self._sampling, self._cancel = loaded, sampling, cancel
        self._waiting = list(enumerate(zip(prompts, seeds, strict=True)))
        self._tokens = [prompt.tokens for prompt in prompts]
        self._count = min(slots, len(prompts), loaded.context.batch_size)
        self._next: _Reply | None = None
        self._started = 0.0

    def events(self) -> Iterator[Candidate]:
        """The pieces of each reply as they come, and its `Finished` at its end.

        When the cancel flag is set it ends early, and the rest has no `Finished`.

        Raises:
            DoesNotFit, UsageError: A prompt leaves no room for a reply, or is empty.
            UsageError: The sampling cannot be carried out.
        """
        self._refuse_unfit()
        slots = self._slots() if self._waiting else None
        if slots is None:
            return
        self._started = time.perf_counter()
        try:
            while not self._cancel.is_set():
                self._fill(slots)
                if not slots.busy:
                    return
                yield from self._written(slots)
        except InterruptedError:
            return
        finally:
            for reply in (*slots.jobs, *([self._next] if self._next else ())):
                reply.writing.close()
            slots.close()

    def _refuse_unfit(self) -> None:
        size = self._loaded.context.size
        for tokens in self._tokens:
            if not tokens:
                raise UsageError("the prompt is empty, so there is nothing to answer", "write one")
            if len(tokens) >= size:
                raise too_long(len(tokens), size)

    def _slots(self) -> Slots[_Reply] | None:
        """Slots behind what all prompts have in common, which is read; None when it was stopped."""
        kv = self._loaded.kv
        first, last = min(self._tokens), max(self._tokens)
        head = first[: min(common_prefix(first, last), *(len(each) - 1 for each in self._tokens))]
        kv.drop_branches()
        kept = kv.reuse([*head, -1])
        room = len(head) + self._count * ROOM
        if not kv.reserve(min(room, self._loaded.context.size)) or not all(kv.read(head[kept:])):
            return None
        try:
            return Slots(self._loaded, self._count)
        except InterruptedError:
            return None

    def _fill(self, slots: Slots[_Reply]) -> None:
        """Give free slots to replies that wait."""
        while self._next or self._waiting:
            if self._next is None:
                index, (prompt, seed) = self._waiting.pop(0)
                tokens = prompt.tokens
                writing = Writing(self._loaded, prompt, tokens, self._sampling, seed)
                self._next = _Reply(index, tokens, writing)
            if not slots.takes(self._next):
                return
            slots.start(self._next)
            self._next = None

    def _written(self, slots: Slots[_Reply]) -> Iterator[Candidate]:
        """What one step brings."""
        for reply, piece in slots.step():
            yield Candidate(reply.index, piece or self._finished(reply))

    def _finished(self, reply: _Reply) -> Finished:
        writing = reply.writing
        writing.close()
        read = len(reply.tokens)
        return Finished(
            writing.reason or Reason.CANCELLED,
            writing.text,
            writing.reasoning,
            writing.seed,
            Usage(read, 0, read, writing.written, writing.reasoned),
            Timings(0.0, 0.0, time.perf_counter() - self._started),
        )
