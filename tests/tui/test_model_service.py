"""The models behind the screen: files, downloads, the default, a change mid-session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tchat.chat.better_model import better_model
from tchat.errors import ModelNotFound, UsageError
from tchat.models.hub.cache import cache_folder
from tchat.models.hub.update import ModelRevision
from tchat.models.memory import Machine, Memory
from tchat.models.recommendation import PURPOSES
from tchat.paths import Paths
from tchat.settings import Settings, load
from tchat.tui.dialogs.dialog import Confirm
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.model_rows import Fit
from tchat.tui.services.models import ModelService
from tests.models.gguf_builder import gguf
from tests.models.hub_server import Fault, HubServer
from tests.models.model_folders import chat_model, hub_file, ollama_model

from .chat_stage import opened
from .stage import shows, text

REPO, FILE = "acme/tiny-GGUF", "tiny-Q4_K_M.gguf"

# The files behind it


def no_pull(name: str, *, agreed: bool = False, newer: ModelRevision | None = None) -> None:
    raise AssertionError(name, agreed, newer)


@pytest.fixture
def service(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelService:
    """A service over a home folder with models of the hub and of Ollama, beside a file here."""
    user = tmp_path / "user"
    monkeypatch.delenv("HF_HOME")
    hub_file(user, "acme/big-GGUF", "big-Q8_0.gguf")
    ollama_model(user, "gemma3", "270m", gguf(data=300))
    (tmp_path / "here").mkdir()
    chat_model(tmp_path / "here", "mine")
    monkeypatch.chdir(tmp_path / "here")
    return ModelService(paths, None, Downloads(paths), no_pull)


async def test_the_rows_are_those_of_the_library_and_of_this_folder(service: ModelService) -> None:
    own = [row.choice for row in await service.rows(False)]
    assert own[:2] == ["starter", "acme/big-GGUF:Q8_0"]
    assert own[2].endswith("mine.gguf")
    assert {row.choice for row in await service.rows(True)} == {*own, "gemma3:270m"}
    assert {row.fit for row in await service.rows(True)} <= {"fits", "tight", "too large"}


async def test_the_service_looks_into_removes_and_sets(service: ModelService, paths: Paths) -> None:
    assert ("family", "llama") in await service.details("acme/big-GGUF")
    await service.remove(await service.plan_removal("acme/big-GGUF"))
    assert "acme/big-GGUF:Q8_0" not in [row.choice for row in await service.rows(False)]
    with pytest.raises(UsageError, match="belongs to Ollama"):
        await service.plan_removal("gemma3:270m")
    await service.make_default("gemma3:270m")
    assert load(paths).settings.model == "gemma3:270m"


async def test_the_offers_are_those_of_the_catalogue_that_are_not_here(
    service: ModelService, tmp_path: Path
) -> None:
    hub_file(tmp_path / "user", "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf")
    catalogue = await service.offers()
    offers = {row.name: row for row in catalogue if not row.here}
    assert {"qwen3:0.6b", "llama3.3:70b"} <= set(offers)
    assert not {"qwen3:4b", "smollm2:135m", "starter"} & set(offers)
    assert offers["qwen3:0.6b"].speed
    assert (await service.plan_pull(offers["qwen3:0.6b"])).reason == ""
    told = (await service.plan_pull(offers["qwen3.5:4b"])).reason
    assert told == "Its projector (mmproj) comes on top."
    assert offers["qwen3:0.6b"].choice == "qwen3:0.6b:Q8_0"  # what is told is what comes


async def test_the_service_looks_into_what_is_on_the_hub(
    service: ModelService, hub_server: HubServer, tiny_model: Path
) -> None:
    hub_server.add(REPO, {FILE: tiny_model.read_bytes()})
    (found,) = await service.search("tiny")
    assert (found.choice, found.quantization, found.here) == (REPO, "Q4_K_M", False)
    rows = dict(await service.details(REPO))
    assert (rows["owner"], rows["fit"][:7]) == ("not on this disk", "it fits")


async def test_the_service_checks_a_file_and_names_it(
    service: ModelService, paths: Paths, tiny_model: Path
) -> None:
    told: list[str] = []
    found = dict(await service.check(str(tiny_model), told.append, Event()))
    assert found["load"].startswith("✓ ")
    assert told
    stopped = Event()
    stopped.set()
    assert await service.check(str(tiny_model), told.append, stopped) == []
    await service.set_alias("small", str(tiny_model))
    assert await service.aliases(str(tiny_model)) == ["small"]
    await service.remove_alias("small")
    assert await service.aliases(str(tiny_model)) == []
    with pytest.raises(UsageError, match="cannot be an alias"):
        await service.set_alias("a/b", str(tiny_model))


async def test_the_service_registers_links_and_counts(
    service: ModelService, tiny_model: Path, tmp_path: Path
) -> None:
    copies = [tmp_path / "more" / name for name in ("a.gguf", "b.gguf")]
    copies[0].parent.mkdir()
    for copy in copies:
        copy.write_bytes(tiny_model.read_bytes())
    with pytest.raises(ModelNotFound, match="there is no file"):
        await service.register(str(tmp_path / "nothing.gguf"))
    await service.register(str(copies[0].parent))
    assert {"a", "b"} <= {row.choice for row in await service.rows(False)}
    [found] = await service.duplicates(lambda _: None, Event())
    assert await service.link_duplicates([found]) == tiny_model.stat().st_size
    assert copies[0].samefile(copies[1])
    assert "you" in [each.owner for each in await service.usage()]


async def test_the_catalogue_recommends_what_fits_and_is_fast(
    service: ModelService, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(Memory(8 * 10**9, 16 * 10**9), speed=40e9)
    monkeypatch.setattr("tchat.chat.machine.measured_machine", lambda _: machine)
    monkeypatch.setattr("tchat.chat.better_model.measured_machine", lambda _: machine)
    rows = await service.offers()
    recommended = [row for row in rows if row.reason]
    assert rows[: len(recommended)] == recommended
    assert 1 <= len(recommended) <= 4
    purposes = [each for row in recommended for each in row.best_for]
    assert sorted(purposes) == sorted(PURPOSES)
    assert len({row.name for row in rows}) == len(rows)
    best = recommended[0]
    assert best.fit is Fit.FITS
    assert best.speed >= 5
    assert "chat" in best.abilities
    offered = better_model(paths)  # as the first screen and `pull --best` name it
    assert offered is not None
    assert best.choice == offered.full_name
    assert (best.name, best.quantization) == (offered.name, offered.quantization)


# In the chat


async def test_a_model_is_pulled_while_the_chat_goes_on(
    settings: Settings, paths: Paths, hub_server: HubServer
) -> None:
    hub_server.add(REPO, {FILE: gguf(data=4 << 20)})
    hub_server.pace = 0.2
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(REPO)
        await chat.until(lambda: "%" in chat.screen.context.status.data().pulling)
        await chat.type("Hello")
        await chat.until(lambda: len(chat.branch) == 2 and not chat.screen.controllers.turn.is_busy)
        assert chat.screen.context.status.data().pulling
        hub_server.pace = 0.0
        await chat.until(lambda: "is downloaded" in chat.toasts)
        assert chat.screen.context.status.data().pulling == ""


async def test_what_belongs_to_a_model_is_pulled_with_it(
    settings: Settings, paths: Paths, hub_server: HubServer, tiny_model: Path
) -> None:
    data = tiny_model.read_bytes()
    hub_server.add(REPO, {FILE: data, "mmproj-F16.gguf": gguf(data=300)})
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(REPO)
        await chat.until(lambda: "is downloaded" in chat.toasts)
    found = {path.name for path in cache_folder().rglob("*.gguf")}
    assert found == {FILE, "mmproj-F16.gguf"}


async def test_a_model_is_here_though_what_belongs_to_it_failed(
    settings: Settings, paths: Paths, hub_server: HubServer, tiny_model: Path
) -> None:
    hub_server.add(REPO, {FILE: tiny_model.read_bytes(), "mmproj-F16.gguf": gguf(data=1 << 16)})
    async with opened(settings, paths) as chat:
        controller = chat.screen.controllers.models
        begin = Downloads._pull_beside

        def fail(self: Downloads, *rest: Any) -> None:
            hub_server.fail("storage", *[Fault(flip=1000)] * 99)
            begin(self, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Downloads, "_pull_beside", fail)
            controller.pull(REPO)
            await chat.until(lambda: "is downloaded" in chat.toasts)
        assert "mmproj-F16.gguf was not downloaded: " in chat.toasts
        assert not chat.screen.context.downloads.outcomes


async def test_a_newer_version_takes_the_place_of_a_model(
    settings: Settings, paths: Paths, hub_server: HubServer, tiny_model: Path
) -> None:
    old, new = tiny_model.read_bytes(), tiny_model.read_bytes() + bytes(64)
    hub_server.add(REPO, {FILE: old})
    async with opened(settings, paths) as chat:
        controller = chat.screen.controllers.models
        controller.pull(REPO)
        await chat.until(lambda: "is downloaded" in chat.toasts)
        service = controller._service()
        [row] = [row for row in await service.rows(False) if row.is_downloaded]
        assert row.path is not None
        assert not (await service.find_revision(row.path)).is_newer
        hub_server.add(REPO, {FILE: new})
        found = await service.find_revision(row.path)
        assert found.is_newer
        service.update(row.choice, found)
        await chat.until(lambda: f"{REPO}:Q4_K_M is up to date" in chat.toasts)
        [now] = [row for row in await service.rows(False) if row.is_downloaded]
        assert (now.choice, now.size) == (row.choice, len(new))
        await chat.until(lambda: not row.path or not row.path.exists())
        kept = ModelService(paths, now.path, Downloads(paths), no_pull)
        hub_server.add(REPO, {FILE: old})
        assert now.path is not None
        newest = await kept.find_revision(now.path)
        assert "since this chat uses it" in await kept.remove_replaced(newest)
        assert now.path.exists()


async def test_a_pull_is_stopped_and_what_came_is_kept(
    settings: Settings, paths: Paths, hub_server: HubServer, tmp_path: Path
) -> None:
    hub_server.add(REPO, {FILE: gguf(data=1 << 20)})
    hub_server.fail("storage", Fault(), Fault(stall=1 << 16))
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(REPO)
        await chat.until(lambda: "%" in chat.screen.context.status.data().pulling)
        chat.screen.context.downloads.stop()
        await chat.until(lambda: "again resumes it" in chat.toasts)
        assert list(tmp_path.rglob("*.incomplete"))


@pytest.mark.parametrize(("key", "told"), [("y", "is downloaded"), ("n", "is not downloaded")])
async def test_what_does_not_fit_is_pulled_after_asking(
    settings: Settings,
    paths: Paths,
    hub_server: HubServer,
    key: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tight = Machine(Memory(1_000_000, 1_000_000))
    monkeypatch.setattr("tchat.chat.machine.this_machine", lambda: tight)
    hub_server.add(REPO, {FILE: gguf(data=1 << 20)})
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(REPO)
        await chat.until(lambda: isinstance(chat.pilot.app.screen, Confirm))
        await chat.pilot.press(key)
        await chat.until(lambda: told in chat.toasts)


@pytest.mark.parametrize(("name", "told"), [("acme/none", "acme/none"), ("nonsense", "neither")])
async def test_what_cannot_be_pulled_is_told_in_a_toast_and_by_its_row(
    settings: Settings, paths: Paths, hub_server: HubServer, name: str, told: str
) -> None:
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(name)
        await chat.until(lambda: f"{name} was not downloaded: " in chat.toasts)
        assert told in chat.toasts
        await chat.pilot.pause()
        assert not chat.all_entries  # no message of the chat that is open
        if name == "acme/none":
            await chat.pilot.press("f2")
            await chat.until(lambda: isinstance(chat.pilot.app.screen, ModelPicker))
            await chat.pilot.press(*name.replace("/", " ").split()[-1])
            reason = chat.screen.context.downloads.outcomes[name].text.split(":")[0]
            await chat.until(lambda: f"✗ {reason}"[:20] in text(chat.pilot.app))


async def test_a_failed_pull_is_not_begun_again_by_the_key_for_another_reply(
    settings: Settings, paths: Paths, hub_server: HubServer
) -> None:
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull("acme/none")
        await chat.until(lambda: "was not downloaded" in chat.toasts)
        asked = len(hub_server.seen)
        await chat.pilot.press("alt+r")
        await chat.idle()
        assert len(hub_server.seen) == asked


async def test_the_size_on_the_hub_is_told_before_a_pull(
    settings: Settings, paths: Paths, hub_server: HubServer
) -> None:
    hub_server.add(REPO, {FILE: gguf(data=4 << 20)})
    async with opened(settings, paths) as chat:
        app = chat.pilot.app
        await chat.pilot.press("f2")
        await chat.until(lambda: isinstance(app.screen, ModelPicker))
        await chat.pilot.press(*REPO)
        await chat.until(lambda: f"Download {REPO}" in text(app))
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(app.screen, Confirm))
        await shows(app, "4.2 MB?")
        assert chat.screen.context.status.data().pulling == ""
        await chat.pilot.press("y")
        await chat.until(lambda: "is downloaded" in chat.toasts)


async def test_a_new_chat_begins_with_the_model_that_was_made_the_default(
    settings: Settings, paths: Paths, tiny_spm: Path
) -> None:
    async with opened(settings, paths) as chat:
        await chat.ask("Hello")
        first = chat.screen.conversation.session
        service = ModelService(
            paths,
            None,
            chat.screen.context.downloads,
            no_pull,
            chat.screen.conversation.keep,
        )
        await service.make_default(str(tiny_spm))
        await chat.ask("still the model in use")
        assert chat.messages[-1].model == settings.model
        await chat.pilot.press("alt+n")
        await chat.until(lambda: chat.screen.conversation.session is None)
        await chat.idle()
        await chat.until(lambda: chat.screen.context.status.header().model == "tiny-spm")
        await chat.ask("Hello again")
        assert chat.messages[-1].model == str(tiny_spm)
        assert first is not None
        await chat.type(f"/open {first.id}")
        await chat.until(lambda: getattr(chat.screen.conversation.session, "id", "") == first.id)
        await chat.idle()
        assert chat.screen.context.settings.model == str(tiny_spm)  # the one in use stays


async def test_the_key_in_the_list_makes_the_default_of_new_chats(
    settings: Settings, paths: Paths, tiny_model: Path
) -> None:
    async with opened(replace(settings, model="other"), paths, ready=False) as chat:
        app = chat.pilot.app
        await chat.idle()
        conversation = chat.screen.conversation
        conversation.session_state.settings = replace(conversation.settings, model=str(tiny_model))
        await chat.pilot.press("f2")
        await chat.until(lambda: isinstance(app.screen, ModelPicker))
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: "Default model: " in chat.toasts)
        assert conversation.session_state.base.model == load(paths).settings.model != "other"


async def test_leaving_does_not_wait_for_a_pull(
    settings: Settings, paths: Paths, hub_server: HubServer
) -> None:
    hub_server.add(REPO, {FILE: gguf(data=1 << 20)})
    hub_server.fail("storage", Fault(), Fault(stall=1 << 16))
    async with opened(settings, paths) as chat:
        chat.screen.controllers.models.pull(REPO)
        await chat.until(lambda: "%" in chat.screen.context.status.data().pulling)


async def test_another_model_keeps_the_session_and_says_what_is_read_again(
    settings: Settings, paths: Paths, tiny_spm: Path
) -> None:
    async with opened(replace(settings), paths) as chat:
        await chat.ask("Hello")
        session = chat.screen.conversation.session
        await chat.type(f"/model {tiny_spm}")
        await chat.until(lambda: "processed again" in chat.notices)
        await chat.idle()
        assert "its 2 messages are processed again" in chat.notices
        assert chat.notices.count("Loading ") == 1
        assert "anew" not in chat.notices
        assert chat.screen.conversation.session == session
