"""A new model source is one class and its line in the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tchat.models.sources import registry
from tchat.models.sources.source import LocalModel, gguf_files, model_stem
from tchat.paths import Paths, expanded
from tests.cli.shell import Shell
from tests.models.gguf_builder import gguf
from tests.models.model_folders import chat_model


class JanSource:
    """Models in the folder of another program."""

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:
        self._folder = expanded("~/jan")

    def models(self) -> Iterator[LocalModel]:
        for path in gguf_files(self._folder):
            yield LocalModel(model_stem(path), path, "Jan", removal_hint="run: jan rm")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the new source; all the rest of tchat learns of it by the registry."""
    monkeypatch.setattr(registry, "SOURCES", (*registry.SOURCES, JanSource))
    return chat_model(tmp_path / "user" / "jan", "Phi-5-Q4_K_M", gguf())


def test_a_registered_source_is_listed_and_found_by_name(shell: Shell, model: Path) -> None:
    listed = json.loads(shell("models", "ls", "--all", "--json").out)
    [found] = [row for row in listed if row["path"] == str(model)]
    assert (found["name"], found["owner"]) == ("Phi-5-Q4_K_M", "Jan")
    assert json.loads(shell("models", "show", "phi-5", "--json").out)["path"] == str(model)
    assert "Phi-5" not in shell("models", "ls").out


def test_a_registered_source_is_counted_and_its_models_are_not_deleted(
    shell: Shell, model: Path
) -> None:
    usage = json.loads(shell("models", "du", "--json").out)
    size = model.stat().st_size
    assert [row["size"] for row in usage if row["owner"] == "Jan"] == [size]
    ran = shell("models", "rm", "--yes", "phi-5")
    assert ran.code == 2
    assert "it belongs to Jan" in ran.err
    assert "run: jan rm" in ran.err
    assert model.exists()


def test_a_taken_name_is_replaced_by_the_path(shell: Shell, model: Path, tmp_path: Path) -> None:
    first = chat_model(tmp_path / "mine", "Phi-5-Q4_K_M", gguf())
    assert shell("models", "add", str(first)).code == 0
    rows = json.loads(shell("models", "ls", "--all", "--json").out)
    named = {row["path"]: row["name"] for row in rows}
    assert named[str(first)] == "Phi-5-Q4_K_M"
    assert named[str(model)] == str(model)
