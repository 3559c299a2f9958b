"""A full disk under each file that is written: the error names the file."""

from __future__ import annotations

import re
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from tchat.chat.editor import edit_text
from tchat.cli.line_history import _write as write_lines
from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError
from tchat.judge.discriminator import write_arrays
from tchat.judge.game.game_state import GameState
from tchat.judge.game.report import write_report
from tchat.judge.game.steering import Steering, write_control_vector
from tchat.judge.training import ReplyCache
from tchat.settings import find_key
from tchat.settings.load import set_value

WIDE = numpy.zeros(10_000)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _line_history(folder: Path) -> None:
    readline = pytest.importorskip("readline")
    readline.add_history("a line that is longer than the limit")
    try:
        write_lines(StoredFile(folder / "history", None, ""))
    finally:
        readline.clear_history()


WRITERS: dict[str, Callable[[Path], object]] = {
    "generations.jsonl": lambda folder: ReplyCache(folder / "generations.jsonl").put("a", 1, "b"),
    "human.npz": lambda folder: write_arrays(folder / "human.npz", {}, {"w": WIDE}),
    "game.gguf": lambda folder: write_control_vector(
        Steering({1: WIDE}), folder / "game.gguf", architecture="llama"
    ),
    "report.svg": lambda folder: write_report(folder, GameState(), None, [], []),
    "config.toml": lambda folder: set_value(folder / "config.toml", find_key("temp"), "0.5"),
    "prompt.md": lambda _: edit_text("a prompt that is longer", {"EDITOR": "true"}),
    "history": _line_history,
}


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_with_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(StorageError, match=rf"cannot write \S*{re.escape(name)}: ") as raised:
        WRITERS[name](tmp_path)
    assert "free some space" in str(raised.value)
