"""``tchat models rm``, ``dupes`` and ``du``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.shell import Shell
from tests.models.gguf_builder import U16, but, gguf, key
from tests.models.model_folders import chat_model, hub_file, ollama_model

REPO = "Qwen/Qwen3-GGUF"
NAME = "Qwen3-Q8_0.gguf"


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The home folder that model files are in."""
    return tmp_path / "user"


@pytest.fixture
def cache(user: Path) -> Path:
    """The folder of the repository in the Hugging Face cache."""
    return user / ".cache/huggingface/hub/models--Qwen--Qwen3-GGUF"


def names(shell: Shell) -> list[str]:
    return [line.split("\t")[0] for line in shell("models", "ls", "--all").out.splitlines()]


# rm


def test_the_last_model_of_a_repository_leaves_nothing(
    shell: Shell, user: Path, cache: Path
) -> None:
    size = hub_file(user, REPO, NAME).stat().st_size
    ran = shell("models", "rm", "--yes", "qwen3")
    assert (ran.code, ran.out) == (0, "")
    assert f"freed {size} B" in ran.err
    assert not cache.exists()
    assert names(shell) == ["starter"]


@pytest.mark.parametrize("name", [f"{REPO}:Q8_0", "qwen3", "small", "path"])
def test_removing_the_default_names_another(shell: Shell, user: Path, name: str) -> None:
    file = hub_file(user, REPO, NAME)
    shell("models", "alias", "set", "small", f"{REPO}:Q8_0")
    name = str(file) if name == "path" else name
    shell("models", "default", name)
    ran = shell("models", "rm", "-y", name)
    said = f"the default model {name} is gone; choose another: tchat models default starter"
    assert (ran.code, said in ran.err) == (0, True)
    assert shell("models", "default", "starter").code == 0


def test_other_models_of_the_repository_stay(shell: Shell, user: Path, cache: Path) -> None:
    gone = hub_file(user, REPO, NAME)
    kept = hub_file(user, REPO, "Qwen3-Q4_K_M.gguf", gguf(data=200))
    assert shell("models", "rm", "-y", f"{REPO}:Q8_0").code == 0
    assert not gone.exists()
    assert kept.exists()
    assert names(shell) == ["starter", f"{REPO}:Q4_K_M"]
    assert [path.name for path in cache.rglob("*.gguf")] == ["Qwen3-Q4_K_M.gguf"]


def test_content_that_another_name_leads_to_stays(shell: Shell, user: Path) -> None:
    blob = hub_file(user, REPO, NAME)
    hub_file(user, REPO, "copy/other-Q4_K_M.gguf")
    (plan,) = json.loads(shell("models", "rm", "--json", "-y", f"{REPO}:Q8_0").out)
    assert plan["freed"] == 0
    assert plan["shared"] == [str(blob)]
    assert blob.exists()
    (plan,) = json.loads(shell("models", "rm", "--json", "-y", "other").out)
    assert plan["freed"] > 0
    assert not blob.exists()


def test_all_revisions_of_the_content_go(shell: Shell, user: Path, cache: Path) -> None:
    old = hub_file(user, REPO, NAME, gguf(data=300), commit="c" * 40)
    for commit in ("a", "b"):
        hub_file(user, REPO, NAME, commit=commit * 40)
    assert shell("models", "rm", "-y", f"{REPO}:Q8_0").code == 0
    assert old.exists()
    assert [path.parent.name for path in cache.rglob("*.gguf")] == ["c" * 40]


def test_all_parts_of_a_model_go(shell: Shell, user: Path, cache: Path) -> None:
    for number in (1, 2, 3):
        keys = but(key("split.count", U16, 3), key("split.no", U16, number - 1))
        hub_file(user, REPO, f"Big-Q8_0-0000{number}-of-00003.gguf", gguf(keys))
    hub_file(user, REPO, "README.md", b"hello")
    (plan,) = json.loads(shell("models", "rm", "--json", "-y", "big").out)
    assert len(plan["removed"]) == 6
    assert [path.name for path in (cache / "snapshots").rglob("*.*")] == ["README.md"]


def test_a_cache_behind_a_link_is_the_same_cache(
    shell: Shell, user: Path, tmp_path: Path, cache: Path
) -> None:
    blob = hub_file(user, REPO, NAME)
    (tmp_path / "disk").mkdir()
    (user / ".cache").rename(tmp_path / "disk" / "cache")
    (user / ".cache").symlink_to(tmp_path / "disk" / "cache")
    assert shell("models", "rm", "-y", "qwen3").code == 0
    assert not blob.exists()
    assert not cache.exists()


def test_a_hard_link_elsewhere_frees_nothing(shell: Shell, user: Path, tmp_path: Path) -> None:
    os.link(hub_file(user, REPO, NAME), tmp_path / "mine.gguf")
    (plan,) = json.loads(shell("models", "rm", "--json", "-y", "qwen3").out)
    assert plan["freed"] == 0
    assert (tmp_path / "mine.gguf").exists()


def test_what_is_being_pulled_is_not_removed(shell: Shell, user: Path, cache: Path) -> None:
    blob = hub_file(user, REPO, NAME)
    lock = cache.parent / ".locks" / cache.name / f"{blob.name}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        ran = shell("models", "rm", "-y", "qwen3")
    assert ran.code == 2
    assert "being downloaded" in ran.err
    assert blob.exists()


def test_other_programs_files_are_never_removed(shell: Shell, user: Path, tmp_path: Path) -> None:
    files = [
        ollama_model(user, "gemma3", "270m", gguf()),
        chat_model(user / ".lmstudio/models/me/Phi-GGUF", "Phi-Q4_0"),
        chat_model(user / ".cache/llama.cpp", "old"),
        chat_model(tmp_path, "mine"),
    ]
    for name, words in (
        ("gemma3:270m", "ollama rm gemma3:270m"),
        ("phi", "LM Studio"),
        ("old", "llama.cpp"),
        (str(files[3]), "delete it yourself"),
        ("starter", "pip uninstall"),
    ):
        ran = shell("models", "rm", "-y", name)
        assert ran.code == 2
        assert words in ran.err
        assert ran.err.count("\n") == 1
    assert all(file.exists() for file in files)


def test_a_registered_file_only_leaves_the_list(shell: Shell, tmp_path: Path) -> None:
    file = chat_model(tmp_path, "mine")
    shell("models", "add", str(file))
    assert shell("models", "rm", "-y", "mine").code == 0
    assert file.exists()
    assert names(shell) == ["starter"]
    shell("models", "add", str(tmp_path))
    ran = shell("models", "rm", "-y", "mine")
    assert (ran.code, "models add --forget" in ran.err) == (2, True)


def test_removing_asks_and_tells_what_is_freed(shell: Shell, user: Path) -> None:
    blob = hub_file(user, REPO, NAME)
    ran = shell("models", "rm", "qwen3")
    assert (ran.code, "add --yes" in ran.err) == (2, True)
    ran = shell("models", "rm", "qwen3", terminal=True, stdin=b"n\n")
    assert ran.code == 2
    assert f"{REPO}:Q8_0: frees {blob.stat().st_size} B" in ran.err
    assert blob.exists()
    assert shell("models", "rm", "qwen3", terminal=True, stdin=b"y\n").code == 0
    assert not blob.exists()


def test_one_unknown_model_keeps_all_from_being_removed(shell: Shell, user: Path) -> None:
    blob = hub_file(user, REPO, NAME)
    assert shell("models", "rm", "-y", "qwen3", "nonesuch").code == 3
    assert blob.exists()


def test_a_dry_run_tells_and_removes_nothing(shell: Shell, user: Path) -> None:
    blob = hub_file(user, REPO, NAME)
    size = blob.stat().st_size
    ran = shell("models", "rm", "--dry-run", "qwen3")
    assert (ran.code, ran.out) == (0, f"{REPO}:Q8_0: frees {size} B\n")
    assert f"nothing was removed; it would free {size} B" in ran.err
    (plan,) = json.loads(shell("models", "rm", "--dry-run", "--json", "qwen3").out)
    assert plan["freed"] == size
    assert blob.exists()


def test_what_was_unused_for_long_is_removed(shell: Shell, user: Path, tmp_path: Path) -> None:
    old = hub_file(user, REPO, NAME)
    default = hub_file(user, REPO, "Qwen3-Q4_K_M.gguf", gguf(data=200))
    fresh = hub_file(user, REPO, "Qwen3-Q2_K.gguf", gguf(data=300))
    mine = chat_model(tmp_path, "mine")
    shell("models", "add", str(mine))
    shell("models", "default", f"{REPO}:Q4_K_M")
    before = time.time() - 100 * 86_400
    for path in (old, default, mine):
        os.utime(path, (before, before))
    ran = shell("models", "rm", "--unused", "90d", "--dry-run")
    assert ran.out == f"{REPO}:Q8_0: frees {old.stat().st_size} B (never used)\n"
    assert "no model was unused" in shell("models", "rm", "--unused", "1y").err
    assert shell("models", "rm", "--unused", "12w", "-y").code == 0
    assert [path.exists() for path in (old, default, fresh, mine)] == [False, True, True, True]


@pytest.mark.parametrize("args", [(), ("qwen3", "--unused", "9d"), ("--unused", "soon")])
def test_models_or_an_age_are_named(shell: Shell, args: tuple[str, ...]) -> None:
    ran = shell("models", "rm", "-y", *args)
    assert (ran.code, "for example --unused 90d" in ran.err) == (2, True)


# dupes


@pytest.fixture
def twins(user: Path) -> tuple[Path, Path]:
    """The same content in the Hugging Face cache and at Ollama's."""
    return hub_file(user, REPO, NAME), ollama_model(user, "qwen3", "0.6b", gguf())


def test_copies_are_found_by_their_content(
    shell: Shell, user: Path, twins: tuple[Path, Path], tmp_path: Path
) -> None:
    almost = bytearray(gguf())
    almost[-1] ^= 1
    shell("models", "add", str(chat_model(tmp_path, "almost", bytes(almost))))
    (copies,) = json.loads(shell("models", "dupes", "--json").out)
    assert copies["sha256"] == twins[0].name
    assert copies["saved_by_links"] == twins[0].stat().st_size
    assert [file["owner"] for file in copies["files"]] == ["Ollama", "Hugging Face"]
    ran = shell("models", "dupes")
    assert len(ran.out.splitlines()) == 2
    assert "would free" in ran.err
    assert twins[0].stat().st_ino != twins[1].stat().st_ino


def test_a_hard_link_takes_the_place_of_a_copy(shell: Shell, twins: tuple[Path, Path]) -> None:
    other = twins[1].stat()
    assert shell("models", "dupes", "--link").code == 2
    assert shell("models", "dupes", "--link", terminal=True, stdin=b"y\n").code == 0
    assert twins[0].stat().st_ino == twins[1].stat().st_ino
    assert (twins[1].stat().st_ino, twins[1].stat().st_mtime_ns) == (
        other.st_ino,
        other.st_mtime_ns,
    )
    assert json.loads(shell("models", "dupes", "--json").out) == []
    assert "no duplicates" in shell("models", "dupes", "--link", "-y").err


def test_two_copies_of_other_programs_stay(shell: Shell, user: Path) -> None:
    ollama_model(user, "qwen3", "0.6b", gguf())
    chat_model(user / ".lmstudio/models/me/Qwen-GGUF", "Qwen-Q8_0")
    (copies,) = json.loads(shell("models", "dupes", "--json").out)
    assert copies["wasted"] > 0
    assert copies["saved_by_links"] == 0


def test_a_file_that_changed_after_it_was_read_is_read_again(
    shell: Shell, twins: tuple[Path, Path]
) -> None:
    assert len(json.loads(shell("models", "dupes", "--json").out)) == 1
    damaged = bytearray(gguf())
    damaged[-1] ^= 1
    twins[0].write_bytes(damaged)
    assert json.loads(shell("models", "dupes", "--json").out) == []


# du


def test_the_disk_is_told_by_owner(shell: Shell, user: Path, twins: tuple[Path, Path]) -> None:
    size = len(gguf())
    ollama_model(user, "qwen3", "again", gguf())
    (twins[0].parent / ("0" * 64 + ".incomplete")).write_bytes(bytes(1000))
    parts = {part["owner"]: part for part in json.loads(shell("models", "du", "--json").out)}
    assert parts["tchat"]["size"] > 90_000_000
    assert parts["Hugging Face"] == {
        "owner": "Hugging Face",
        "models": 1,
        "size": size,
        "unfinished": 1000,
    }
    assert (parts["Ollama"]["models"], parts["Ollama"]["size"]) == (2, size)
    assert shell("models", "du").out.splitlines()[-1].startswith("all\t4\t")
