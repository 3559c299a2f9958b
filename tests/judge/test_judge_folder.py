"""What is kept for a model: odd things in its folder, hostile lines, two trainings at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.judge.discriminator import JudgeFolder
from tchat.judge.generate_replies import ReplyCache
from tchat.judge.npz import read_arrays, write_arrays


def test_what_is_no_game_among_the_games_is_passed_over(tmp_path: Path) -> None:
    folder = JudgeFolder(tmp_path, "f")
    assert folder.games() == []
    for name in ("warm", "cold", ".trash", "a b"):
        (tmp_path / "games" / name).mkdir(parents=True)
    (tmp_path / "games" / "notes.txt").write_text("mine")
    assert folder.games() == ["cold", "warm"]


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"prompt": "a", "number": Infinity, "reply": "b"}',
        b'{"prompt": "a", "number": [], "reply": "b"}',
        b'{"prompt": "a", "num',
        b"\xff\xfe",
        b"7",
    ],
)
def test_a_damaged_line_costs_its_reply_only(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "generations.jsonl"
    ReplyCache(path).put("before", 0, "one")
    path.write_bytes(path.read_bytes() + line)
    ReplyCache(path).put("after", 1, "two")
    kept = ReplyCache(path)
    assert (kept.get("before", 0), kept.get("after", 1)) == ("one", "two")


ADD = """
import sys
from pathlib import Path
from tchat.judge.generate_replies import ReplyCache
kept = ReplyCache(Path(sys.argv[1]))
for number in range(100):
    kept.put(sys.argv[2], number, sys.argv[2] * 20_000)
"""


def test_two_trainings_at_a_time_keep_all_that_both_wrote(tmp_path: Path) -> None:
    path = tmp_path / "generations.jsonl"
    both = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in "ab"]
    assert [each.wait(60) for each in both] == [0, 0]
    kept = ReplyCache(path)
    assert all(kept.get(name, n) == name * 20_000 for name in "ab" for n in range(100))


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head.npz"
    write_arrays(path, {"a": 1}, {})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        write_arrays(path, {"a": 2}, {})
    assert "free some space" in str(caught.value)
    assert read_arrays(path)[0] == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["head.npz"]
