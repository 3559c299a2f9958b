"""A chat whose server gets placeholders: what is stored and shown is the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.chat import Chat
from tchat.chat.outgoing import is_redacted
from tchat.chat.tool_setup import open_tools
from tchat.engine.events import Finished, Notice, ReasoningDelta, TextDelta, ToolStep
from tchat.paths import Paths, user_paths
from tchat.servers.config import Server
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tools.mcp.config import ServerConfig
from tchat.tools.outgoing import OutgoingArguments, redact_all, redact_url
from tchat.tools.tool import Arguments, Effect, Tool, object_schema
from tests.servers.fake_server import Answer, FakeServer, piece, reply, serving, sse

MAIL, HOST = "ann.lee@example.com", "db1.prod.example.com"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir()
    return user_paths()


@pytest.fixture
def store(paths: Paths) -> Iterator[SessionStore]:
    with SessionStore(paths.sessions_db) as opened:
        yield opened


def settings_for(fake: FakeServer, *, redact: bool = True, **more: Any) -> Settings:
    table = {"url": fake.url, "ctx_size": 2000, "redact": redact}
    return Settings(model="box", servers={"box": table}, **more)


@pytest.fixture
def chat(fake: FakeServer, paths: Paths, store: SessionStore) -> Iterator[Chat]:
    with Chat(settings_for(fake), paths, store) as opened:
        yield opened


def stored(store: SessionStore, chat: Chat) -> list[str]:
    assert chat.session is not None
    return [each.text for each in store.branch(chat.session.id)]


def sent(fake: FakeServer) -> list[str]:
    return [each["content"] for each in fake.bodies()[-1]["messages"]]


def test_a_server_gets_placeholders_and_the_chat_has_the_values(
    fake: FakeServer, chat: Chat, store: SessionStore
) -> None:
    chunks = [piece(reasoning_content="about [EM"), piece(reasoning_content="AIL_1]")]
    chunks += [piece("Wrote to [EMAI"), piece("L_"), piece("1"), piece("] ["), piece(end="stop")]
    fake.chat(Answer(sse(*chunks)))
    events = list(chat.send(f"Write to {MAIL} from {HOST}."))
    assert sent(fake) == ["Write to [EMAIL_1] from [HOST_1]."]
    assert stored(store, chat) == [f"Write to {MAIL} from {HOST}.", f"Wrote to {MAIL} ["]
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert (shown, thought) == (f"Wrote to {MAIL} [", f"about {MAIL}")
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.text, end.reasoning) == (shown, thought)
    told = [each.text for each in events if isinstance(each, Notice) and each.kind == "redaction"]
    assert told == [f"2 values are replaced by placeholders in what goes to {fake.host}"]


def test_what_was_sent_stays_the_beginning_of_what_is_sent(
    fake: FakeServer, paths: Paths, chat: Chat, store: SessionStore
) -> None:
    fake.chat(reply("Done for [EMAIL_1]"), reply("Yes"), reply("Again"))
    list(chat.send(f"Write to {MAIL}."))
    first = sent(fake)
    list(chat.send("Also to bob@example.com?"))
    second = sent(fake)
    assert second == [*first, "Done for [EMAIL_1]", "Also to [EMAIL_2]?"]
    with Chat(chat.settings, paths, store, session=chat.session) as again:  # as a new process
        list(again.send("And bob@example.com?"))
    assert sent(fake) == [*second, "Yes", "And [EMAIL_2]?"]


def test_what_was_replaced_goes_with_the_session(
    fake: FakeServer, chat: Chat, store: SessionStore
) -> None:
    fake.chat(reply("Done"))
    list(chat.send(f"Write to {MAIL}."))
    assert chat.session is not None
    assert store.placeholders(chat.session.id) == {"[EMAIL_1]": MAIL}
    store.delete(chat.session.id)
    store.erase()
    assert store.path is not None
    assert MAIL.encode() not in store.path.read_bytes()


def test_every_reply_of_several_has_the_values(
    fake: FakeServer, chat: Chat, store: SessionStore
) -> None:
    fake.chat(reply("To [EMAIL_1]"), reply("For [EMAIL_1]"))
    list(chat.candidates(2, f"Write to {MAIL}."))
    assert MAIL not in str(fake.bodies())
    assert chat.session is not None
    texts = {message.text for message, _ in store.messages(chat.session.id)}
    assert {f"To {MAIL}", f"For {MAIL}"} <= texts


@pytest.mark.parametrize(
    ("url", "redact", "setting", "expected"),
    [
        ("https://gpu.example.org/v1", False, True, True),
        ("https://gpu.example.org/v1", True, False, True),
        ("https://gpu.example.org/v1", False, False, False),
        ("http://127.0.0.1:8000/v1", False, True, False),
        ("http://localhost:8000/v1", True, True, True),
    ],
)
def test_a_server_on_this_machine_is_redacted_only_where_its_table_says_so(
    url: str, redact: bool, setting: bool, expected: bool
) -> None:
    server = Server("gpu", url, redact=redact)
    assert is_redacted(server, Settings(redact_outgoing=setting)) is expected


def call(name: str, arguments: str) -> Answer:
    function = {"name": name, "arguments": arguments}
    return Answer(
        sse(
            piece(tool_calls=[{"index": 0, "id": "a", "function": function}]),
            piece(end="tool_calls"),
        )
    )


def test_a_tool_gets_the_value_and_one_elsewhere_the_placeholder(
    fake: FakeServer, paths: Paths, store: SessionStore
) -> None:
    got: list[Mapping[str, Any]] = []

    def tool(name: str, outgoing: OutgoingArguments | None) -> Tool:
        def run(arguments: Arguments) -> str:
            got.append(arguments)
            return f"told {arguments['to']}"

        schema = object_schema(("to",), to={"type": "string"})
        effects = frozenset({Effect.NETWORK})
        return Tool(name, "Tell.", schema, run, effects=effects, outgoing=outgoing)

    settings = settings_for(fake, redact_outgoing=True)
    tools = open_tools(
        settings,
        paths,
        store,
        ask=None,
        names=["here", "elsewhere"],
        allow=["here", "elsewhere"],
        more=[tool("here", None), tool("elsewhere", OutgoingArguments(redact_all))],
    )
    fake.chat(
        call("here", '{"to": "[EMAIL_1]"}'), call("elsewhere", '{"to": "[EMAIL_1]"}'), reply("Ok")
    )
    with Chat(settings, paths, store, tools=tools) as chat:
        events = list(chat.send(f"Tell {MAIL}."))
    assert got == [{"to": MAIL}, {"to": "[EMAIL_1]"}]
    results = [each.content for each in events if isinstance(each, ToolStep) and each.content]
    assert results == [
        f"told {MAIL}",
        f"told {MAIL}\n[Values of this call were replaced before it left: 1.]",
    ]
    assert MAIL not in str(fake.bodies())


@pytest.mark.parametrize(
    ("url", "sent_url"),
    [
        ("https://example.org/a?b=c&d", "https://example.org/a?b=c&d"),
        (f"https://{HOST}/x", f"https://{HOST}/x"),
        ("https://example.org/u/ann%40example.com/x", "https://example.org/u/%5BEMAIL_1%5D/x"),
        ("https://example.org/?q=ann@example.com", "https://example.org/?q=%5BEMAIL_1%5D"),
        (
            "https://example.org/?p=%2B49+170+1234567&x=1",
            "https://example.org/?p=%5BPHONE_1%5D&x=1",
        ),
        ("https://example.org/?ann@example.com", "https://example.org/?%5BEMAIL_1%5D"),
        ("http://localhost:8080/?q=ann@example.com", "http://localhost:8080/?q=ann@example.com"),
    ],
)
def test_an_address_keeps_its_host(url: str, sent_url: str) -> None:
    from tchat.redaction.outgoing import OutgoingRedaction

    assert redact_url({"url": url}, OutgoingRedaction())["url"] == sent_url


def test_servers_of_tools_elsewhere_get_placeholders() -> None:
    far = ServerConfig("far", url="https://example.org/mcp")
    here = ServerConfig("here", ("program",))
    near = ServerConfig("near", url="http://localhost:8080/mcp")
    assert far.outgoing == OutgoingArguments(redact_all, is_always=False)
    assert here.outgoing is near.outgoing is None
    assert replace(here, redact=True).outgoing == OutgoingArguments(redact_all, is_always=True)
