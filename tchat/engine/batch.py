"""Many prompts with one beginning, answered side by side, each on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeAlias

from tchat.engine.cancel import Cancel
from tchat.engine.context import Context
from tchat.engine.events import Finished, Notice, Reason, Timings, Usage
from tchat.engine.jobs import LabelJob, NextTokens, Piece, ReplyJob
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.parallel import SequencePool
from tchat.engine.prompt.encoder import refuse_unfit, too_long
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.template import Think
from tchat.engine.prompt.template_adapter import IsStopped
from tchat.engine.prompt.tokenization import EncodedPrompt
from tchat.engine.reply_state import ReplyState
from tchat.engine.sampling import fresh_seed, seed_after
from tchat.errors import TchatError
from tchat.settings import Sampling

AHEAD = 32  # prompts whose common beginning becomes the head
ROOM = 256  # tokens of a reply without a limit that the KV cache makes room for at once


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One prompt.

    Args:
        index: Names it in its `BatchResult`, and is added to a seed that the sampling has.
        ask: Its chat, made when its turn comes; a `TchatError` that it raises fails this task.
        seed: Of its reply; None for the sampling's.
    """

    index: int
    ask: Callable[[], Sequence[ChatMessage]]
    seed: int | None = None


TaskResult: TypeAlias = Finished | tuple[tuple[str, float], ...] | TchatError


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a task: a reply, the probabilities of the labels, or an error.

    ``notices`` say what was done to its chat to fit the template.
    """

    index: int
    result: TaskResult
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How the tasks are answered.

    Args:
        sampling: How replies are drawn.
        labels: Weighed instead of writing replies.
        think: Reasoning of models that have a switch for it.
        slots: Tasks at a time.
    """

    sampling: Sampling
    labels: tuple[str, ...] = ()
    think: Think = "auto"
    slots: int = 8


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task whose prompt is made."""

    task: BatchTask
    prompt: EncodedPrompt


Entry: TypeAlias = PreparedTask | BatchResult


def prepare_tasks(
    loaded: LoadedModel, options: BatchOptions, tasks: Iterable[BatchTask], stopped: IsStopped
) -> tuple[Sequence[int], Iterator[Entry]]:
    """What the first prompts begin with; and all of them, or what is wrong with them.

    Each is made when it is asked for, but for the first ones.
    """
    entries = _entries(loaded, options, tasks, stopped)
    first = list(islice(entries, AHEAD))
    return _head_of(first), chain(first, entries)


def _entries(
    loaded: LoadedModel, options: BatchOptions, tasks: Iterable[BatchTask], stopped: IsStopped
) -> Iterator[Entry]:
    for task in tasks:
        try:
            yield PreparedTask(task, _prompt(loaded, options, task.ask(), stopped))
        except TchatError as error:
            yield BatchResult(task.index, error)


def _head_of(entries: Iterable[Entry]) -> Sequence[int]:
    """What all prompts begin with, so that each has a token behind it."""
    prompts = [entry.prompt.tokens for entry in entries if isinstance(entry, PreparedTask)]
    if not prompts:
        return ()
    first = prompts[0]
    return first[: min(min(common_prefix(first, each), len(each) - 1) for each in prompts)]


class BatchRunner:
    """Answers tasks in slots behind the head that the KV cache holds.

    Args:
        loaded: The model.
        options: How.
        cancel: Ends it; what is unfinished then has no outcome.
    """

    def __init__(self, loaded: LoadedModel, options: BatchOptions, cancel: Cancel) -> None:
        self._loaded, self._options, self._cancel = loaded, options, cancel
        self._waiting: _TaskJob | None = None  # for a slot
        self._open: set[_TaskJob] = set()

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[BatchResult]:
        """Answer all of them; each outcome comes as soon as it is there.

        Raises:
            DoesNotFit: There is not enough memory for the slots.
            UsageError: The sampling cannot be carried out, whatever the task.
        """
        entries = iter(entries)
        count = min(self._options.slots, self._loaded.context.batch_size)
        with suppress(InterruptedError):
            slots: SequencePool[_TaskJob] = SequencePool(self._loaded, count)
            try:
                while not self._cancel.is_set():
                    yield from self._fill(slots, entries)
                    if not slots.busy:
                        return
                    for work, piece in slots.step():
                        if piece is None:
                            self._open.discard(work)
                            yield work.outcome()
            finally:
                slots.close()
                for work in self._open:
                    work.close()

    def _fill(
        self, slots: SequencePool[_TaskJob], entries: Iterator[Entry]
    ) -> Iterator[BatchResult]:
        """Give every free slot work; yields the outcomes of what never gets one."""
        while True:
            if self._waiting is None:
                entry = next(entries, None)
                if entry is None:
                    return
                if isinstance(entry, BatchResult):
                    yield entry
                    continue
                self._waiting = _TaskJob(self._loaded, self._options, entry)
                self._open.add(self._waiting)
            if not slots.takes(self._waiting):
                return
            slots.start(self._waiting)
            self._waiting = None


class _TaskJob:
    """A task as a `Job`. What fails in it is its own outcome, and no other task's."""

    def __init__(self, loaded: LoadedModel, options: BatchOptions, entry: PreparedTask) -> None:
        self.tokens = entry.prompt.tokens
        self._index, self._size = entry.task.index, loaded.context.size
        self._notices = entry.prompt.notices
        self._started = time.perf_counter()
        self._error: TchatError | None = None
        self._job: LabelJob | ReplyJob
        if options.labels:
            self._job = LabelJob(self.tokens, loaded.model, options.labels)
            return
        sampling, seed = options.sampling, entry.task.seed
        if seed is None:
            drawn = sampling.seed < 0
            seed = fresh_seed() if drawn else seed_after(sampling.seed, self._index)
        writing = ReplyState(loaded, entry.prompt, self.tokens, sampling, seed)
        reply = min(sampling.max_tokens, ROOM) if sampling.max_tokens >= 0 else ROOM
        self._job = ReplyJob(self.tokens, writing, len(self.tokens) + reply)

    @property
    def room(self) -> int:
        return self._job.room

    @property
    def ended(self) -> bool:
        return self._error is not None or self._job.ended

    def take(self, context: Context, rows: Sequence[int]) -> Iterator[Piece]:
        try:
            yield from self._job.take(context, rows)
        except TchatError as error:
            self._error = error

    def wanted(self) -> NextTokens:
        return self._job.wanted()

    def stop(self, reason: Reason) -> None:
        self._job.stop(reason)

    def end(self) -> Iterator[Piece]:
        yield from self._job.end()

    def close(self) -> None:
        if isinstance(self._job, ReplyJob):
            self._job.writing.close()

    def outcome(self) -> BatchResult:
        self.close()
        return BatchResult(self._index, self._error or self._result(self._job), self._notices)

    def _result(self, job: LabelJob | ReplyJob) -> TaskResult:
        if isinstance(job, LabelJob):
            # Nothing but a full context ends a choice before it is made.
            full = too_long(job.room, self._size)
            return job.choice.probabilities if job.choice.done else full
        writing, read = job.writing, len(self.tokens)
        return Finished(
            writing.reason or Reason.CANCELLED,
            writing.text,
            writing.reasoning,
            writing.seed,
            Usage(read, 0, read, writing.written, writing.reasoned),
            Timings(0.0, 0.0, time.perf_counter() - self._started),
        )


def _prompt(
    loaded: LoadedModel, options: BatchOptions, messages: Sequence[ChatMessage], stopped: IsStopped
) -> EncodedPrompt:
    encoder = replace(loaded.encoder, stopped=stopped)
    if options.labels:
        prompt = encoder.for_answer(messages)
    else:
        prompt = encoder.for_reply(messages, options.sampling, options.think)
    refuse_unfit(prompt.tokens, encoder.size)
    return prompt
