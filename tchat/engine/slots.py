"""Several replies decoded in one batch: each in a sequence of its own, behind a shared head.

The head, which sequence 0 holds, is read once: the cells of the KV cache that hold it belong to
every sequence (``llama_memory_seq_cp``). A slot whose job ended is given to the next job at once;
that one's prompt is read in the same batches in which the others go on writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tchat.engine.context import FIRST_SLOT, Slot
from tchat.engine.events import Reason, Reasoning, Token
from tchat.engine.loaded import Loaded
from tchat.engine.writing import Writing

Piece = Token | Reasoning


class Job(Protocol):
    """A reply to be written.

    Attributes:
        tokens: Its whole prompt; begins with what sequence 0 holds and is longer than that.
        writing: The reply.
        room: Tokens of the KV cache that it waits for: its prompt's and some of its reply's.
    """

    @property
    def tokens(self) -> Sequence[int]: ...  # noqa: D102

    @property
    def writing(self) -> Writing: ...  # noqa: D102

    @property
    def room(self) -> int: ...  # noqa: D102


J = TypeVar("J", bound=Job)


@dataclass(slots=True)
class _Busy(Generic[J]):
    """A slot with its job.

    Args:
        job: What is written in it.
        sequence: Where.
        pending: Tokens to decode.
        tokens: Tokens in the cache behind the head.
        row: Of the last batch, the output that the next token is drawn from; -1 for none.
    """

    job: J
    sequence: int
    pending: list[int]
    tokens: list[int] = field(default_factory=list)
    row: int = -1

    @property
    def ended(self) -> bool:
        return self.job.writing.reason is not None


class Slots(Generic[J]):
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

    def __init__(self, loaded: Loaded, count: int, *, keep: bool = False) -> None:
        self._context, self._kv, self._keep = loaded.context, loaded.kv, keep
        if not self._kv.widen(count):
            raise InterruptedError
        self._head = len(self._kv.tokens)
        self._used = self._head  # cells of the cache
        self._free = [FIRST_SLOT + number for number in range(count)]
        self._busy: list[_Busy[J]] = []

    @property
    def busy(self) -> int:
        """Jobs in the making."""
        return len(self._busy)

    @property
    def jobs(self) -> list[J]:
        """Those in the making."""
        return [busy.job for busy in self._busy]

    def takes(self, job: J) -> bool:
        """Whether there is a slot for ``job``, and room in the KV cache for what it asks for.

        A job alone is taken even when it asks for more room than there is.
        """
        if not self._busy:
            return bool(self._free)
        head = self._head
        asked = [max(each.job.room - head, len(each.tokens) + 1) for each in self._busy]
        return bool(self._free) and head + sum(asked) + job.room - head <= self._context.size

    def start(self, job: J) -> None:
        """Give a free slot to ``job``."""
        sequence = self._free.pop(0)
        self._context.copy(0, sequence)
        self._busy.append(_Busy(job, sequence, list(job.tokens[self._head :])))

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
            if busy.row >= 0:
                token = busy.job.writing.draw(self._context, busy.row)
                busy.pending, busy.row = [token], -1
                for piece in busy.job.writing.take(token):
                    yield busy.job, piece
        yield from self._release()

    def stop(self) -> Iterator[tuple[J, Piece | None]]:
        """Stop every job; yields as `step` does."""
        for busy in self._busy:
            busy.job.writing.stop()
        yield from self._release()

    def close(self) -> None:
        """Give back what the sequences of unfinished jobs hold."""
        for busy in self._busy:
            self._context.forget(busy.sequence)
        self._busy.clear()

    def _release(self) -> Iterator[tuple[J, Piece | None]]:
        """Take the jobs that have ended out of their slots."""
        ended = [busy for busy in self._busy if busy.ended]
        self._busy = [busy for busy in self._busy if not busy.ended]
        for busy in ended:
            if self._keep:
                self._kv.branches[busy.sequence] = busy.tokens
            else:
                self._context.forget(busy.sequence)
                self._used -= len(busy.tokens)
                self._free.append(busy.sequence)
        for busy in ended:
            for piece in busy.job.writing.end():
                yield busy.job, piece
            yield busy.job, None

    def _end_the_longest(self) -> None:
        """Where the KV cache has no cell left for each slot, the longest replies end."""
        going = sorted((each for each in self._busy if not each.ended), key=lambda b: len(b.tokens))
        while going and self._used + len(going) > self._context.size:
            going.pop().job.writing.reason = Reason.LENGTH

    def _decode(self) -> None:
        """Decode one token of each slot that writes, and of those that read what else fits."""
        room = min(self._context.batch_size, self._context.size - self._used)
        slots: list[Slot] = []
        counts: list[int] = []
        by_need = sorted(self._busy, key=lambda each: len(each.pending))
        for place, busy in enumerate(by_need):
            waiting = len(by_need) - place - 1  # each of them gets one at least
            count = min(len(busy.pending), room - len(slots) - waiting)
            start = self._head + len(busy.tokens)
            slots += [
                Slot(token, start + offset, busy.sequence, logits=offset == len(busy.pending) - 1)
                for offset, token in enumerate(busy.pending[:count])
            ]
            counts.append(count)
            busy.row = len(slots) - 1 if count == len(busy.pending) else -1
        self._kv.extend(self._used + len(slots))
        self._guarded(slots)
        for busy, count in zip(by_need, counts, strict=True):
            busy.tokens += busy.pending[:count]
            del busy.pending[:count]
        self._used += len(slots)

    def _guarded(self, slots: Sequence[Slot]) -> None:
        """Decode, or leave the sequences as they were.

        Raises:
            InterruptedError: The cancel flag was set.
        """
        done = False
        try:
            done = self._context.decode(slots)
        finally:
            for busy in () if done else self._busy:  # a part of the batch may be in the cache
                if not self._context.trim(self._head + len(busy.tokens), busy.sequence):
                    self._context.forget(busy.sequence)
                    busy.tokens.clear()
        if not done:
            raise InterruptedError
