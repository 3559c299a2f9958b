"""Random mutations of good files through everything that reads them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.chat.model import probe_command
from tchat.errors import ModelError
from tchat.models.gguf.details import read_details
from tchat.models.gguf.header_parser import read_header
from tchat.models.library import Library, LibraryModel
from tchat.models.models_file import register
from tchat.models.verify import VerifyResult
from tchat.paths import user_paths
from tests.models.gguf.test_header_parser import mutated
from tests.tiny import write_tiny


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


def listed(library: Library, path: Path) -> LibraryModel:
    return next(row for row in library.models() if row.path == path)


def survive(folder: Path, rounds: int) -> None:
    """List and show mutations of one file."""
    path = write_tiny(folder / "model.gguf")
    contents = list(mutations(path, rounds, 5))
    register(user_paths(), [path])
    with Library(user_paths(), build="b") as library:
        for content in contents:
            path.unlink()  # else the time of change may be the same
            path.write_bytes(content)
            row = listed(library, path)
            assert "\n" not in row.verdict
            assert shown(path) == (row.metadata is not None)


def test_mutations_are_listed_and_shown(tmp_path: Path, record: Callable[[str, int], None]) -> None:
    record("mutated files", 200)
    survive(tmp_path, 200)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_mutations_are_listed_and_shown(
    tmp_path: Path, record: Callable[[str, int], None]
) -> None:
    record("mutated files", 10_000)
    survive(tmp_path, 10_000)


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
            if row.metadata is None or row.metadata.refusal:
                continue
            loaded += 1
            events = library.verify(str(path), probe_command, content=False)
            findings = [event for event in events if isinstance(event, VerifyResult)]
            assert findings[-1].topic != "header"
            assert all("\n" not in finding.text for finding in findings if finding.topic == "load")
            if loaded == 100:
                break
    assert loaded == 100
