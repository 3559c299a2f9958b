"""Fixtures of the command's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo

from tchat import translation
from tests.cli.shell import Shell, tchat
from tests.tiny import write_tiny
from tests.translations import template


@pytest.fixture
def shell(home: Path) -> Shell:
    """The program in this process, with a chat that repeats the prompt."""
    return Shell({"TCHAT_HOME": str(home), "TERM": "dumb"})


@pytest.fixture(scope="session")
def endless_model(tiny_models: Path) -> Path:
    """The tiny model with a context that it does not fill while a test runs."""
    return write_tiny(tiny_models / "endless.gguf", context=65_536)


@pytest.fixture(scope="session")
def verdicts(
    tiny_model: Path, endless_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A ``models.db`` that knows the tiny models, so that not every test probes them again."""
    folder = tmp_path_factory.mktemp("verdicts")
    env = {"TCHAT_HOME": str(folder), "TCHAT_THREADS": "1"}
    for model in (tiny_model, endless_model):
        assert tchat("-n", "-m", str(model), "--max-tokens", "1", "hi", env=env).code == 0
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


@pytest.fixture
def endless_home(tiny_home: Path, endless_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which ``LONG_REPLY`` is still being written whenever a test ends it."""
    monkeypatch.setenv("TCHAT_MODEL", str(endless_model))
    return tiny_home


@pytest.fixture(scope="session")
def marked_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of catalogs in which each text is in wide brackets, instead of the Chinese one."""
    catalog = template()
    catalog.locale = "zh_CN"
    for message in filter(lambda each: each.id, catalog):
        one = str(message.id[0] if isinstance(message.id, (list, tuple)) else message.id)
        text = f"「{one}」"
        message.string = (text,) if message.pluralizable else text
    locale = tmp_path_factory.mktemp("marked")
    folder = locale / "zh_CN" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "tchat.mo").open("wb") as file:
        write_mo(file, catalog)
    return locale


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, marked_catalog: Path) -> Iterator[None]:
    """Chinese texts are the English ones in wide brackets."""
    monkeypatch.setattr(translation, "_folder", lambda: str(marked_catalog))
    for name in ("TCHAT_LANG", "LANGUAGE"):
        monkeypatch.setenv(name, "en")
        monkeypatch.delenv(name)
    translation._load.cache_clear()
    yield
    translation._load.cache_clear()
