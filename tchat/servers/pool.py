"""Many prompts over several servers, each with a bounded number in flight."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tchat.engine.batch import BatchOptions, BatchResult, BatchTask, TaskResult
from tchat.engine.binding import Cancel
from tchat.engine.events import Finished, LabelScores, Notice, Reason
from tchat.engine.prompt import ChatMessage
from tchat.engine.sampling import fresh_seed, seed_after
from tchat.errors import TchatError
from tchat.servers.backend import ServerBackend
from tchat.servers.errors import ServerError
from tchat.servers.kinds import KINDS
from tchat.servers.parallel import Maker, merged
from tchat.settings import Sampling
from tchat.translation import tr

TRIES = 3  # of one prompt
LOOK = 0.05  # seconds between two looks whether to stop
ANSWER_SECONDS = 20.0  # in which a server that is up lists its models
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds until a server that failed is asked again
NEWEST = 0.3  # share of the last reply in the mean time of replies

PoolItem: TypeAlias = BatchResult | Notice


@dataclass(slots=True, eq=False)
class PooledServer:
    """A server of a pool.

    Args:
        backend: The model on it.
        sampling: The settings for this model.

    Attributes:
        error: Why it gets no prompts; None while it does.
        answered: Prompts that it answered.
        seconds: How long a reply takes there, on average; 0 before the first.
    """

    backend: ServerBackend
    sampling: Sampling
    error: TchatError | None = None
    in_flight: int = 0
    answered: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The name of the server."""
        return self.backend.server.name

    def record(self, seconds: float) -> None:
        """A reply came after ``seconds``."""
        self.answered += 1
        share = NEWEST if self.seconds else 1.0
        self.seconds += share * (seconds - self.seconds)


@dataclass(slots=True, eq=False)
class _Entry:
    """A task, the messages once they are made, and the servers that failed on it."""

    task: BatchTask
    messages: Sequence[ChatMessage] = ()
    failed: list[PooledServer] = field(default_factory=list)


class ServerPool:
    """Several servers that answer prompts together. Close it.

    Args:
        servers: Their backends have the flag ``cancel``.
        cancel: Ends all calls in progress when it is set, from any thread.
        in_flight: Prompts at a time for each; 0 for what its kind takes.
        pause: How long a server that failed is left alone, at first.
    """

    def __init__(
        self,
        servers: Sequence[PooledServer],
        cancel: Cancel,
        in_flight: int = 0,
        *,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self.servers = servers
        self._cancel, self._wanted, self._pause = cancel, in_flight, pause

    def close(self) -> None:
        """Close the connections."""
        for each in self.servers:
            each.backend.close()

    def open(self) -> Iterator[Notice]:
        """Ask all servers for their models; those that do not answer are left out for now.

        Raises:
            ServerError: None answers.
            TchatError: One has no such model.
            InterruptedError: ``cancel`` was set.
        """

        def maker(server: PooledServer) -> Maker[Notice]:
            def run(_: Callable[[], bool]) -> Iterator[Notice]:
                try:
                    list(server.backend.load())
                except ServerError as error:
                    server.error = error
                    yield _left_out(error)

            return run

        found = list(merged([maker(each) for each in self.servers], len(self.servers)))
        errors = [each.error for each in self.servers if each.error]
        if len(errors) == len(self.servers):
            raise errors[0]
        yield from (notice for _, notice in found)

    def limit_of(self, server: PooledServer) -> int:
        """How many prompts ``server`` gets at a time."""
        backend = server.backend
        kind = backend.description.kind if backend.is_loaded else KINDS["other"]
        return 1 if kind.parallel == 1 else self._wanted or kind.parallel

    def results(
        self, tasks: Sequence[BatchTask], options: BatchOptions
    ) -> Generator[PoolItem, None, None]:
        """Answer all ``tasks``; each result comes as soon as it is there.

        Each server has its own sampling. A task goes to another server where one fails; its error
        is its result when `TRIES` have failed. Unfinished tasks have no result when ``cancel`` is
        set.

        Raises:
            ServerError: No server is left.
        """
        run = _PoolRun(self, tasks, options, self._cancel, self._pause)
        workers = max([self._wanted, *map(self.limit_of, self.servers)])
        makers = [
            make
            for server in self.servers
            for make in (run.watcher(server), *[run.worker(server)] * workers)
        ]
        try:
            for _, item in merged(makers, len(makers)):
                yield item
        finally:
            if not run.is_done():
                self._cancel.set()


def _left_out(error: TchatError) -> Notice:
    return Notice("server", tr("{error}; the other servers go on without it", error=error.message))


class _PoolRun:
    """What is left to do, shared by all threads of a pool."""

    def __init__(
        self,
        pool: ServerPool,
        tasks: Sequence[BatchTask],
        options: BatchOptions,
        cancel: Cancel,
        pause: float,
    ) -> None:
        self._pool, self._servers = pool, pool.servers
        self._options, self._cancel, self._pause = options, cancel, pause
        self._waiting = deque(map(_Entry, tasks))
        self._open = len(tasks)
        self._changed = threading.Condition()

    def is_done(self) -> bool:
        """Whether all tasks have their result."""
        return not self._open

    def worker(self, server: PooledServer) -> Maker[PoolItem]:
        """One of the threads that hand tasks to ``server``, and wait for their results."""

        def run(is_gone: Callable[[], bool]) -> Iterator[PoolItem]:
            while (entry := self._next(server, is_gone)) is not None:
                yield from self._answer(server, entry)

        return run

    def watcher(self, server: PooledServer) -> Maker[PoolItem]:
        """The thread that looks whether ``server`` is back, while it is left out."""

        def run(is_gone: Callable[[], bool]) -> Iterator[PoolItem]:
            pause = self._pause
            while self._wait(lambda: server.error is not None, is_gone):
                end = time.monotonic() + pause
                if not self._wait(lambda: time.monotonic() > end, is_gone):  # noqa: B023
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                if self._failure_of(server) is None:
                    pause = self._pause
                    with self._changed:
                        server.error = None
                        self._changed.notify_all()
                    yield Notice("server", tr("{name} is back", name=server.name))

        return run

    def _wait(self, is_time: Callable[[], bool], is_gone: Callable[[], bool]) -> bool:
        """Wait until ``is_time``; False once nothing is left to do."""
        with self._changed:
            while not self._is_over(is_gone):
                if is_time():
                    return True
                self._changed.wait(LOOK)
        return False

    def _is_over(self, is_gone: Callable[[], bool]) -> bool:
        return self.is_done() or is_gone() or self._cancel.is_set()

    # Which server gets which task

    def _next(self, server: PooledServer, is_gone: Callable[[], bool]) -> _Entry | None:
        """The next task for ``server``; None once nothing is left to do."""
        with self._changed:
            while not self._is_over(is_gone):
                entry = self._entry_for(server)
                if entry is not None:
                    server.in_flight += 1
                    return entry
                self._changed.wait(LOOK)
        return None

    def _entry_for(self, server: PooledServer) -> _Entry | None:
        if server.error or server.in_flight >= self._pool.limit_of(server):
            return None
        for entry in self._waiting:  # those that failed somewhere come first
            if self._suits(server, entry):
                self._waiting.remove(entry)
                return entry
            if not entry.failed:
                return None
        return None

    def _suits(self, server: PooledServer, entry: _Entry) -> bool:
        if not entry.failed:
            return not self._is_sooner_elsewhere(server)
        untried = [each for each in self._up() if each not in entry.failed]
        return not untried or server in untried

    def _is_sooner_elsewhere(self, server: PooledServer) -> bool:
        """Whether the other servers answer all that waits before ``server`` would answer one.

        So a slow server takes nothing at the end that all others would wait for.
        """
        others = [each for each in self._up() if each is not server and each.seconds]
        if not server.seconds or not others:
            return False
        rate = sum(self._pool.limit_of(each) / each.seconds for each in others)
        first = min(each.seconds for each in others)
        return len(self._waiting) / rate + first < server.seconds

    def _up(self) -> list[PooledServer]:
        return [each for each in self._servers if each.error is None]

    # One task

    def _answer(self, server: PooledServer, entry: _Entry) -> Iterator[PoolItem]:
        started = time.monotonic()
        notices: list[Notice] = []
        result: TaskResult | None
        try:
            entry.messages = entry.messages or entry.task.ask()
        except TchatError as error:
            yield self._result(server, entry, error)
            return
        try:
            result = self._ask(server, entry, notices)
        except TchatError as error:
            yield from self._retry(server, entry, error)
            return
        if result is not None:
            server.record(time.monotonic() - started)
            yield self._result(server, entry, result, notices)

    def _result(
        self,
        server: PooledServer,
        entry: _Entry,
        result: TaskResult,
        notices: Sequence[Notice] = (),
    ) -> BatchResult:
        with self._changed:
            server.in_flight -= 1
            self._open -= 1
            self._changed.notify_all()
        return BatchResult(entry.task.index, result, tuple(notices))

    def _ask(self, server: PooledServer, entry: _Entry, notices: list[Notice]) -> TaskResult | None:
        """The reply of ``server``; None when it was stopped."""
        backend, options, messages = server.backend, self._options, entry.messages
        with backend.counting() as encoder:  # an estimate: not another request for each prompt
            prompt = None if encoder is None else encoder.for_answer(messages)
        # Of its own: a placeholder that the model makes up must not bring in another row's value.
        redaction = backend.redaction.without_table() if backend.redaction is not None else None
        if options.labels:
            events = backend.score_labels(messages, options.labels, prompt, redaction)
        else:
            sampling = replace(server.sampling, seed=_seed(entry.task, server.sampling))
            events = backend.generate(
                messages, sampling, think=options.think, prompt=prompt, redaction=redaction
            )
        scores, finished = None, None
        for event in events:
            if isinstance(event, Notice):
                notices.append(event)
            elif isinstance(event, LabelScores):
                scores = event.probabilities
            elif isinstance(event, Finished):
                finished = event
        if finished is None or finished.reason is Reason.CANCELLED:
            return None
        return scores or finished

    def _retry(self, server: PooledServer, entry: _Entry, error: TchatError) -> Iterator[PoolItem]:
        """Let another server try, or the same where it is up; or give up the task."""
        is_server = isinstance(error, ServerError)  # else the prompt does not suit it
        failure = self._failure_of(server) if is_server else None
        with self._changed:
            is_new = failure is not None and server.error is None
            server.error = server.error or failure
            entry.failed.append(server)
            up = self._up()
            if not up:
                raise _none_left(error, server)
            untried = [each for each in up if each not in entry.failed]
            again = len(entry.failed) < TRIES and (is_server or bool(untried))
            if again:
                server.in_flight -= 1
                self._waiting.appendleft(entry)
                self._changed.notify_all()
        if is_new:
            yield _left_out(failure or error)
        if not again:
            yield self._result(server, entry, error)

    def _failure_of(self, server: PooledServer) -> TchatError | None:
        """Why ``server`` does not answer at all; None if it does."""
        try:
            server.backend.require_answer(ANSWER_SECONDS)
        except TchatError as error:
            return error
        except InterruptedError:
            return None
        return None


def _seed(task: BatchTask, sampling: Sampling) -> int:
    if task.seed is not None:
        return task.seed
    return seed_after(sampling.seed, task.index) if sampling.seed >= 0 else fresh_seed()


def _none_left(error: TchatError, server: PooledServer) -> ServerError:
    return ServerError(
        tr("no server is left: {error}", error=error.message),
        tr("once {name} answers, run it again; with -o it resumes", name=server.name),
    )
