"""The hub's cache is shared: what another program planted there is neither trusted nor followed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.models.hub.cache import HubCache
from tchat.models.hub.client import HubError
from tchat.models.hub.download import CheckingFile
from tchat.models.hub.pull import Pulled
from tchat.models.hub.repository import RepoFile
from tests.models.hub.pull_stage import DATA, REPO, PullStage, of
from tests.models.hub_server import HubServer


def pulled(pull_stage: PullStage) -> Pulled:
    end = pull_stage.pull()[-1]
    assert isinstance(end, Pulled)
    return end


def pulled_bytes(pull_stage: PullStage) -> bytes:
    return pulled(pull_stage).paths[0].read_bytes()


def plant(pull_stage: PullStage, data: bytes) -> None:
    pull_stage.blob().parent.mkdir(parents=True, exist_ok=True)
    pull_stage.blob().write_bytes(data)


def test_a_read_only_cache_is_told_by_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    file = RepoFile("user/repo", "0" * 40, "main", "a.gguf", 1, "", "b" * 40)
    cache = HubCache(tmp_path)
    with pytest.raises(StorageError) as caught:
        cache.write_ref(file)
    told = f"cannot write {cache.folder('user/repo')}/refs/main: Read-only file system;"
    assert str(caught.value).startswith(told)


def test_a_planted_content_of_the_right_size_is_replaced(pull_stage: PullStage) -> None:
    plant(pull_stage, b"x" * len(DATA))
    end = pulled(pull_stage)
    assert end.fetched == len(DATA)
    assert end.paths[0].read_bytes() == DATA


def test_a_right_content_is_read_once_and_then_known(pull_stage: PullStage) -> None:
    plant(pull_stage, DATA)
    first, second = pull_stage.pull(), pull_stage.pull()
    assert of(CheckingFile, first)
    assert not of(CheckingFile, second)
    assert pull_stage.server.sent() == 0


def test_what_was_pulled_is_not_read_again(pull_stage: PullStage) -> None:
    pull_stage.pull()
    assert not of(CheckingFile, pull_stage.pull())


def test_a_content_that_changed_since_is_fetched_again(pull_stage: PullStage) -> None:
    pull_stage.pull()
    status = pull_stage.blob().stat()
    pull_stage.blob().write_bytes(b"y" * len(DATA))
    os.utime(pull_stage.blob(), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pulled_bytes(pull_stage) == DATA


def test_a_wrong_file_in_the_snapshot_is_replaced(pull_stage: PullStage) -> None:
    """Where the file system knows no links, the snapshot holds the file itself."""
    path = pulled(pull_stage).paths[0]
    path.unlink()
    pull_stage.blob().unlink()
    path.write_bytes(b"z" * len(DATA))
    assert pulled_bytes(pull_stage) == DATA


def test_without_the_hub_a_damaged_content_is_not_given(
    pull_stage: PullStage, hub_server: HubServer
) -> None:
    pull_stage.pull()
    pull_stage.blob().write_bytes(b"x" * len(DATA))
    hub_server.close()
    with pytest.raises(HubError, match="cannot reach"):
        pull_stage.pull()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "dangling symlink"])
def test_a_planted_link_does_not_overwrite_its_target(
    pull_stage: PullStage, kind: str, tmp_path: Path
) -> None:
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    pull_stage.incomplete().parent.mkdir(parents=True, exist_ok=True)
    if kind == "hard link":
        pull_stage.incomplete().hardlink_to(victim)
    else:
        target = victim if kind == "symlink" else tmp_path / "made.txt"
        pull_stage.incomplete().symlink_to(target)
    assert pulled_bytes(pull_stage) == DATA
    assert victim.read_text() == "mine"
    assert not (tmp_path / "made.txt").exists()


def test_a_planted_fifo_does_not_hang_the_download(pull_stage: PullStage) -> None:
    pull_stage.incomplete().parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pull_stage.incomplete())
    assert pulled_bytes(pull_stage) == DATA


def test_a_planted_link_for_a_reference_is_not_followed(
    pull_stage: PullStage, tmp_path: Path
) -> None:
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    references = pull_stage.cache.folder(REPO) / "refs"
    references.mkdir(parents=True)
    (references / "main").symlink_to(victim)
    pull_stage.pull()
    assert victim.read_text() == "mine"
    assert (references / "main").read_text() == pull_stage.server.repositories[REPO].commit
