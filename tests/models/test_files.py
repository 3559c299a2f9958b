"""Paths that are no model files, each told in one line and without waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tchat.errors import ModelError, ModelInvalid, ModelNotFound
from tchat.models.files import file_key, label, open_regular


def test_the_key_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"one")
    first = file_key(path)
    assert file_key(path) == first
    path.write_bytes(b"three")
    assert file_key(path) != first


def test_a_folder_names_the_models_in_it(tmp_path: Path) -> None:
    (tmp_path / "b.gguf").touch()
    (tmp_path / "a.gguf").touch()
    with pytest.raises(ModelInvalid, match="is a folder") as caught:
        open_regular(tmp_path)
    assert caught.value.hint == "name a file in it: a.gguf, b.gguf"


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(ModelInvalid, match=r"pipe\.gguf is a FIFO"):
        open_regular(path)


def test_a_fifo_that_takes_a_files_place_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    monkeypatch.setattr("tchat.models.files.file_key", lambda path: None)
    with pytest.raises(ModelInvalid, match="is a FIFO"):
        open_regular(path)


def test_a_device_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="character device"):
        open_regular(Path("/dev/zero"))


def test_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.gguf")
        with pytest.raises(ModelInvalid, match="is a socket"):
            open_regular(Path("s.gguf"))


def test_a_broken_link_is_told_as_one(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(ModelNotFound, match="link to a file that is gone"):
        open_regular(link)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "missing.gguf", "file/below"])
def test_impossible_names_are_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError) as caught:
        open_regular(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_loop_of_links_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ModelError):
        open_regular(tmp_path / "a")


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.gguf"
    path.touch()

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # chmod does not stop root

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(ModelInvalid, match="may not be read"):
        open_regular(path)


def test_labels_are_safe_to_print(tmp_path: Path) -> None:
    assert "\x1b" not in label(tmp_path / "\x1b[31mred\n.gguf")
