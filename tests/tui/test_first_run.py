"""The first run: without any model, and with one that is there at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tchat.models import verify
from tchat.models.sources import starter
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.welcome import Welcome

from .chat_stage import Shown, opened
from .stage import shows, text

NO_STARTER = Settings(threads=1)


@pytest.fixture(autouse=True)
def no_starter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the starter model were not installed."""
    monkeypatch.setattr(starter, "STARTER_PACKAGE", "tchat_no_such_package")
    monkeypatch.chdir(tmp_path)


def welcomed(shown: Shown) -> bool:
    return isinstance(shown.pilot.app.screen, Welcome)


@pytest.mark.parametrize("size", [(60, 16), (110, 34)])
async def test_without_any_model_it_says_how_to_get_one(
    paths: Paths, tiny_model: Path, size: tuple[int, int]
) -> None:
    async with opened(NO_STARTER, paths, size, ready=False) as shown:
        await shown.until(lambda: welcomed(shown) and "pip install" in text(shown.pilot.app))
        await shows(shown.pilot.app, "tchat models pull")
        await shown.pilot.press(*str(tiny_model), "enter")
        await shown.until(lambda: not welcomed(shown))
        await shown.until(lambda: shown.screen.conversation.metadata is not None)
        await shown.idle()
        await shown.ask("Hello")


async def test_a_model_installed_meanwhile_is_found(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path
) -> None:
    async with opened(NO_STARTER, paths, ready=False) as shown:
        await shown.until(lambda: welcomed(shown) and "Check again" in text(shown.pilot.app))
        await shown.pilot.press("down", "down", "enter")
        await shown.until(lambda: "not installed" in shown.toasts and welcomed(shown))
        package = tmp_path / "tchat_late_package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "model.gguf").write_bytes(tiny_model.read_bytes())
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(starter, "STARTER_PACKAGE", "tchat_late_package")
        published = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
        monkeypatch.setattr(verify, "STARTER_SHA256", published)
        await shown.until(lambda: "Check again" in text(shown.pilot.app))
        await shown.pilot.press("down", "down", "enter")
        await shown.until(lambda: shown.screen.conversation.metadata is not None)
        await shown.idle()
        await shown.ask("Hello")


async def test_the_welcome_can_be_left_and_a_prompt_is_kept(paths: Paths) -> None:
    async with opened(NO_STARTER, paths, ready=False) as shown:
        await shown.until(lambda: welcomed(shown))
        await shown.pilot.press("escape")
        await shown.until(lambda: "choose one with F2" in shown.notices)
        await shown.type("Hello")
        await shown.until(lambda: any("not installed" in error.text for error in shown.errors))
        assert shown.branch == [("user", "Hello")]


async def test_an_empty_chat_tells_its_model_and_the_keys(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        page = text(shown.pilot.app)
        assert "tiny" in page
        assert "all keys" in page
        await shown.ask("Hello")
        assert "all keys" not in text(shown.pilot.app)
        await shown.pilot.press("alt+n")
        await shown.until(lambda: "all keys" in text(shown.pilot.app))
