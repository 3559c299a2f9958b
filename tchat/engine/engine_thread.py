"""The engine thread: a large stack for llama.cpp, and signals that stop a decode."""

from __future__ import annotations

import _thread
import operator
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Generic, TypeVar

from tchat.engine.cancel import Cancel
from tchat.errors import Abandoned, Interrupted, StorageError

T = TypeVar("T")

# llama.cpp's tokenizers recurse through std::regex: 100 kB of one letter overflow a stack of 8 MB.
# Untouched pages of a stack take no memory.
STACK_SIZES = (512 << 20, 64 << 20, 0)
_STARTING = threading.Lock()
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


class _Call(Generic[T]):
    """A call that keeps its outcome."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001  it is raised again by the waiting thread
            self._error = error

    @property
    def storage_error(self) -> StorageError | None:
        """A storage error, which a signal must not hide."""
        return self._error if isinstance(self._error, StorageError) else None

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


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
    outcome = _Call(work)
    with _signals(cancel) as seen:
        thread = LargeStackThread(outcome)
        while thread.is_alive():
            thread.join(0.5)
    if seen and outcome.storage_error is None:
        raise Interrupted(seen[0])
    return outcome.outcome()


def on_large_stack(work: Callable[[], T], *, least: int = 0) -> T:
    """Run ``work`` on a thread with a large stack; returns or raises what it does.

    Raises:
        MemoryError: The system grants no stack of ``least`` bytes.
    """
    outcome = _Call(work)
    LargeStackThread(outcome, least=least).join()
    return outcome.outcome()


class LargeStackThread:
    """A daemon thread that runs ``work`` with the largest stack that the system grants.

    Args:
        work: Must not raise.
        least: Bytes that its stack must have.

    Raises:
        MemoryError: No thread can be started, or none with such a stack.
    """

    def __init__(self, work: Callable[[], None], *, least: int = 0) -> None:
        self._work = work
        self._ended = threading.Event()
        for size in STACK_SIZES:
            if size < least:
                continue
            # The system grants no such stack, or Python refuses the number.
            with suppress(RuntimeError, ValueError):
                _start(self._run, size)
                return
        raise MemoryError("no thread can be started")

    def is_alive(self) -> bool:
        """Whether it is running."""
        return not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, ``timeout`` seconds at most."""
        self._ended.wait(timeout)

    def _run(self) -> None:
        threading.current_thread().name = "engine"
        try:
            self._work()
        finally:
            self._ended.set()


def _start(run: Callable[[], None], size: int) -> None:
    """Start a thread with a stack of ``size`` bytes; other new threads keep the default.

    The size is global to the process. So one loop in C, which keeps the GIL, sets it, starts the
    thread and resets it; in a Python loop, other threads could start one in between.
    """
    with _STARTING:
        before = threading.stack_size()
        steps = (
            partial(threading.stack_size, size),
            partial(_thread.start_new_thread, run, ()),
            partial(threading.stack_size, before),
        )
        try:
            deque(map(operator.call, steps), maxlen=0)
        finally:
            threading.stack_size(before)


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
