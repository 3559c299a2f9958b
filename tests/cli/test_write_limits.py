"""A disk that takes only so many bytes of a file: told in one line, and nothing stored is lost."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, tchat

STEP = 4096  # bytes; SQLite writes whole pages
SHORT = (0, 1, 4096, 16_384, 40_960)


def asked_with_room_for(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command while no file may grow beyond ``limit`` bytes, as on a disk that is full."""
    return subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def survives(home: Path, limit: int) -> bool:
    """Whether the disk stood in the way. Fails where more than the new message is lost."""
    before = messages(home)
    ran = asked_with_room_for(limit, "-c", "again", "--max-tokens", "3")
    assert ran.returncode in (0, 6), ran.stderr
    assert not re.search("Traceback|unexpected|report it", ran.stderr)
    assert before == messages(home)[: len(before)]
    assert tchat("-c", "more", "--max-tokens", "2").code == 0
    assert messages(home)[-2][1] == "more"
    assert not list(home.rglob("*.corrupt-*"))
    return ran.returncode == 6


def messages(home: Path) -> list[tuple[int, str]]:
    with SessionStore(home / "sessions.db") as store:
        return [(message.id, message.text) for message in store.branch(store.sessions()[0].id)]


def run(home: Path, kept: Path, limits: tuple[int, ...], told: Callable[[str, int], None]) -> None:
    assert tchat("first", "--max-tokens", "3").code == 0
    shutil.copytree(home, kept)
    refused = 0
    for limit in limits:
        shutil.rmtree(home)
        shutil.copytree(kept, home)
        refused += survives(home, limit)
    assert refused
    told("runs", len(limits))
    told("refused", refused)


def test_a_full_disk_is_told_and_costs_nothing_that_was_stored(
    tiny_home: Path, tmp_path: Path, record: Callable[[str, int], None]
) -> None:
    run(tiny_home, tmp_path / "kept", SHORT, record)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_disk_that_is_full_at_any_page(
    tiny_home: Path, tmp_path: Path, record: Callable[[str, int], None]
) -> None:
    run(tiny_home, tmp_path / "kept", tuple(range(0, 40 * STEP, STEP)), record)
