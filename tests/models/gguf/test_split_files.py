"""Models in several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.models.metadata import read_metadata
from tests.models.gguf_builder import SOUND_TENSORS, U16, but, gguf, key, tensor


def write_parts(folder: Path, count: int = 3, *, empty_first: bool = False) -> list[Path]:
    """A sound model in ``count`` parts."""
    paths = []
    for number in range(count):
        keys = (key("split.no", U16, number), key("split.count", U16, count))
        if number == 0:
            tensors = () if empty_first else SOUND_TENSORS
            content = gguf(but(*keys), tensors, data=0 if empty_first else 192)
        else:
            content = gguf(keys, (tensor(f"blk.{number}.weight", (8, 8)),), data=256)
        path = folder / f"big-{number + 1:05}-of-{count:05}.gguf"
        path.write_bytes(content)
        paths.append(path)
    return paths


def test_the_first_part_stands_for_all(tmp_path: Path) -> None:
    first, *others = write_parts(tmp_path)
    metadata = read_metadata(first)
    assert metadata.parts == tuple(others)
    assert metadata.size == sum(path.stat().st_size for path in (first, *others))
    assert metadata.parameters == 32 + 16 + 64 + 64
    assert not metadata.refusal


def test_a_first_part_without_tensors_is_a_model_all_the_same(tmp_path: Path) -> None:
    metadata = read_metadata(write_parts(tmp_path, empty_first=True)[0])
    assert not metadata.refusal
    assert metadata.parameters == 128


def test_a_later_part_names_the_first(tmp_path: Path) -> None:
    second = write_parts(tmp_path)[1]
    with pytest.raises(ModelInvalid, match="part 2 of 3") as caught:
        read_metadata(second)
    assert caught.value.hint == "name the first part: big-00001-of-00003.gguf"


def test_missing_parts_are_named(tmp_path: Path) -> None:
    first, second, third = write_parts(tmp_path)
    second.unlink()
    third.unlink()
    with pytest.raises(
        ModelNotFound, match=r"missing: big-00002-of-00003\.gguf, big-00003-of-00003\.gguf"
    ):
        read_metadata(first)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    first, second, _ = write_parts(tmp_path)
    second.write_bytes(second.read_bytes()[:-8])
    with pytest.raises(ModelInvalid, match=r"big-00002-of-00003\.gguf is not usable"):
        read_metadata(first)


def test_a_renamed_part_is_told_how_it_must_be_named(tmp_path: Path) -> None:
    renamed = write_parts(tmp_path)[0].rename(tmp_path / "mine.gguf")
    with pytest.raises(ModelInvalid, match="one of 3 parts") as caught:
        read_metadata(renamed)
    assert "NAME-00001-of-00003.gguf" in caught.value.hint


def test_a_first_name_on_a_later_part_is_refused(tmp_path: Path) -> None:
    first, second, _ = write_parts(tmp_path)
    second.replace(first)
    with pytest.raises(ModelInvalid, match="of a model"):
        read_metadata(first)


def test_an_absurd_count_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-60000.gguf"
    path.write_bytes(gguf(but(key("split.count", U16, 60_000))))
    with pytest.raises(ModelInvalid, match="60,000 parts"):
        read_metadata(path)
