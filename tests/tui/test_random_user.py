"""Random users: whatever they do, in whatever order, the chat goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.models.sources import starter

from .random_user import LIMITS, let_loose, tiny_settings

SHORT = LIMITS[:-1]  # to count a draft behind 2,000 messages takes seconds
LONGEST = (*LIMITS, 10_000)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub is asked, and what is exported goes into a folder of the test's.

    No starter model is installed: whoever chooses it waits a minute for a long session to be read.
    """
    monkeypatch.setattr(starter, "STARTER_PACKAGE", "tchat_no_such_package")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "sizes"), [(1, SHORT), (2, SHORT), (3, LIMITS)])
async def test_a_hundred_steps(tmp_path: Path, seed: int, sizes: tuple[int, ...]) -> None:
    await let_loose(tiny_settings(tmp_path), 100, seed, sizes)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 150))
async def test_ten_thousand_steps(tmp_path: Path, seed: int) -> None:
    await let_loose(tiny_settings(tmp_path), 200, seed, LONGEST)
