"""Files that only the user may read, also in folders where others write."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import StorageError, UsageError
from tchat.private_files import write_new, write_private


def test_nothing_that_others_put_there_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "export.md"
    victim.write_text("of the user")
    (tmp_path / f".export.md.{os.getpid()}.part").symlink_to(victim)
    write_private(target, b"text")
    monkeypatch.setattr(os, "urandom", bytes)  # even where the name was guessed
    (tmp_path / f".other.md.{os.getpid()}0000000000.part").symlink_to(victim)
    for put in (write_private, write_new):
        with pytest.raises(StorageError, match=r"other\.md"):
            put(tmp_path / "other.md", b"text")
    assert victim.read_text() == "of the user"
    assert (target.read_bytes(), target.is_symlink()) == (b"text", False)
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_new_file_never_replaces_one_that_came_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "export.md"

    def pieces() -> Iterator[bytes]:
        target.write_text("of another process")
        yield b"text"

    with pytest.raises(UsageError, match="already there"):
        write_new(target, pieces())
    assert target.read_text() == "of another process"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_new_file_needs_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    target = tmp_path / "export.md"

    def refuse(*_: object) -> None:
        if is_there:
            target.write_text("of another process")
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    if is_there:
        with pytest.raises(UsageError, match="already there"):
            write_new(target, b"text")
    else:
        write_new(target, b"text")
    assert target.read_text() == ("of another process" if is_there else "text")
    assert list(tmp_path.iterdir()) == [target]


def test_threads_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    contents = [bytes([65 + number]) * 300_000 for number in range(4)]
    faults: list[BaseException] = []

    def write(data: bytes) -> None:
        try:
            for _ in range(5):
                write_private(target, (data[:100_000], data[100_000:]))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]
