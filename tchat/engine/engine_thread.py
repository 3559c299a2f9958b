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


class Call(Generic[T]):
    """A call that keeps its outcome for another thread.

    (``concurrent.futures`` takes 5 ms to import.)

    Attributes:
        made: What the call returned, if it did.
        error: What it raised, if it did.
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
    """Run ``work`` on a thread with a large stack; returns or raises what it does.

    Raises:
        MemoryError: As of `start_on_large_stack`.
    """
    call = Call(work)
    start_on_large_stack(call, least=least)
    return call.result()


def start_on_large_stack(work: Callable[[], None], *, least: int = 0) -> None:
    """Run ``work``, which must not raise, on a daemon thread with the largest stack granted.

    Args:
        work: What is run.
        least: Bytes that the stack must have.

    Raises:
        MemoryError: No thread can be started, or none with such a stack.
    """

    def run() -> None:
        threading.current_thread().name = "engine"
        work()

    for size in STACK_SIZES:
        if size < least:
            continue
        # The system grants no such stack, or Python refuses the number.
        with suppress(RuntimeError, ValueError):
            _start(run, size)
            return
    raise MemoryError("no thread can be started")


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
