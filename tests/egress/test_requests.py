"""Every request to elsewhere is in the log, whoever makes it, and nothing else of it is."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tchat.chat.mcp_servers import ChatServers
from tchat.chat.tool_setup import open_tools
from tchat.cli.main import program
from tchat.egress import egress_log
from tchat.egress.egress_log import EgressRequest, Purpose
from tchat.engine.binding import Cancel
from tchat.engine.events import Notice
from tchat.errors import TchatError
from tchat.models.hub.api import HubApi
from tchat.paths import user_paths
from tchat.servers.backend import ServerBackend
from tchat.servers.config import Server, ServerModel
from tchat.servers.errors import ServerError
from tchat.settings import Settings
from tchat.tools.http_fetch import HttpFetcher
from tchat.tools.tool import ToolError
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.models import ModelService
from tests.egress.user_log import hub_api, user_log
from tests.models.gguf_builder import gguf
from tests.models.hub_server import HubServer
from tests.servers.asking import ask
from tests.servers.fake_server import FakeServer, models, reply, serving
from tests.tools.mcp.stage import HERE, McpStage, served_over_http
from tests.tools.test_url_escapes import Pages, served

SECRET = "saffron-walrus"


def logged() -> list[EgressRequest]:
    return list(user_log().requests())


def elsewhere(url: str) -> str:
    return url.replace("127.0.0.1", "box.elsewhere.test")


def log_text(home: Path) -> str:
    return (home / "egress.jsonl").read_text(encoding="utf-8")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def backend(fake: FakeServer) -> Iterator[ServerBackend]:
    server = Server("box", elsewhere(fake.url), ctx_size=4096)
    made = ServerBackend(ServerModel(server, ""), "key-" + SECRET, user_log(), Cancel())
    made._connection.pause = lambda attempt: 0.01
    yield made
    made.close()


def test_a_turn_on_a_server_is_logged(fake: FakeServer, backend: ServerBackend, home: Path) -> None:
    fake.chat(reply(f"The {SECRET} sleeps."))
    backend.bind_session("s1")
    ask(backend)
    turn = logged()[-1]
    assert (turn.purpose, turn.host, turn.name) == (Purpose.SERVER, "box.elsewhere.test", "box")
    assert (turn.session, turn.is_ended) == ("s1", True)
    body = len(json.dumps(fake.bodies()[-1], separators=(",", ":"), ensure_ascii=False).encode())
    assert turn.sent is not None
    assert body + 100 < turn.sent < body + 600
    assert turn.received is not None
    assert turn.received > len(SECRET)
    assert "/v1" not in log_text(home)
    assert SECRET not in log_text(home)


def test_a_private_turn_is_logged_without_its_session(
    fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(reply("Yes."))
    backend.bind_session("s1")
    backend.unbind_session("s1")
    ask(backend)
    assert {each.session for each in logged()} == {""}


def test_a_server_on_this_machine_is_not_logged(fake: FakeServer, home: Path) -> None:
    fake.chat(reply("Yes."))
    server = Server("box", fake.url, ctx_size=4096)
    backend = ServerBackend(ServerModel(server, ""), "", user_log(), Cancel())
    ask(backend)
    backend.close()
    assert logged() == []


def test_a_server_that_is_not_there_got_nothing(home: Path) -> None:
    server = Server("box", "http://box.elsewhere.test:9/v1")
    backend = ServerBackend(ServerModel(server, ""), "", user_log(), Cancel())
    with pytest.raises(ServerError):
        list(backend.load())
    backend.close()
    (request,) = logged()
    assert (request.sent, request.received, request.is_ended) == (0, 0, True)


def test_a_turn_tells_that_it_is_not_logged_and_goes_on(
    fake: FakeServer, backend: ServerBackend, home: Path
) -> None:
    (home / "egress.jsonl").mkdir(parents=True)
    fake.chat(reply("Yes."))
    told = [each.text for each in ask(backend) if isinstance(each, Notice)]
    assert len(told) == 1
    assert "not logged" in told[0]


@pytest.fixture
def hub(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubApi:
    url = elsewhere(hub_server.url)
    monkeypatch.setenv("HF_ENDPOINT", url)
    return hub_api()


def test_a_search_and_a_download_are_logged(hub: HubApi, hub_server: HubServer, home: Path) -> None:
    hub.search(SECRET)
    (search,) = logged()
    assert (search.purpose, search.host) == (Purpose.HUB, "box.elsewhere.test")
    assert search.is_ended
    assert SECRET not in log_text(home)


@pytest.fixture
def pages() -> Iterator[Pages]:
    with served() as found:
        yield found


def test_a_page_that_a_tool_fetches_is_logged(pages: Pages, home: Path) -> None:
    fetcher = HttpFetcher(user_log(), resolve=pages.resolve, connect=pages.connect)
    page = fetcher.fetch(f"http://public.example/{SECRET}?q={SECRET}")
    (request,) = logged()
    assert (request.purpose, request.host, request.name) == (
        Purpose.TOOL,
        "public.example",
        "fetch_url",
    )
    assert request.sent is not None
    assert request.sent > 2 * len(SECRET)
    assert request.received is not None
    assert request.received > len(page.data)
    assert SECRET not in log_text(home)


def test_a_connection_that_fails_is_a_request_without_bytes(pages: Pages) -> None:
    def refused(*_: object) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    fetcher = HttpFetcher(user_log(), resolve=pages.resolve, connect=refused)
    with pytest.raises(ToolError):
        fetcher.fetch("http://public.example/a")
    (request,) = logged()
    assert (request.host, request.sent, request.received) == ("public.example", 0, 0)
    assert request.is_ended


def test_an_address_that_is_refused_is_no_request(pages: Pages) -> None:
    fetcher = HttpFetcher(user_log(), connect=pages.connect)
    with pytest.raises(ToolError):
        fetcher.fetch("http://127.0.0.1/a")
    assert logged() == []


@pytest.fixture
def no_log(home: Path) -> None:
    """A log that cannot be written."""
    (home / "egress.jsonl").mkdir(parents=True)


@pytest.mark.usefixtures("no_log")
def test_an_mcp_server_tells_once_that_it_is_not_logged(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_log, "is_loopback_name", lambda host: False)
    stage = McpStage(home)
    with served_over_http(str(HERE / "official_server.py")) as url:
        stage.open(far={"type": "http", "url": url})
        servers = ChatServers(user_paths())
        assert servers.take_log_problem() == ""
        opened = open_tools(
            Settings(), user_paths(), None, ask=None, names=("far__*",), servers=servers
        )
        assert opened is not None
        told = [opened.take_log_problem() for _ in range(2)]
        servers.close()
    assert ["not logged" in each for each in told] == [True, False]


@pytest.mark.usefixtures("no_log")
def test_the_screen_tells_once_that_a_search_is_not_logged(hub: HubApi, home: Path) -> None:
    downloads = Downloads(user_paths())
    service = ModelService(user_paths(), None, downloads, pull=lambda *_, **__: None)
    asyncio.run(service.search("x"))
    assert "not logged" in service.take_log_problem()
    asyncio.run(service.search("x"))
    assert service.take_log_problem() == ""


@pytest.mark.usefixtures("no_log", "hub")
@pytest.mark.parametrize("pulled", ["owner/repo", "owner/none"])
def test_a_download_of_the_screen_tells_that_it_is_not_logged(pulled: str) -> None:
    downloads = Downloads(user_paths())

    async def agree(_: str) -> bool:
        return False

    with suppress(TchatError):
        asyncio.run(downloads.run(pulled, lambda: None, agree))
    assert ["not logged" in each for each in downloads.remarks] == [True]


@pytest.mark.usefixtures("no_log")
def test_lists_of_models_on_servers_tell_that_it_is_not_logged(
    fake: FakeServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.put("/v1/models", models("m"))
    (home / "config.toml").write_text(
        f'[servers.box]\nurl = "{elsewhere(fake.url)}"\n', encoding="utf-8"
    )
    assert program(["models", "ls", "--all"]) == 0
    assert capsys.readouterr().err.count("not logged") == 1


@pytest.mark.usefixtures("no_log", "hub")
def test_facts_of_a_model_on_the_hub_tell_that_it_is_not_logged(
    hub_server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_server.add("owner/repo", {"m-Q4_K_M.gguf": gguf()})
    assert program(["models", "show", "owner/repo"]) == 0
    assert capsys.readouterr().err.count("not logged") == 1
    assert program(["models", "show", "owner/none"]) != 0
    assert capsys.readouterr().err.count("not logged") == 1


def test_a_redirect_is_a_request_of_its_own(pages: Pages) -> None:
    pages.redirect = "http://public.example/b"
    fetcher = HttpFetcher(user_log(), resolve=pages.resolve, connect=pages.connect)
    fetcher.fetch("http://public.example/redirect")
    assert len(logged()) == 2
    assert all(each.is_ended for each in logged())


def test_an_mcp_server_over_http_is_logged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server answers to its own name only.
    monkeypatch.setattr(egress_log, "is_loopback_name", lambda host: False)
    home.mkdir()
    stage = McpStage(home)
    with served_over_http(str(HERE / "official_server.py")) as url:
        servers = stage.open(far={"type": "http", "url": url})
        tools = servers.tools()
        servers.close()
    assert tools
    requests = logged()
    assert {(each.purpose, each.host, each.name) for each in requests} == {
        (Purpose.MCP, "127.0.0.1", "far")
    }
    assert any(each.received for each in requests)
    assert urlsplit(url).path not in log_text(home)


def test_every_socket_to_elsewhere_has_its_line(
    fake: FakeServer, backend: ServerBackend, pages: Pages, hub: HubApi
) -> None:
    """A new client that forgets the log shows here as a connection without a request."""
    seen: list[object] = []
    is_watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        if is_watching and event == "socket.connect":
            seen.append(args[1])

    sys.addaudithook(watch)
    fake.chat(reply("Yes."))
    ask(backend)
    hub.search("x")
    HttpFetcher(user_log(), resolve=pages.resolve, connect=pages.connect).fetch(
        "http://public.example/a"
    )
    is_watching = False
    assert 0 < len(seen) <= len(logged())
