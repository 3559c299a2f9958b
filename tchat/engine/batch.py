"""Batch inference: many prompts with a common prefix, decoded in parallel, each on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeAlias

from tchat.engine.binding import Cancel
from tchat.engine.events import Finished, Notice, Reason, Timings, TokenUsage
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.parallel import Job, LabelJob, ReplyJob, SequencePool
from tchat.engine.prompt import ChatMessage, IsStopped
from tchat.engine.prompt.encoder import EncodedPrompt, require_fit, too_long
from tchat.engine.prompt.template import Think
from tchat.engine.reply_state import ReplyState
from tchat.engine.sampling import fresh_seed, seed_after
from tchat.errors import TchatError
from tchat.settings import Sampling

LOOKAHEAD = 32  # prompts whose common prefix is prefilled once
REPLY_CAPACITY = 256  # tokens that the KV cache reserves for a reply without a limit


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One prompt, which ``ask`` makes when its turn comes.

    A `TchatError` from ``ask`` fails this task only. ``index`` identifies its `BatchResult`; where
    ``seed`` is None, it is added to the sampling's seed.
    """

    index: int
    ask: Callable[[], Sequence[ChatMessage]]
    seed: int | None = None


TaskResult: TypeAlias = Finished | tuple[tuple[str, float], ...] | TchatError


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A reply, the probabilities of the labels, or an error; ``notices`` are about its chat."""

    index: int
    result: TaskResult
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How tasks are answered: ``slots`` at a time; with ``labels``, by their scores."""

    sampling: Sampling
    labels: tuple[str, ...] = ()
    think: Think = "auto"
    slots: int = 8


PreparedTask: TypeAlias = tuple[BatchTask, EncodedPrompt]
Entry: TypeAlias = PreparedTask | BatchResult


def prepare_tasks(
    loaded: LoadedModel, options: BatchOptions, tasks: Iterable[BatchTask], stopped: IsStopped
) -> tuple[Sequence[int], Iterator[Entry]]:
    """The common prefix of the first prompts; and all tasks, encoded as they are iterated."""
    entries = _encode(loaded, options, tasks, stopped)
    first = list(islice(entries, LOOKAHEAD))
    return _shared_prefix(first), chain(first, entries)


def _encode(
    loaded: LoadedModel, options: BatchOptions, tasks: Iterable[BatchTask], stopped: IsStopped
) -> Iterator[Entry]:
    encoder = replace(loaded.encoder, stopped=stopped)
    for task in tasks:
        try:
            messages = task.ask()
            if options.labels:
                prompt = encoder.for_answer(messages)
            else:
                prompt = encoder.for_reply(messages, options.sampling, options.think)
            require_fit(prompt.tokens, encoder.size, encoder.model.shape.n_ctx_train)
            yield task, prompt
        except TchatError as error:
            yield BatchResult(task.index, error)


def _shared_prefix(entries: Iterable[Entry]) -> Sequence[int]:
    """The common prefix of all prompts; each has at least one token behind it."""
    prompts = [entry[1].tokens for entry in entries if not isinstance(entry, BatchResult)]
    if not prompts:
        return ()
    first = prompts[0]
    return first[: min(min(common_prefix(first, each), len(each) - 1) for each in prompts)]


class BatchRunner:
    """Answers tasks in parallel sequences behind the prefix that the KV cache holds.

    An error in a task is its own result, and no other task's. Unfinished tasks have no result when
    ``cancel`` is set.
    """

    def __init__(self, loaded: LoadedModel, options: BatchOptions, cancel: Cancel) -> None:
        self._loaded, self._options, self._cancel = loaded, options, cancel
        self._waiting: Job | None = None  # for a sequence
        self._open: dict[Job, tuple[PreparedTask, float]] = {}  # with the time of its start
        self._errors: dict[Job, TchatError] = {}

    def results(self, entries: Iterable[Entry]) -> Iterator[BatchResult]:
        """Answer all of them; each result comes as soon as it is there.

        Raises:
            DoesNotFit: There is not enough memory for the sequences.
            UsageError: The sampling cannot be carried out, whatever the task.
        """
        entries = iter(entries)
        count = min(self._options.slots, self._loaded.context.batch_size)
        with suppress(InterruptedError):
            pool: SequencePool[Job] = SequencePool(
                self._loaded, count, on_error=self._errors.__setitem__
            )
            try:
                while not self._cancel.is_set():
                    yield from self._fill(pool, entries)
                    if not pool.running:
                        return
                    for job, piece in pool.step():
                        if piece is None:
                            yield self._result(job)
            finally:
                pool.close()
                for job in self._open:
                    job.close()

    def _fill(self, pool: SequencePool[Job], entries: Iterator[Entry]) -> Iterator[BatchResult]:
        """Start jobs in all free sequences; yields the results of tasks that cannot start."""
        while True:
            if self._waiting is None:
                entry = next(entries, None)
                if entry is None:
                    return
                if isinstance(entry, BatchResult):
                    yield entry
                    continue
                self._waiting = self._job(*entry)
                self._open[self._waiting] = entry, time.perf_counter()
            if not pool.can_start(self._waiting):
                return
            pool.start(self._waiting)
            self._waiting = None

    def _job(self, task: BatchTask, prompt: EncodedPrompt) -> Job:
        loaded, sampling = self._loaded, self._options.sampling
        tokens, seed = prompt.tokens, task.seed
        if self._options.labels:
            return LabelJob(tokens, loaded.model, self._options.labels)
        if seed is None:
            fixed = sampling.seed >= 0
            seed = seed_after(sampling.seed, task.index) if fixed else fresh_seed()
        reply = ReplyState(loaded, prompt, tokens, sampling, seed)
        limit = sampling.max_tokens
        length = min(limit, REPLY_CAPACITY) if limit >= 0 else REPLY_CAPACITY
        return ReplyJob(tokens, reply, len(tokens) + length)

    def _result(self, job: Job) -> BatchResult:
        (task, prompt), started = self._open.pop(job)
        job.close()
        error = self._errors.pop(job, None)
        result = error or self._make_finished(job, time.perf_counter() - started)
        return BatchResult(task.index, result, prompt.notices)

    def _make_finished(self, job: Job, seconds: float) -> TaskResult:
        if isinstance(job, LabelJob):
            # Only a full context ends the scoring early.
            loaded = self._loaded
            full = too_long(job.reserve, loaded.context.size, loaded.model.shape.n_ctx_train)
            return job.scorer.probabilities if job.scorer.done else full
        reply, prompt = job.reply, len(job.tokens)
        return Finished(
            reply.reason or Reason.CANCELLED,
            reply.output.text,
            reply.output.reasoning,
            reply.seed,
            TokenUsage(prompt, 0, prompt, reply.written, reply.reasoned),
            Timings(0.0, 0.0, seconds),
        )
