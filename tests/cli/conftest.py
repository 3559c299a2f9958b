"""Fixtures of the command's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.shell import Shell, tchat


@pytest.fixture
def shell(home: Path) -> Shell:
    """The program in this process, with a chat that repeats the prompt."""
    return Shell({"TCHAT_HOME": str(home), "TERM": "dumb"})


@pytest.fixture(scope="session")
def verdicts(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``models.db`` that knows the tiny model, so that not every test probes it again."""
    folder = tmp_path_factory.mktemp("verdicts")
    env = {"TCHAT_HOME": str(folder), "TCHAT_MODEL": str(tiny_model), "TCHAT_THREADS": "1"}
    assert tchat("-n", "--max-tokens", "1", "hi", env=env).code == 0
    return folder / "cache" / "models.db"


@pytest.fixture
def tiny_home(
    home: Path, verdicts: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home whose default model is the tiny one, checked already."""
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))
    (home / "cache").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    shutil.copy(verdicts, home / "cache" / "models.db")
    return home
