"""The engine thread: a large stack for llama.cpp, and signals that reach it within a decode."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from tchat.engine.cancel import Cancel
from tchat.errors import Abandoned, Interrupted

T = TypeVar("T")

# llama.cpp's tokenizers recurse through std::regex: 100 kB of one letter overflow 8 MB. Pages of
# the stack that are not touched cost nothing.
STACK_SIZES = (512 << 20, 64 << 20, 0)
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


class _Work(Generic[T]):
    """A call whose outcome is kept."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001  it is raised again by the waiting thread
            self._error = error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


def run_on_engine_thread(work: Callable[[], T], cancel: Cancel) -> T:
    """Run ``work``, a whole consumption loop, on a thread with a large stack.

    The main thread only waits, so a signal is handled at once, even while the engine is inside a
    decode: SIGINT, SIGTERM and SIGHUP set ``cancel``, and the work ends by itself, its partial
    reply stored. A second signal does not wait for that.

    Raises:
        Interrupted: A signal came; raised after the work has ended.
        Abandoned: A second signal came; the work goes on.
    """
    outcome = _Work(work)
    with _signals(cancel) as seen:
        thread = start_thread(outcome)
        while thread.is_alive():
            thread.join(0.5)
    if seen:
        raise Interrupted(seen[0])
    return outcome.outcome()


def on_large_stack(work: Callable[[], T]) -> T:
    """The result of ``work``, done on a thread with a large stack; raises what it raises."""
    outcome = _Work(work)
    start_thread(outcome).join()
    return outcome.outcome()


def start_thread(work: Callable[[], None]) -> threading.Thread:
    """A daemon thread running ``work``, with the largest stack that the system grants."""
    for size in STACK_SIZES:
        before = threading.stack_size(size)
        try:
            thread = threading.Thread(target=work, name="engine", daemon=True)
            thread.start()
        except RuntimeError:
            continue
        else:
            return thread
        finally:
            threading.stack_size(before)
    raise MemoryError("no thread can be started")


@contextmanager
def _signals(cancel: Cancel) -> Iterator[list[int]]:
    """Collect stopping signals; each sets ``cancel``, the second raises `Abandoned` at once."""
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
