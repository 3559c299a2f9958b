"""The interpreter's limit of frames is raised for work that nests deeply, and only for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from tchat.engine.grammar.validate import with_deep_stack

FRAMES_OF_8_MB = 20_000  # that other threads hold, whose guard the limit is too


def nested(then: Callable[[], int]) -> Callable[[], int]:
    """Work that is too deep for the first stack; ``then`` is its second try."""
    tried: list[None] = []

    def work() -> int:
        if not tried:
            tried.append(None)
            raise RecursionError
        return then()

    return work


def _depth(levels: int) -> int:
    return 1 + _depth(levels - 1) if levels else 0


def test_deep_work_is_done_again_with_more_frames() -> None:
    assert with_deep_stack(lambda: _depth(5_000)) == 5_000


def test_the_limit_of_frames_still_guards_other_threads() -> None:
    assert sys.getrecursionlimit() < with_deep_stack(nested(sys.getrecursionlimit)) < FRAMES_OF_8_MB


def test_overlapping_work_leaves_the_limit_as_it_was() -> None:
    before = sys.getrecursionlimit()
    first_runs, first_ended = threading.Event(), threading.Event()

    def first() -> int:
        first_runs.set()
        return first_ended.wait(0.3)  # the second begins meanwhile

    def second() -> int:
        return first_ended.wait(5)

    def run_first() -> None:
        with_deep_stack(nested(first))
        first_ended.set()

    other = threading.Thread(target=run_first)
    other.start()
    assert first_runs.wait(5)
    assert with_deep_stack(nested(second))
    other.join(5)
    assert sys.getrecursionlimit() == before


def test_deep_work_within_deep_work_ends() -> None:
    def within() -> int:
        return with_deep_stack(nested(lambda: 1))

    with pytest.raises(RecursionError):
        with_deep_stack(nested(within))


def test_without_a_large_stack_the_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tchat.engine.engine_thread.STACK_SIZES", (0,))
    with pytest.raises(RecursionError):
        with_deep_stack(lambda: _depth(5_000))
