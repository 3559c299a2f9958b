"""Folders that a walk could hang in or fail of: pipes, links, endless paths, odd patterns."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tchat.chat.folder_files import read_folder
from tchat.errors import UsageError


def names(folder: Path) -> list[str]:
    return [Path(each.name).name for each in read_folder(folder).attachments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


def test_a_pipe_for_patterns_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / ".gitignore")
    assert names(folder) == ["a.txt"]


def test_a_link_for_patterns_is_not_followed(folder: Path) -> None:
    (folder / ".gitignore").symlink_to("/dev/zero")
    assert names(folder) == ["a.txt"]


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*a*a*b", "[z-a]", "\\", "!"])
def test_a_pattern_that_cannot_be_understood_is_told(folder: Path, pattern: str) -> None:
    (folder / ".gitignore").write_text(f"{pattern}\n")
    with pytest.raises(UsageError, match=r"\.gitignore cannot be understood"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["d", "d" * 100])
def test_folders_deeper_than_a_path_can_name(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for _ in range(5000 // (len(name) + 1)):
        os.mkdir(name)  # noqa: PTH102 - from here
        os.chdir(name)
    monkeypatch.chdir(folder)
    try:
        assert names(folder) == ["a.txt"]
    finally:  # pytest's own removal does not go so deep
        subprocess.run(["rm", "-rf", str(folder / name)], check=True)


def test_a_file_that_goes_during_the_walk_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> bool:
        path.unlink()
        return False

    monkeypatch.setattr("tchat.chat.folder_files._is_binary", gone)
    with pytest.raises(UsageError, match=r"there is no file .*a\.txt"):
        read_folder(folder)


def test_a_file_of_no_size_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kmsg").touch()  # in /proc, whose reader would wait
    opened: list[str] = []

    def look(path: Path) -> bool:
        opened.append(path.name)
        return False

    monkeypatch.setattr("tchat.chat.folder_files._is_binary", look)
    assert names(folder) == ["a.txt"]
    assert opened == ["a.txt"]


def test_another_file_system_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mounted").mkdir()
    (folder / "mounted" / "b.txt").write_text("b")
    monkeypatch.setattr(
        "tchat.chat.folder_files._device", lambda path: 2 if path.name == "mounted" else 1
    )
    assert "mounted/b.txt" not in names(folder)
