"""The hub's cache is shared: what another program planted there is neither trusted nor followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tchat.models.hub.errors import HubError
from tchat.models.hub.pull_events import CheckingFile, Pulled
from tests.models.hub_server import HubServer
from tests.models.pulling import DATA, REPO, Desk, of


def pulled(desk: Desk) -> Pulled:
    end = desk.pull()[-1]
    assert isinstance(end, Pulled)
    return end


def pulled_bytes(desk: Desk) -> bytes:
    return pulled(desk).paths[0].read_bytes()


def plant(desk: Desk, data: bytes) -> None:
    desk.blob().parent.mkdir(parents=True, exist_ok=True)
    desk.blob().write_bytes(data)


def test_a_planted_content_of_the_right_size_is_replaced(desk: Desk) -> None:
    plant(desk, b"x" * len(DATA))
    end = pulled(desk)
    assert end.fetched == len(DATA)
    assert end.paths[0].read_bytes() == DATA


def test_a_right_content_is_read_once_and_then_known(desk: Desk) -> None:
    plant(desk, DATA)
    first, second = desk.pull(), desk.pull()
    assert of(CheckingFile, first)
    assert not of(CheckingFile, second)
    assert desk.server.sent() == 0


def test_what_was_pulled_is_not_read_again(desk: Desk) -> None:
    desk.pull()
    assert not of(CheckingFile, desk.pull())


def test_a_content_that_changed_since_is_fetched_again(desk: Desk) -> None:
    desk.pull()
    status = desk.blob().stat()
    desk.blob().write_bytes(b"y" * len(DATA))
    os.utime(desk.blob(), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pulled_bytes(desk) == DATA


def test_a_wrong_file_in_the_snapshot_is_replaced(desk: Desk) -> None:
    """Where the file system knows no links, the snapshot holds the file itself."""
    path = pulled(desk).paths[0]
    path.unlink()
    desk.blob().unlink()
    path.write_bytes(b"z" * len(DATA))
    assert pulled_bytes(desk) == DATA


def test_without_the_hub_a_damaged_content_is_not_given(desk: Desk, hub_server: HubServer) -> None:
    desk.pull()
    desk.blob().write_bytes(b"x" * len(DATA))
    hub_server.close()
    with pytest.raises(HubError, match="cannot reach"):
        desk.pull()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "dangling symlink"])
def test_a_planted_link_does_not_overwrite_its_target(
    desk: Desk, kind: str, tmp_path: Path
) -> None:
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    desk.incomplete().parent.mkdir(parents=True, exist_ok=True)
    if kind == "hard link":
        desk.incomplete().hardlink_to(victim)
    else:
        target = victim if kind == "symlink" else tmp_path / "made.txt"
        desk.incomplete().symlink_to(target)
    assert pulled_bytes(desk) == DATA
    assert victim.read_text() == "mine"
    assert not (tmp_path / "made.txt").exists()


def test_a_planted_fifo_does_not_hang_the_download(desk: Desk) -> None:
    desk.incomplete().parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(desk.incomplete())
    assert pulled_bytes(desk) == DATA


def test_a_planted_link_for_a_reference_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    victim = tmp_path / "notes.txt"
    victim.write_text("mine")
    references = desk.cache.folder(REPO) / "refs"
    references.mkdir(parents=True)
    (references / "main").symlink_to(victim)
    desk.pull()
    assert victim.read_text() == "mine"
    assert (references / "main").read_text() == desk.server.repositories[REPO].commit
