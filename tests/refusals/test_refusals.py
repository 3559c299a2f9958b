"""Wherever llama.cpp refuses: one clear line, nothing lost, and the next prompt works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.refusals.report import LONG, report


def test_a_refusal_costs_one_line_and_nothing_else(
    tmp_path: Path, record: Callable[[str, int], None]
) -> None:
    found = report(tmp_path)
    record("refusals", found.tried)
    assert (found.problems, found.unknown) == ([], [])
    assert found.tried >= 150
    assert len(found.functions) >= 25


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(LONG))
def test_every_single_call_may_be_refused(
    tmp_path: Path, part: int, record: Callable[[str, int], None]
) -> None:
    found = report(tmp_path, "every", part, LONG)
    record("refusals", found.tried)
    assert (found.problems, found.unknown) == ([], [])
