"""The engine thread: a large stack for llama.cpp, requests, and the ways to run work on it.

The command line waits for it and handles signals (`run_on_engine_thread`); the screen's event loop
gets events in batches (`EngineWorker`). Loading a model imports this module, so `EngineWorker`
imports asyncio itself.
"""

from __future__ import annotations

import _thread
import operator
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Generic, TypeVar

from tchat.engine.events import Event, PromptProgress, ReplyDelta
from tchat.errors import Abandoned, Interrupted, StorageError
from tchat.translation import tr

if TYPE_CHECKING:
    import queue

    from tchat.engine.binding import Cancel

T = TypeVar("T")

# llama.cpp's tokenizers recurse through std::regex: 100 kB of one letter overflow a stack of 8 MB.
# Untouched pages of a stack take no memory.
STACK_SIZES = (512 << 20, 64 << 20, 0)
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


class Call(Generic[T]):
    """A call that keeps its outcome for another thread: what it returned in ``made``, or ``error``.

    (``concurrent.futures`` takes 5 ms to import.)
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done = threading.Event()
        self.made: list[T] = []
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """Do the work; never raises."""
        try:
            self.made.append(self._work())
        except BaseException as error:  # noqa: BLE001  `result` raises it again
            self.error = error
        finally:
            self._done.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the outcome; False when there is none after ``seconds``."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """Wait for the outcome; returns or raises what the work did."""
        self._done.wait()
        if self.error is not None:
            raise self.error
        return self.made[0]


def run_on_engine_thread(work: Callable[[], T], cancel: Cancel) -> T:
    """Run ``work``, a whole loop over events, on a thread with a large stack.

    The main thread only waits, so it handles signals at once, even while the engine is inside a
    decode: SIGINT, SIGTERM and SIGHUP set ``cancel``, and the work ends by itself with its partial
    reply stored. A second signal does not wait for that.

    Raises:
        Interrupted: A signal came; raised after the work has ended.
        StorageError: The work raised it, with or without a signal: something is lost.
        Abandoned: A second signal came; the work continues.
    """
    call = Call(work)
    with _signals(cancel) as seen:
        start_on_large_stack(call)
        while not call.wait(0.5):
            pass
    if seen and not isinstance(call.error, StorageError):
        raise Interrupted(seen[0])
    return call.result()


def on_large_stack(work: Callable[[], T], *, least: int = 0) -> T:
    """Run ``work`` as `start_on_large_stack` does; returns or raises what it does."""
    call = Call(work)
    start_on_large_stack(call, least=least)
    return call.result()


def start_on_large_stack(work: Callable[[], None], *, least: int = 0) -> None:
    """Run ``work``, which must not raise, on a daemon thread with the largest stack granted.

    Raises:
        MemoryError: No thread can be started, or none with a stack of ``least`` bytes.
    """

    def run() -> None:
        threading.current_thread().name = "engine"
        # What `threading.Thread` does for debuggers, coverage and profilers.
        sys.settrace(threading.gettrace())
        sys.setprofile(threading.getprofile())
        work()

    for size in STACK_SIZES:
        if size < least:
            continue
        # The system grants no such stack, or Python refuses the number.
        with suppress(RuntimeError, ValueError):
            _start(run, size)
            return
    raise MemoryError(tr("no thread can be started"))


def _start(run: Callable[[], None], size: int) -> None:
    """Start a thread with a stack of ``size`` bytes; other new threads keep the default.

    The size is global to the process. So one loop in C, which keeps the GIL, sets it, starts the
    thread and resets it; in a Python loop, other threads could start one in between.
    """
    steps = (
        partial(threading.stack_size, size),
        partial(_thread.start_new_thread, run, ()),
        partial(threading.stack_size, 0),
    )
    try:
        deque(map(operator.call, steps), maxlen=0)
    finally:
        threading.stack_size(0)


@contextmanager
def _signals(cancel: Cancel) -> Iterator[list[int]]:
    """Handle stopping signals: each sets ``cancel``, the second raises `Abandoned` at once."""
    seen: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        seen.append(number)
        cancel.set()
        if len(seen) > 1:
            raise Abandoned(number)

    numbers = [getattr(signal, name) for name in _STOPPING if hasattr(signal, name)]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Request:
    """One request to the engine. Stopping it stops nothing else.

    It can be stopped from any thread, also while it waits for the engine: then ``cancel``, the
    engine's flag, is set when it begins. After its end, a stop does nothing, and ``cancel`` is
    clear.
    """

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._lock = threading.Lock()
        self._is_running = False
        self.is_stopped = False

    def stop(self) -> None:
        """End it as soon as possible, or when it begins."""
        with self._lock:
            self.is_stopped = True
            if self._is_running:
                self._cancel.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The engine works for it in this block; on the engine's thread."""
        with self._lock:
            self._is_running = True
            if self.is_stopped:
                self._cancel.set()
            else:
                self._cancel.clear()
        try:
            yield
        finally:
            with self._lock:
                self._is_running = False
                self._cancel.clear()

    def run(self, work: Callable[[], T]) -> T:
        """Do ``work`` while it is `running`."""
        with self.running():
            return work()


# Seconds between two batches. Drawing slows the decode: 2 ms of Python every 33 ms beside two
# spinning threads take a tenth of its speed. At 15 batches a second text still looks fluid, and the
# decode keeps 0.91 of its speed; at 20 it kept 0.87 (starter model, 2 cores).
INTERVAL = 1 / 15


class EngineWorker:
    """Runs all calls of an engine, one after the other, on one thread with a large stack.

    A context is not thread-safe; one thread needs no locks. It starts with the first call.
    """

    def __init__(self) -> None:
        from queue import SimpleQueue

        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._running = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the thread; returns or raises what it does."""
        import asyncio

        loop, done, call = asyncio.get_running_loop(), asyncio.Event(), Call(work)

        def job() -> None:
            call()
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(done.set)

        self._submit(job)
        await done.wait()
        return call.result()

    async def stream(
        self, generate: Callable[[], Iterator[Event]], request: Request
    ) -> AsyncGenerator[list[Event], None]:
        """Iterate ``generate()`` on the thread; yields its events in batches.

        The first piece of text, each `PromptProgress` and the end come at once, with all events
        before them; the rest come some 15 times a second. Closing it early stops ``request``; an
        error of the generator is raised here, after the last batch.
        """
        import asyncio

        events: deque[Event] = deque()
        hurry = asyncio.Event()
        loop = asyncio.get_running_loop()

        def pull() -> None:
            wrote = False
            for event in generate():
                events.append(event)
                first = not wrote and isinstance(event, ReplyDelta)
                if first or isinstance(event, PromptProgress):
                    wrote = wrote or first
                    loop.call_soon_threadsafe(hurry.set)

        job = asyncio.ensure_future(self.run(lambda: request.run(pull)))
        job.add_done_callback(lambda _: hurry.set())
        try:
            while not job.done() or events:
                with suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), INTERVAL)
                hurry.clear()
                if events:
                    yield [events.popleft() for _ in range(len(events))]
                if job.done() and not events:
                    break
            await job
        finally:
            if not job.done():
                request.stop()
                with suppress(Exception):
                    await job

    def close(self) -> None:
        """Let the thread end after its pending work."""
        if self._running:
            self._jobs.put(None)
            self._running = False

    def _submit(self, job: Callable[[], None]) -> None:
        if not self._running:
            self._running = True
            start_on_large_stack(self._work)
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
