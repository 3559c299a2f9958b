"""The chat screen with a model on a server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.egress.egress_log import open_egress_log
from tchat.paths import Paths, user_paths
from tchat.servers.config import Server, remove_server, save_server
from tchat.sessions.records import Status
from tchat.settings import Settings
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.models import ModelService
from tchat.tui.widgets.candidates import Candidates
from tchat.tui.widgets.header import ChatHeader
from tchat.tui.widgets.status import StatusLine
from tests.servers.cuts import CUTS, TIMEOUT, WRITTEN, Cut
from tests.servers.fake_server import Answer, FakeServer, models, piece, reply, serving, sse
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import shows, text
from tests.tui.test_transcript import rows

from .test_candidates import columns


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        server.put("/v1/models", models("Qwen3-0.6B", owner="vllm", max_model_len=2048))
        server.chat(reply("It is blue", prompt_tokens=9, completion_tokens=3))
        yield server


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir(exist_ok=True)
    return user_paths()


def settings_for(fake: FakeServer, model: str = "lab", **more: object) -> Settings:
    return Settings(model=model, servers={"lab": {"url": fake.url, **more}})


def line(shown: Shown, kind: type[ChatHeader] | type[StatusLine]) -> str:
    return str(shown.screen.query_one(kind).render())


async def test_a_reply_comes_from_the_server_whose_name_is_shown(
    fake: FakeServer, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    async with opened(settings_for(fake), paths) as shown:
        assert "⇄ lab" in line(shown, ChatHeader)
        assert line(shown, ChatHeader).count("lab") == 1
        assert "offline" not in line(shown, StatusLine)
        await shown.ask("why?")
        assert shown.branch == [("user", "why?"), ("assistant", "It is blue")]
        assert "2,048" in line(shown, StatusLine) or "2k" in line(shown, StatusLine)


async def test_a_reply_that_leaves_the_machine_is_marked_while_it_is_sent_and_afterwards(
    fake: FakeServer, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        is_box = host in ("box.test", b"box.test")
        return look_up("127.0.0.1" if is_box else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    hold = threading.Event()
    fake.chat(Answer(sse(piece("It is"), piece(end="stop")), hold=hold), reply("Yes"))
    settings = settings_for(fake)
    elsewhere = {"url": fake.url.replace("127.0.0.1", "box.test")}
    settings = replace(settings, servers={"lab": elsewhere})
    async with opened(settings, paths) as shown:
        await shown.type("why?")
        await shown.until(lambda: ("assistant", "It is") in shown.entries)
        view = shown.screen.controllers.transcript.view
        assert sum("⇄ lab" in row for row in rows(view)) == 1
        hold.set()
        await shown.idle()
        assert sum("⇄ lab" in row for row in rows(view)) == 1
        (total,) = open_egress_log(paths).totals()
        assert total.host == "box.test"
        assert {each.session for each in open_egress_log(paths).requests()} >= {
            shown.screen.conversation.session.id  # type: ignore[union-attr]
        }


async def test_a_reply_of_a_server_on_this_machine_is_not_marked(
    fake: FakeServer, paths: Paths
) -> None:
    async with opened(settings_for(fake), paths) as shown:
        await shown.ask("why?")
        assert not any("⇄" in row for row in rows(shown.screen.controllers.transcript.view))


async def test_a_draft_is_not_sent_before_enter(fake: FakeServer, paths: Paths) -> None:
    async with opened(settings_for(fake), paths) as shown:
        await shown.ask("why?")
        before = len(fake.seen)
        shown.screen.prompt.load("a secret that is not meant for anybody yet")
        await shown.pilot.pause(1.0)
        assert len(fake.seen) == before
        assert "secret" not in json.dumps([each.body for each in fake.seen])


async def test_escape_ends_the_request_at_once(fake: FakeServer, paths: Paths) -> None:
    hold = threading.Event()
    fake.chat(Answer(sse(piece("It is"), done=False), hold=hold))
    async with opened(settings_for(fake), paths) as shown:
        await shown.type("why?")
        await shown.until(lambda: ("assistant", "It is") in shown.entries)
        await shown.pilot.press("escape")
        await shown.idle()
        assert shown.messages[-1].status is Status.STOPPED
        fake.chat(reply("Still"))
        await shown.ask("and?")
        assert shown.branch[-1] == ("assistant", "Still")
    hold.set()


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_a_cut_reply_is_kept_and_told(cut: Cut, fake: FakeServer, paths: Paths) -> None:
    fake.chat(cut.answer)
    async with opened(settings_for(fake, timeout=TIMEOUT), paths) as shown:
        await shown.type("why?")
        await shown.idle()
        assert shown.branch[-1] == ("assistant", WRITTEN)
        assert shown.messages[-1].status is Status.INTERRUPTED
        assert any(cut.says in each.text for each in shown.all_entries)
        fake.chat(reply(" blue", prompt_tokens=9, completion_tokens=1))
        await shown.type("/continue")
        await shown.idle()
        assert shown.branch[-1] == ("assistant", f"{WRITTEN} blue")


async def test_a_model_is_changed_to_one_on_a_server_and_back(
    fake: FakeServer, paths: Paths, tiny_model: Path
) -> None:
    settings = settings_for(fake, str(tiny_model))
    save_server(paths, Server("lab", fake.url))  # the file is read again for each model
    async with opened(settings, paths) as shown:
        assert "⇄" not in line(shown, ChatHeader)
        await shown.type("/model lab/Qwen3-0.6B")
        await shown.until(lambda: "⇄ lab" in line(shown, ChatHeader))
        await shown.idle()
        assert "The next prompt is sent to lab." in shown.notices
        await shown.ask("why?")
        assert shown.branch[-1] == ("assistant", "It is blue")
        assert "Qwen3-0.6B" in line(shown, ChatHeader)
        await shown.type("/model lab")
        await shown.until(lambda: "sent to lab, with the 2 messages" in shown.notices)
        await shown.idle()
        await shown.type(f"/model {tiny_model}")
        await shown.until(lambda: "⇄" not in line(shown, ChatHeader))
        await shown.idle()


async def test_the_models_of_servers_can_be_chosen(
    fake: FakeServer, paths: Paths, tiny_model: Path
) -> None:
    save_server(paths, Server("lab", fake.url))
    service = ModelService(paths, None, Downloads(paths), lambda *_, **__: None)
    rows = {row.choice: row for row in await service.rows(True)}
    assert rows["lab/Qwen3-0.6B"].here
    assert "vLLM" in rows["lab/Qwen3-0.6B"].about
    assert not [name for name in (row.choice for row in await service.rows(False)) if "lab" in name]


async def test_a_server_that_was_added_meanwhile_is_known(
    fake: FakeServer, paths: Paths, settings: Settings
) -> None:
    fake.chat(Answer(sse(piece("Yes"))))
    async with opened(settings, paths) as shown:
        save_server(paths, Server("lab", fake.url))
        await shown.type("/model lab")
        await shown.until(lambda: "sent to lab" in shown.notices)
        await shown.idle()
        remove_server(paths, "lab")
        await shown.type(f"/model {settings.model}")
        await shown.until(lambda: shown.screen.context.settings.model == settings.model)
        await shown.idle()
        await shown.type("/model lab")
        await shown.until(lambda: "lab" in shown.toasts)
        assert shown.screen.context.settings.model == settings.model


@pytest.mark.parametrize("model", ["lab/Qwen3-0.6B", "lab"])
async def test_the_models_begin_on_the_one_in_use_also_on_a_server(
    fake: FakeServer, paths: Paths, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    save_server(paths, Server("lab", fake.url))
    async with opened(settings_for(fake, model), paths, size=(80, 24)) as shown:
        await shown.pilot.press("f2")
        await shown.until(lambda: "❯ ● lab/Qwen3-0.6B" in text(shown.pilot.app))
        await shows(shown.pilot.app, "on 127.0.0.1")
        assert "lab:" not in text(shown.pilot.app)


async def test_a_server_that_writes_a_reply_is_asked_for_no_models(
    fake: FakeServer, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    save_server(paths, Server("lab", fake.url))
    hold = threading.Event()
    async with opened(settings_for(fake, "lab/Qwen3-0.6B"), paths, size=(80, 24)) as shown:
        fake.chat(Answer(sse(piece("It is"), done=False), hold=hold))
        await shown.type("why?")
        await shown.until(lambda: ("assistant", "It is") in shown.entries)
        before = len(fake.seen)
        await shown.pilot.press("f2")
        await shown.until(lambda: "❯ ● lab/Qwen3-0.6B" in text(shown.pilot.app))
        await shows(shown.pilot.app, "listed once the reply")
        await shown.until(lambda: not [w for w in shown.pilot.app.workers if w.group == "rows"])
        assert len(fake.seen) == before
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.pilot.app.screen is shown.screen)
        await shown.pilot.press("escape")
        await shown.idle()
    hold.set()


async def test_a_private_session_is_not_sent(fake: FakeServer, paths: Paths) -> None:
    async with opened(settings_for(fake), paths) as shown:
        await shown.ask("why?")
        await shown.pilot.press("f8")
        await shown.until(lambda: "PRIVATE" in line(shown, ChatHeader))
        await shown.type("a secret")
        await shown.idle()
        assert any("this session is private" in each.text for each in shown.all_entries)
        assert "secret" not in json.dumps(fake.bodies())


async def test_a_model_here_and_one_on_a_server_are_compared(
    fake: FakeServer, paths: Paths, tiny_model: Path
) -> None:
    settings = replace(settings_for(fake, str(tiny_model)), threads=1)
    async with opened(settings, paths) as shown:
        await shown.type(f"/compare {tiny_model} lab/Qwen3-0.6B why?")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.idle()
        labels = [each.standing.label for each in columns(shown)]
        assert labels == ["tiny", "lab/Qwen3-0.6B"]
        await shown.pilot.press("2", "enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert shown.branch == [("user", "why?"), ("assistant", "It is blue")]
        assert shown.messages[-1].model == "lab/Qwen3-0.6B"
