"""Batches of events for an event loop, from the engine thread; a stop belongs to one request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import EngineWorker, Request
from tchat.engine.events import Event, LoadProgress, TextDelta
from tchat.errors import UsageError


def tokens(count: int, pause: float = 0.0) -> Iterator[Event]:
    yield LoadProgress("m", 1.0)
    for number in range(count):
        time.sleep(pause)
        yield TextDelta(str(number))


async def test_all_events_arrive_in_order_and_in_few_batches() -> None:
    thread = EngineWorker()
    batches = [
        batch async for batch in thread.stream(lambda: tokens(500, 0.0005), Request(Cancel()))
    ]
    assert [event for batch in batches for event in batch] == list(tokens(500))
    assert len(batches) < 60
    thread.close()


async def test_the_first_token_does_not_wait_for_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tchat.engine.engine_thread.INTERVAL", 30.0)
    thread = EngineWorker()
    batch = await anext(aiter(thread.stream(lambda: tokens(3, 0.05), Request(Cancel()))))
    assert any(isinstance(event, TextDelta) for event in batch)
    thread.close()


async def test_an_error_comes_after_the_events_before_it() -> None:
    def failing() -> Iterator[Event]:
        yield TextDelta("a")
        raise UsageError("no")

    thread = EngineWorker()
    seen: list[Event] = []

    async def consume() -> None:
        async for batch in thread.stream(failing, Request(Cancel())):
            seen.extend(batch)

    with pytest.raises(UsageError, match="no"):
        await consume()
    assert seen == [TextDelta("a")]
    thread.close()


async def test_leaving_early_stops_the_generator_before_going_on() -> None:
    cancel = Cancel()
    ended = threading.Event()

    def until_cancelled() -> Iterator[Event]:
        try:
            while not cancel.is_set():
                time.sleep(0.001)
                yield TextDelta("x")
        finally:
            ended.set()

    thread = EngineWorker()
    request = Request(cancel)
    stream = thread.stream(until_cancelled, request)
    async for _ in stream:
        break
    await stream.aclose()
    assert request.is_stopped
    assert not cancel.is_set()  # it is over: what comes next is not stopped
    assert ended.is_set()
    thread.close()


async def test_everything_runs_on_one_thread_in_turn() -> None:
    thread = EngineWorker()
    names = await asyncio.gather(
        *(
            thread.run(lambda: (threading.get_ident(), threading.current_thread().name))
            for _ in "ab"
        )
    )
    assert len(set(names)) == 1
    assert names[0][1] == "engine"
    thread.close()


async def test_the_loop_is_free_meanwhile() -> None:
    thread = EngineWorker()
    slow = asyncio.ensure_future(thread.run(lambda: time.sleep(0.2)))
    ticks = 0
    while not slow.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5
    thread.close()


def test_a_stop_while_it_waits_holds_when_it_begins() -> None:
    cancel = Cancel()
    request = Request(cancel)
    request.stop()
    assert not cancel.is_set()  # what runs before it is not stopped
    with request.running():
        assert cancel.is_set()


def test_a_stop_while_it_runs_is_seen_at_once() -> None:
    cancel = Cancel()
    request = Request(cancel)
    with request.running():
        assert not cancel.is_set()
        request.stop()
        assert cancel.is_set()
    assert not cancel.is_set()


def test_a_late_stop_does_not_reach_the_next_one() -> None:
    cancel = Cancel()
    first, second = Request(cancel), Request(cancel)
    first.run(lambda: None)
    with second.running():
        first.stop()
        assert not cancel.is_set()
        assert not second.is_stopped


def test_a_stop_left_behind_is_over_when_another_begins() -> None:
    cancel = Cancel()
    cancel.set()
    with Request(cancel).running():
        assert not cancel.is_set()


def test_it_is_over_also_when_it_fails() -> None:
    cancel = Cancel()
    request = Request(cancel)

    def fails() -> None:
        request.stop()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        request.run(fails)
    assert not cancel.is_set()


def test_no_stop_is_lost_at_the_begin() -> None:
    """Whatever comes first, the stop or the begin: the flag is set while it runs."""
    cancel = Cancel()
    for _ in range(300):
        request, gate = Request(cancel), threading.Barrier(2)

        def stop(request: Request = request, gate: threading.Barrier = gate) -> None:
            gate.wait()
            request.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        gate.wait()
        with request.running():
            stopper.join()
            assert cancel.is_set()
