"""Requests: a stop belongs to one of them."""

from __future__ import annotations

import threading

import pytest

from tchat.engine.cancel import Cancel, Request


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
