"""The bandwidth of weights on this CPU."""

from __future__ import annotations

import pytest

from tchat.engine.binding import RATE_MATRICES, backend, weights_rate


def test_llama_cpp_multiplies_gigabytes_a_second() -> None:
    assert weights_rate() > 1e8


def test_the_best_of_the_rounds_counts() -> None:
    seconds = iter([0.0, 0.5, 1.0, 1.25, *range(2, 1000)])
    matrices = RATE_MATRICES * 4096 * 4096 * 4.5 / 8
    assert weights_rate(lambda: next(seconds)) == pytest.approx(matrices / 0.25)


def test_a_build_that_hides_its_arithmetic_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        _lib = object()

    monkeypatch.setattr(backend(), "lib", Bare)
    assert weights_rate() == 0.0
