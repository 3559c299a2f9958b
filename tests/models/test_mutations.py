"""Random mutations of good files through everything that reads them."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.chat.model import probe_command
from tchat.errors import ModelError
from tchat.models.details import read_details
from tchat.models.examination import Finding
from tchat.models.facts import read_facts
from tchat.models.gguf import read_header
from tchat.models.library import Library, ModelRow
from tchat.models.models_file import register
from tchat.paths import user_paths
from tests.models.test_gguf import mutated
from tests.tiny import write_tiny

LIMIT = 0.1  # seconds


def mutations(path: Path, rounds: int, seed: int) -> Iterator[bytes]:
    draw = random.Random(seed)
    original, header = path.read_bytes(), read_header(path).data_offset
    for _ in range(rounds):
        yield mutated(original, header, draw)


def shown(path: Path) -> bool:
    """Whether the file has details to show."""
    try:
        read_details(path)
    except ModelError:
        return False
    return True


def listed(library: Library, path: Path) -> tuple[ModelRow, float]:
    """The row of the file, and the seconds that its header took: the least of three when slow."""
    row = next(row for row in library.models() if row.path == path)
    took = []
    while len(took) < 3 and (not took or took[-1] > LIMIT):
        start = time.perf_counter()
        with contextlib.suppress(ModelError):
            read_facts(path)
        took.append(time.perf_counter() - start)
    return row, min(took)


def survive(folder: Path, rounds: int) -> list[float]:
    """List and show mutations of one file; the seconds that each header took."""
    path = write_tiny(folder / "model.gguf")
    seconds = []
    contents = list(mutations(path, rounds, 5))
    register(user_paths(), [path])
    with Library(user_paths(), build="b") as library:
        for content in contents:
            path.unlink()  # else the time of change may be the same
            path.write_bytes(content)
            row, took = listed(library, path)
            seconds.append(took)
            assert "\n" not in row.verdict
            assert shown(path) == (row.facts is not None)
    return seconds


def test_mutations_are_listed_and_shown(tmp_path: Path) -> None:
    survive(tmp_path, 200)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_mutations_are_listed_and_shown(tmp_path: Path) -> None:
    seconds = survive(tmp_path, 10_000)
    print(f"median {statistics.median(seconds) * 1e3:.2f} ms, max {max(seconds) * 1e3:.1f} ms")
    assert max(seconds) < LIMIT


@pytest.mark.long
@pytest.mark.timeout(900)
def test_mutations_that_pass_the_header_never_reach_the_caller(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "model.gguf")
    contents = list(mutations(path, 1500, 6))
    loaded = 0
    with Library(user_paths(), build="b") as library:
        for content in contents:
            path.unlink()
            path.write_bytes(content)
            row = library.find(str(path))
            if row.facts is None or row.facts.refusal:
                continue
            loaded += 1
            events = library.check(str(path), probe_command, content=False)
            findings = [event for event in events if isinstance(event, Finding)]
            assert findings[-1].topic != "header"
            assert all("\n" not in finding.text for finding in findings if finding.topic == "load")
            if loaded == 100:
                break
    assert loaded == 100
