"""A model's judge on disk: heads, odd things in its folder, hostile lines."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest

from tchat.errors import StorageError, UsageError
from tchat.judge.discriminator import (
    Discriminator,
    JudgeFolder,
    TrainingProvenance,
    load,
    read_arrays,
    save,
    write_arrays,
)
from tchat.judge.linear_head import HeldOutQuality, fit_head
from tchat.judge.training import ReplyCache
from tests.judge.synthetic import LAYERS, features
from tests.judge.test_linear_head import examples


@pytest.fixture
def trained() -> Discriminator:
    given = examples(2.0)
    quality = HeldOutQuality(0.9, 0.05, 60, 60)
    facts = TrainingProvenance("m.gguf", "abc", "def", (60, 60), quality, {1: 0.9, 2: 0.5}, 1.5)
    return Discriminator(fit_head(given, LAYERS), facts)


def test_what_is_saved_is_loaded(trained: Discriminator, tmp_path: Path) -> None:
    path = tmp_path / "new" / "head.npz"
    save(trained, path)
    again = load(path)
    assert again is not None
    assert again.provenance == trained.provenance
    one = features(numpy.random.default_rng(4))
    assert again.head.score(one) == pytest.approx(trained.head.score(one))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["head.npz"]


def test_none_is_there_before_the_first_training(tmp_path: Path) -> None:
    assert load(tmp_path / "head.npz") is None


def refused(path: Path) -> None:
    with pytest.raises(UsageError, match="train it again") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def rewritten(path: Path, **changed: Any) -> None:
    with numpy.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    numpy.savez(path, **{**arrays, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": numpy.zeros(3)},
        {"weights": numpy.zeros((2, 2))},
        {"weights": numpy.array(["a"] * 27)},
        {"center": numpy.full(27, numpy.nan)},
        {"spread": numpy.zeros(27)},
        {"facts": numpy.frombuffer(b"{}", dtype=numpy.uint8)},
        {"facts": numpy.frombuffer(b"[1]", dtype=numpy.uint8)},
        {"facts": numpy.frombuffer(b"\xff", dtype=numpy.uint8)},
        {"facts": numpy.zeros(0, dtype=numpy.uint8)},
    ],
)
def test_a_file_with_other_content_is_refused(
    trained: Discriminator, tmp_path: Path, changed: dict[str, object]
) -> None:
    path = tmp_path / "head.npz"
    save(trained, path)
    rewritten(path, **changed)
    refused(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"layer": float("inf")},
        {"bias": float("nan")},
        {"slope": float("inf")},
        {"created_at": 1e300},
        {"created_at": -1e300},
        {"accuracy": float("nan")},
        {"quality": {"auc": "high", "calibration_error": 0.1, "positive": 1, "negative": 1}},
        {"quality": {"auc": 0.9}},
        {"quality": 7},
        {"layers": [1]},
        {"examples": 3},
        {"kind": ["human"]},
    ],
)
def test_a_file_with_other_facts_is_refused(
    trained: Discriminator, tmp_path: Path, changed: dict[str, object]
) -> None:
    path = tmp_path / "head.npz"
    save(trained, path)
    with numpy.load(path) as file:
        facts = json.loads(bytes(file["facts"]))
    encoded = json.dumps(facts | changed).encode()
    rewritten(path, facts=numpy.frombuffer(encoded, dtype=numpy.uint8))
    refused(path)


def test_an_array_that_says_it_is_larger_than_the_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 58,)}
    numpy.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("center.npy", buffer.getvalue())
    refused(path)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a pickle was run",))


def test_a_pickle_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "head.npz"
    array = numpy.array([Bomb()], dtype=object)
    numpy.savez(path, center=array, spread=array, weights=array, facts=array)
    refused(path)
    path.write_bytes(pickle.dumps(Bomb()))
    refused(path)
    assert capsys.readouterr().out == ""


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("center.npy", bytes(32 << 20))
    assert path.stat().st_size < 100_000
    refused(path)


def test_mutations_are_refused_or_harmless(trained: Discriminator, tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    save(trained, path)
    good = path.read_bytes()
    rng, one = random.Random(1), features(numpy.random.default_rng(4))
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bytes(bad[: rng.choice((len(bad), rng.randrange(len(bad)))) or 1]))
        with contextlib.suppress(UsageError):
            found = load(path)
            assert found is not None
            assert numpy.isfinite(found.head.score(one))


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    path = tmp_path / "head.npz"
    path.write_bytes(buffer.getvalue())
    refused(path)


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
from tchat.judge.training import ReplyCache
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
