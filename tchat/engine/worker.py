"""The engine for an event loop: one thread does the work and hands events over in batches."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

from tchat.engine.cancel import Request
from tchat.engine.engine_thread import start_on_large_stack
from tchat.engine.events import Event, PromptProgress, Reasoning, Token

T = TypeVar("T")

# Seconds between two batches. Drawing slows the decode: 2 ms of Python every 33 ms beside two
# spinning threads take a tenth of its speed. At 15 batches a second text still looks fluid, and the
# decode keeps 0.91 of its speed; at 20 it kept 0.87 (starter model, 2 cores).
INTERVAL = 1 / 15


class EngineWorker:
    """Runs all calls of an engine, one after the other, on one thread with a large stack.

    A context is not thread-safe; one thread needs no locks. It starts with the first call.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._running = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the thread; returns or raises what it does."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # set together with no error

        def job() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as caught:  # noqa: BLE001  it is raised by whoever waits
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(settle, result, error)

        self._submit(job)
        return await done

    async def stream(
        self, generate: Callable[[], Iterator[Event]], request: Request
    ) -> AsyncGenerator[list[Event], None]:
        """Iterate ``generate()`` on the thread; yields its events in batches.

        The first piece of text, each `PromptProgress` and the end come at once, with all events
        before them; the rest come some 15 times a second. Closing it early
        stops ``request``; an error of the generator is raised here, after the last batch.
        """
        events: deque[Event] = deque()
        hurry = asyncio.Event()
        loop = asyncio.get_running_loop()

        def pull() -> None:
            wrote = False
            for event in generate():
                events.append(event)
                first = not wrote and isinstance(event, Token | Reasoning)
                if first or isinstance(event, PromptProgress):
                    wrote = wrote or first
                    loop.call_soon_threadsafe(hurry.set)

        job = asyncio.ensure_future(self.run(lambda: request.run(pull)))
        job.add_done_callback(lambda _: hurry.set())
        try:
            while not job.done() or events:
                with contextlib.suppress(TimeoutError):
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
                with contextlib.suppress(Exception):
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
