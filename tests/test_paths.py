"""Where things live, and who may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.paths import user_paths
from tchat.private_files import private_file, private_folder


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_tchat_home_holds_everything(tmp_path: Path) -> None:
    paths = user_paths({"TCHAT_HOME": str(tmp_path)})
    assert all(path.is_relative_to(tmp_path) for _, path in paths)


def test_asking_for_a_path_makes_nothing(tmp_path: Path) -> None:
    list(user_paths({"TCHAT_HOME": str(tmp_path / "new")}))
    assert not (tmp_path / "new").exists()


def test_made_folders_and_files_are_the_users_alone(tmp_path: Path, umask: int) -> None:
    file = private_file(tmp_path / "home" / "cache" / "models.db")
    assert mode(file) == 0o600
    assert mode(file.parent) == mode(file.parent.parent) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    private_file(shared / "sessions.db")
    assert mode(shared) == 0o755


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the folder"):
        private_folder(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot make the folder"):
        private_folder(tmp_path / "file" / "below")
