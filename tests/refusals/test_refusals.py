"""Wherever llama.cpp refuses: one clear line, nothing lost, and the next prompt works."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.refusals.report import LONG, report


def test_a_refusal_costs_one_line_and_nothing_else(record: Callable[[str, int], None]) -> None:
    found = report()
    record("refusals", found.tried)
    assert (found.problems, found.unknown) == ([], [])
    assert found.tried >= 150
    assert len(found.functions) >= 25


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(LONG))
def test_every_single_call_may_be_refused(part: int, record: Callable[[str, int], None]) -> None:
    found = report("every", part, LONG)
    record("refusals", found.tried)
    assert (found.problems, found.unknown) == ([], [])
