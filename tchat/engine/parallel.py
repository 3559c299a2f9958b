"""Several replies decoded in one batch: each in a sequence of its own, behind a shared head.

The head, which sequence 0 holds, is read once: the cells of the KV cache that hold it belong to
every sequence (``llama_memory_seq_cp``). A slot whose job ended is given to the next job at once;
that one's prompt is read in the same batches in which the others go on writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tchat.engine.context import FIRST_PARALLEL, BatchToken
from tchat.engine.events import Reason
from tchat.engine.jobs import Job, Piece
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel

J = TypeVar("J", bound=Job)


@dataclass(slots=True)
class _Sequence(Generic[J]):
    """A slot with its job.

    Args:
        job: What is decoded in it.
        sequence: Where.
        shared: Tokens of the head that its prompt begins with.
        pending: Tokens to decode.
        outputs: Of how many of these, the last ones, the outputs are wanted.
        tokens: Tokens in the cache behind those shared.
        rows: Of the last batch, the places of the outputs that are its own.
    """

    job: J
    sequence: int
    shared: int
    pending: list[int]
    outputs: int = 1
    tokens: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @property
    def cached_tokens(self) -> int:
        """Tokens in its sequence."""
        return self.shared + len(self.tokens)


class SequencePool(Generic[J]):
    """``count`` slots over the head that sequence 0 holds. Close them.

    Args:
        loaded: The model; its KV cache holds the head.
        count: Replies written at a time, no more than the tokens of a batch.
        keep: Leave the sequences of jobs that ended in the cache, as `KVCache.branches`; their
            slots are not used again.

    Raises:
        DoesNotFit: There is not enough memory for the sequences.
        InterruptedError: The cancel flag was set.
    """

    def __init__(self, loaded: LoadedModel, count: int, *, keep: bool = False) -> None:
        self._context, self._kv, self._keep = loaded.context, loaded.kv, keep
        if not self._kv.set_parallel(count):
            raise InterruptedError
        self._head = len(self._kv.tokens)
        self._used = self._head  # cells of the cache
        self._free = [FIRST_PARALLEL + number for number in range(count)]
        self._busy: list[_Sequence[J]] = []

    @property
    def busy(self) -> int:
        """Jobs in the making."""
        return len(self._busy)

    def takes(self, job: J) -> bool:
        """Whether there is a slot for ``job``, and room in the KV cache for what it asks for.

        A job alone is taken even when it asks for more room than there is.
        """
        if not self._busy:
            return bool(self._free)
        asked = [max(each.job.room - each.shared, len(each.tokens) + 1) for each in self._busy]
        asked.append(job.room - self._shared(job))
        return bool(self._free) and self._head + sum(asked) <= self._context.size

    def start(self, job: J) -> None:
        """Give a free slot to ``job``."""
        sequence, shared = self._free.pop(0), self._shared(job)
        if shared:
            self._context.copy(0, sequence)
        if 0 < shared < self._head and not self._context.trim(shared, sequence):
            self._context.forget(sequence)
            shared = 0
        self._busy.append(_Sequence(job, sequence, shared, list(job.tokens[shared:])))

    def _shared(self, job: J) -> int:
        """Tokens that the prompt of ``job`` has in common with the head; one at least is left."""
        return min(common_prefix(self._kv.tokens, job.tokens), len(job.tokens) - 1)

    def step(self) -> Iterator[tuple[J, Piece | None]]:
        """Decode one batch; yields the text that it brings, and None for each job that ended.

        Raises:
            InterruptedError: The cancel flag was set.
        """
        self._end_the_longest()
        yield from self._release()
        if not self._busy:
            return
        self._decode()
        for busy in self._busy:
            if busy.rows:
                for piece in busy.job.take(self._context, busy.rows):
                    yield busy.job, piece
                if not busy.pending and not busy.job.ended:
                    self._go_on(busy)
        yield from self._release()

    def _go_on(self, busy: _Sequence[J]) -> None:
        """Let ``busy`` decode what its job wants next."""
        wanted = busy.job.wanted()
        busy.pending = list(wanted.tokens)
        busy.outputs = len(wanted.tokens) if wanted.every else 1
        if wanted.anew:
            self._cut_to_prompt(busy)

    def _cut_to_prompt(self, busy: _Sequence[J]) -> None:
        keep = len(busy.job.tokens) - busy.shared
        dropped = busy.tokens[keep:]
        if dropped and not self._context.trim(busy.shared + keep, busy.sequence):
            self._context.forget(busy.sequence)
            busy.pending[:0] = busy.job.tokens
            dropped, busy.shared, keep = busy.tokens, 0, 0
        self._used -= len(dropped)
        del busy.tokens[keep:]

    def stop(self) -> Iterator[tuple[J, Piece | None]]:
        """Stop every job; yields as `step` does."""
        for busy in self._busy:
            busy.job.stop(Reason.CANCELLED)
        yield from self._release()

    def close(self) -> None:
        """Give back what the sequences of unfinished jobs hold."""
        for busy in self._busy:
            self._context.forget(busy.sequence)
        self._busy.clear()

    def _release(self) -> Iterator[tuple[J, Piece | None]]:
        """Take the jobs that have ended out of their slots."""
        ended = [busy for busy in self._busy if busy.job.ended]
        self._busy = [busy for busy in self._busy if not busy.job.ended]
        for busy in ended:
            if self._keep:
                self._kv.branches[busy.sequence] = busy.tokens
            else:
                self._context.forget(busy.sequence)
                self._used -= len(busy.tokens)
                self._free.append(busy.sequence)
        for busy in ended:
            for piece in busy.job.end():
                yield busy.job, piece
            yield busy.job, None

    def _end_the_longest(self) -> None:
        """Where the KV cache has no cell left for each slot, the longest replies end."""
        going = sorted((each for each in self._busy if not each.job.ended), key=_length)
        while going and self._used + len(going) > self._context.size:
            going.pop().job.stop(Reason.LENGTH)

    def _decode(self) -> None:
        """Decode one token of each slot that writes, and of those that read what else fits."""
        room = min(self._context.batch_size, self._context.size - self._used)
        slots: list[BatchToken] = []
        counts: list[int] = []
        by_need = sorted(self._busy, key=lambda each: len(each.pending))
        for place, busy in enumerate(by_need):
            waiting = len(by_need) - place - 1  # each of them gets one at least
            count = min(len(busy.pending), room - len(slots) - waiting)
            unwanted = len(busy.pending) - busy.outputs
            busy.rows = [len(slots) + offset for offset in range(max(unwanted, 0), count)]
            slots += [
                BatchToken(
                    token, busy.cached_tokens + offset, busy.sequence, logits=offset >= unwanted
                )
                for offset, token in enumerate(busy.pending[:count])
            ]
            counts.append(count)
        self._kv.extend(self._used + len(slots))
        self._guarded(slots)
        for busy, count in zip(by_need, counts, strict=True):
            busy.tokens += busy.pending[:count]
            del busy.pending[:count]
        self._used += len(slots)

    def _guarded(self, slots: Sequence[BatchToken]) -> None:
        """Decode, or leave the sequences as they were.

        Raises:
            InterruptedError: The cancel flag was set.
        """
        done = False
        try:
            done = self._context.decode(slots)
        finally:
            for busy in () if done else self._busy:  # a part of the batch may be in the cache
                if not self._context.trim(busy.cached_tokens, busy.sequence):
                    self._context.forget(busy.sequence)
                    busy.tokens.clear()
        if not done:
            raise InterruptedError


def _length(busy: _Sequence[J]) -> int:
    return len(busy.tokens)
