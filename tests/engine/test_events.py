"""What the events of a reply tell."""

from __future__ import annotations

import pytest

from tchat.engine.events import Timings


@pytest.mark.parametrize(
    ("tokens", "seconds", "rate"),
    [(1, 0.000025, 0), (40, 0.0, 0), (12, 0.5, 24), (1, 2.0, 0.5)],
)
def test_a_rate_is_told_where_the_time_was_long_enough_to_tell(
    tokens: int, seconds: float, rate: float
) -> None:
    assert Timings.rate(tokens, seconds) == rate
