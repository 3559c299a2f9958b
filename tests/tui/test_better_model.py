"""From the starter to a better model on the first screen: offered, pulled, made the default."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tchat.chat import machine
from tchat.chat.better_model import BetterModel, better_model
from tchat.humanize import size_text
from tchat.models.catalogue import load_catalogue
from tchat.models.hub.pull import PullEvent
from tchat.models.memory import Machine, Memory
from tchat.models.metadata import MetadataCache
from tchat.paths import Paths
from tchat.settings import Settings, load
from tchat.tui.controllers import first_screen
from tchat.tui.dialogs.dialog import Confirm
from tchat.tui.services.downloads import Downloads
from tests.models.hub_server import Fault, HubServer
from tests.models.model_folders import hub_file

from .chat_stage import Shown, opened
from .stage import is_tame, text

STARTER = Settings(threads=1)
OFFER = "SmolLM2-135M is a demonstration model. Best here:"


@pytest.fixture(autouse=True)
def small_machine(paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with 6 GB, measured just now."""
    found = Machine(Memory(6 * 10**9, 16 * 10**9))
    monkeypatch.setattr(machine, "this_machine", lambda: found)
    monkeypatch.setattr(first_screen, "REST", 0.0)
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with MetadataCache(paths) as cache:
        cache.record_machine_rate(machine.machine_name(), 20e9, time.time())


@pytest.fixture
def best(paths: Paths) -> BetterModel:
    found = better_model(paths)
    assert found is not None
    return found


@pytest.fixture
def hub(hub_server: HubServer, best: BetterModel, tiny_model: Path) -> HubServer:
    """A hub that has the best model, which is a tiny one here."""
    files = {f"m-{best.quantization}.gguf": tiny_model.read_bytes()}
    hub_server.add(load_catalogue()[best.name].repo, files)
    return hub_server


def page(shown: Shown) -> str:
    """What is shown, in one line."""
    return " ".join(text(shown.pilot.app).split())


async def accept(shown: Shown) -> None:
    """Enter, and agree to the download."""
    await shown.pilot.press("enter")
    await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
    await shown.pilot.press("y")


def asked(shown: Shown) -> bool:
    return isinstance(shown.pilot.app.screen, Confirm) and "the default model?" in page(shown)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36)])
async def test_with_only_the_starter_the_best_model_is_offered(
    paths: Paths, best: BetterModel, size: tuple[int, int]
) -> None:
    async with opened(STARTER, paths, size) as shown:
        await shown.until(lambda: "Enter asks." in page(shown))
        assert f"{OFFER} {best.words}." in page(shown)
        assert is_tame(shown.pilot.app)
        assert all(len(line) <= size[0] for line in text(shown.pilot.app).splitlines())


@pytest.mark.usefixtures("hub")
async def test_enter_pulls_it_and_one_question_makes_it_the_default(
    paths: Paths, best: BetterModel
) -> None:
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "Enter asks." in page(shown))
        await accept(shown)
        await shown.until(lambda: asked(shown))
        assert best.name in page(shown)
        await shown.pilot.press("y")
        await shown.until(lambda: shown.screen.conversation.settings.model == best.name)
        assert load(paths).settings.model == best.name
        await shown.until(lambda: OFFER not in page(shown))
        await shown.idle()
        await shown.ask("Hello")


@pytest.mark.usefixtures("hub")
async def test_the_chat_goes_on_and_the_question_waits_for_what_is_typed(
    paths: Paths, best: BetterModel
) -> None:
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "Enter asks." in page(shown))
        await accept(shown)
        shown.screen.prompt.load("hey")
        await shown.until(lambda: f"{best.name} is downloaded." in shown.toasts)
        await shown.pilot.pause(1.5)
        assert not asked(shown)
        assert shown.screen.prompt.draft.text == "hey"
        await shown.pilot.press("ctrl+c")
        await shown.until(lambda: asked(shown))
        await shown.pilot.press("n")
        await shown.until(lambda: not asked(shown))
        assert load(paths).settings.model == "starter"
        await shown.until(lambda: OFFER not in page(shown))  # there is another model now


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("no", ["n", "escape", "ctrl+c"])
async def test_enter_asks_with_size_disk_and_keys_and_no_ends_the_offer(
    paths: Paths, best: BetterModel, no: str
) -> None:
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "Enter asks." in page(shown))
        await shown.pilot.press("enter")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        for told in (
            f"Download {best.name}, {size_text(best.size)}?",
            "free on the disk",
            "F2, then Ctrl+D stops it",
        ):
            assert told in page(shown)
        await shown.pilot.press(no)
        await shown.until(lambda: "Best here" not in page(shown))
        await shown.pilot.press("enter")
        await shown.pilot.press("alt+n")
        await shown.idle()
        await shown.pilot.pause(0.3)
        assert "Best here" not in page(shown)
        assert not isinstance(shown.pilot.app.screen, Confirm)
        assert not shown.screen.context.downloads.name


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_download_tells_where_it_can_be_stopped(
    paths: Paths, best: BetterModel, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    goes_on = threading.Event()
    pull = Downloads._events

    def slow(self: Downloads, *rest: Any, judged: bool) -> Iterator[PullEvent]:
        goes_on.wait(20)
        yield from pull(self, *rest, judged=judged)

    monkeypatch.setattr(Downloads, "_events", slow)
    async with opened(STARTER, paths, size) as shown:
        try:
            await shown.until(lambda: "Enter asks." in page(shown))
            await accept(shown)
            told = f"Downloading {best.name} ({size_text(best.size)}) … Chat meanwhile; F2, then"
            await shown.until(lambda: told in page(shown))
            assert "stop it in F2" in page(shown)
        finally:
            goes_on.set()
        await shown.until(lambda: "Downloading" not in page(shown))
        assert "stop it in F2" not in page(shown)


async def test_a_download_that_fails_is_told_in_a_toast_and_not_offered_again(
    paths: Paths, hub: HubServer
) -> None:
    hub.fail("api", *[Fault(404)] * 9)
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "Enter asks." in page(shown))
        await accept(shown)
        await shown.until(lambda: "was not downloaded" in shown.toasts)
        await shown.until(lambda: "Best here" not in page(shown))
        await shown.pilot.pause(0.3)
        assert "Best here" not in page(shown)
        assert not shown.all_entries


async def test_who_has_another_model_gets_no_offer_and_enter_does_nothing(
    paths: Paths, tmp_path: Path
) -> None:
    hub_file(tmp_path / "user", "acme/big-GGUF", "big-Q8_0.gguf")
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "here:" in page(shown))
        await shown.pilot.pause(0.3)
        await shown.pilot.press("enter")
        await shown.pilot.pause(0.2)
        assert "Best here" not in page(shown)
        assert not shown.screen.context.downloads.name


async def test_another_model_than_the_starter_gets_no_offer(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.until(lambda: "demonstration model" in page(shown))
        await shown.pilot.pause(0.3)
        assert "Best here" not in page(shown)


async def test_a_broken_catalogue_of_the_user_is_told(paths: Paths) -> None:
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.catalogue_file.write_text("[house]\n")
    async with opened(STARTER, paths) as shown:
        await shown.until(lambda: "its repo must be written" in shown.toasts)
        await shown.ask("Hello")
