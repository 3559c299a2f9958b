"""Decode several jobs in one batch: each in a sequence of its own behind a shared prefix.

The prefix, which sequence 0 holds, is prefilled once: its cells in the KV cache belong to every
sequence (``llama_memory_seq_cp``). When a job ends, the next one gets its sequence; its prompt is
prefilled in the same batches in which the others decode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from tchat.engine.context import FIRST_PARALLEL, BatchToken, Context
from tchat.engine.events import Reason, ReplyDelta
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.model import Model
from tchat.engine.reply_state import ReplyState
from tchat.engine.scoring import LabelScorer
from tchat.errors import TchatError


class ReplyJob:
    """A reply to the prompt ``tokens``; ``index`` says which candidate it is.

    ``reserve`` tokens of the KV cache, prompt included, must be free before it starts.
    """

    scores = False  # whether `next_tokens` follow the prompt, with the logits of each

    def __init__(
        self, tokens: Sequence[int], reply: ReplyState, reserve: int = 0, index: int = 0
    ) -> None:
        self.tokens, self.reply, self.reserve, self.index = tokens, reply, reserve, index
        self._next = -1

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to decode."""
        return self.reply.reason is not None

    def consume(self, context: Context, rows: Sequence[int]) -> Sequence[ReplyDelta]:
        """Process its output rows of the last decode; returns the text that they bring."""
        self._next = self.reply.draw(context, rows[-1])
        return self.reply.append(self._next)

    @property
    def next_tokens(self) -> Sequence[int]:
        """What to decode when everything before is decoded and it has not ended."""
        return (self._next,)

    def stop(self, reason: Reason) -> None:
        """End it where it is, unless it has ended."""
        self.reply.stop(reason)

    def flush(self) -> Sequence[ReplyDelta]:
        """Release the text held back, at the end."""
        return self.reply.output.close()

    def close(self) -> None:
        """Free the sampler."""
        self.reply.close()


class LabelJob:
    """The scoring of labels as replies to the prompt ``tokens``; otherwise as `ReplyJob`."""

    scores = True

    def __init__(self, tokens: Sequence[int], model: Model, labels: Sequence[str]) -> None:
        self.tokens = tokens
        self.scorer = LabelScorer(model, labels)
        self.reserve = len(tokens) + self.scorer.longest
        self._stopped = False

    @property
    def ended(self) -> bool:
        """Whether all labels are scored, or it was stopped."""
        return self._stopped or self.scorer.done

    def consume(self, context: Context, rows: Sequence[int]) -> Sequence[ReplyDelta]:
        """Score by these output rows, which bring no text."""
        for row in rows:
            self.scorer.add_row(context.log_probabilities(row))
        return ()

    @property
    def next_tokens(self) -> Sequence[int]:
        """The tokens of the next label."""
        return self.scorer.next_tokens

    def stop(self, reason: Reason) -> None:  # noqa: ARG002 - scores are complete or worth nothing
        """Give up."""
        self._stopped = True

    def flush(self) -> Sequence[ReplyDelta]:
        """No text is held back."""
        return ()

    def close(self) -> None:
        """There is nothing to free."""


Job: TypeAlias = ReplyJob | LabelJob
J = TypeVar("J", bound=Job)


@dataclass(slots=True)
class _Sequence(Generic[J]):
    """A sequence and the job that it decodes, behind ``shared`` tokens of the prefix.

    ``tokens`` are in the cache behind those; ``pending`` are to decode, the last ``outputs`` of
    them with logits; ``rows`` are its output rows of the last batch.
    """

    job: J
    id: int
    shared: int
    pending: list[int]
    outputs: int = 1
    tokens: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @property
    def cached_tokens(self) -> int:
        """Tokens in the sequence."""
        return self.shared + len(self.tokens)


class SequencePool(Generic[J]):
    """``count`` sequences behind the prefix that sequence 0 holds. Close it.

    Args:
        loaded: The model; its KV cache holds the prefix.
        count: Jobs at a time, no more than the tokens of a batch.
        keep: Leave the sequences of ended jobs in the cache, as `KVCache.branches`; they are not
            used again.
        on_error: Called with a job and its error, which ends only that job; without it, the error
            is raised.

    Raises:
        DoesNotFit: There is not enough memory for the sequences.
        InterruptedError: The cancel flag was set.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        count: int,
        *,
        keep: bool = False,
        on_error: Callable[[J, TchatError], None] | None = None,
    ) -> None:
        self._context, self._kv, self._keep = loaded.context, loaded.kv, keep
        self._on_error = on_error
        if not self._kv.set_parallel(count):
            raise InterruptedError
        self._prefix = len(self._kv.tokens)
        self._used = self._prefix  # cells of the cache
        self._free = [FIRST_PARALLEL + number for number in range(count)]
        self._running: list[_Sequence[J]] = []

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return len(self._running)

    def can_start(self, job: J) -> bool:
        """Whether there is a sequence for ``job``, and capacity for what it reserves.

        A job alone may start even when it reserves more than there is.
        """
        if not self._running:
            return bool(self._free)
        reserved = [max(s.job.reserve - s.shared, len(s.tokens) + 1) for s in self._running]
        reserved.append(job.reserve - self._shared_tokens(job))
        return bool(self._free) and self._prefix + sum(reserved) <= self._context.size

    def start(self, job: J) -> None:
        """Give a free sequence to ``job``."""
        sequence, shared = self._free.pop(0), self._shared_tokens(job)
        if shared:
            self._context.copy(0, sequence)
        if 0 < shared < self._prefix and not self._context.truncate(shared, sequence):
            self._context.forget(sequence)
            shared = 0
        self._running.append(_Sequence(job, sequence, shared, list(job.tokens[shared:])))

    def _shared_tokens(self, job: J) -> int:
        """Tokens that the prompt of ``job`` shares with the prefix; at least one is left over."""
        return min(common_prefix(self._kv.tokens, job.tokens), len(job.tokens) - 1)

    def step(self) -> Iterator[tuple[J, ReplyDelta | None]]:
        """Decode one batch; yields the text that it brings, and None for each job that ended."""
        self._stop_longest()
        yield from self._release()
        if not self._running:
            return
        self._decode()
        for sequence in self._running:
            job = sequence.job
            if sequence.rows:
                for piece in self._consume(sequence):
                    yield job, piece
                if not sequence.pending and not job.ended:
                    self._continue(sequence)
        yield from self._release()

    def _consume(self, sequence: _Sequence[J]) -> Sequence[ReplyDelta]:
        try:
            return sequence.job.consume(self._context, sequence.rows)
        except TchatError as error:
            if self._on_error is None:
                raise
            self._on_error(sequence.job, error)
            sequence.job.stop(Reason.CANCELLED)
            return ()

    def _continue(self, sequence: _Sequence[J]) -> None:
        """Let a sequence decode what its job wants next."""
        job = sequence.job
        sequence.pending = list(job.next_tokens)
        if job.scores:
            sequence.outputs = len(sequence.pending)
            self._truncate_to_prompt(sequence)

    def _truncate_to_prompt(self, sequence: _Sequence[J]) -> None:
        keep = len(sequence.job.tokens) - sequence.shared
        dropped = sequence.tokens[keep:]
        if dropped and not self._context.truncate(sequence.shared + keep, sequence.id):
            self._context.forget(sequence.id)
            sequence.pending[:0] = sequence.job.tokens
            dropped, sequence.shared, keep = sequence.tokens, 0, 0
        self._used -= len(dropped)
        del sequence.tokens[keep:]

    def stop(self) -> Iterator[tuple[J, ReplyDelta | None]]:
        """Stop every job; yields as `step` does."""
        for sequence in self._running:
            sequence.job.stop(Reason.CANCELLED)
        yield from self._release()

    def close(self) -> None:
        """Free the sequences of jobs that have not ended."""
        for sequence in self._running:
            self._context.forget(sequence.id)
        self._running.clear()

    def _release(self) -> Iterator[tuple[J, ReplyDelta | None]]:
        """Remove ended jobs, and free their sequences unless they are kept."""
        ended = [sequence for sequence in self._running if sequence.job.ended]
        self._running = [sequence for sequence in self._running if not sequence.job.ended]
        for sequence in ended:
            if self._keep:
                self._kv.branches[sequence.id] = sequence.tokens
            else:
                self._context.forget(sequence.id)
                self._used -= len(sequence.tokens)
                self._free.append(sequence.id)
        for sequence in ended:
            for piece in sequence.job.flush():
                yield sequence.job, piece
            yield sequence.job, None

    def _stop_longest(self) -> None:
        """Where the KV cache has no cell left for each sequence, end the longest ones."""
        active = sorted((s for s in self._running if not s.job.ended), key=lambda s: len(s.tokens))
        while active and self._used + len(active) > self._context.size:
            active.pop().job.stop(Reason.LENGTH)

    def _decode(self) -> None:
        """Decode one token of each sequence in its reply; prompts get the rest of the batch."""
        limit = min(self._context.batch_size, self._context.size - self._used)
        batch: list[BatchToken] = []
        counts: list[int] = []
        by_need = sorted(self._running, key=lambda each: len(each.pending))
        for number, sequence in enumerate(by_need):
            waiting = len(by_need) - number - 1  # each of them gets at least one
            count = min(len(sequence.pending), limit - len(batch) - waiting)
            without = len(sequence.pending) - sequence.outputs
            sequence.rows = [len(batch) + offset for offset in range(max(without, 0), count)]
            start = sequence.cached_tokens
            batch += [
                BatchToken(token, start + offset, sequence.id, logits=offset >= without)
                for offset, token in enumerate(sequence.pending[:count])
            ]
            counts.append(count)
        self._kv.reserve_all(self._used + len(batch))
        self._decode_or_undo(batch)
        for sequence, count in zip(by_need, counts, strict=True):
            sequence.tokens += sequence.pending[:count]
            del sequence.pending[:count]
        self._used += len(batch)

    def _decode_or_undo(self, batch: Sequence[BatchToken]) -> None:
        """Decode, or leave the sequences as they were; InterruptedError when it was stopped."""
        done = False
        try:
            done = self._context.decode(batch)
        finally:
            for sequence in () if done else self._running:  # a part may be in the cache
                if not self._context.truncate(sequence.cached_tokens, sequence.id):
                    self._context.forget(sequence.id)
                    sequence.tokens.clear()
        if not done:
            raise InterruptedError
