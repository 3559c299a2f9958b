"""Wherever llama.cpp refuses: one clear line, nothing lost, and the next prompt works."""

from __future__ import annotations

import pytest

from tests.refusals.report import ALL, SOME, report


def test_a_refusal_costs_one_line_and_nothing_else() -> None:
    found = report(SOME)
    print(found)
    assert (found.problems, found.unknown) == ([], [])
    assert found.tried >= 150
    assert len(found.functions) >= 25


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_single_call_may_be_refused() -> None:
    found = report(ALL)
    print(found)
    assert (found.problems, found.unknown) == ([], [])
