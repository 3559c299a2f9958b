"""Replies of the model for an MCP server, between two replies of a chat."""

from __future__ import annotations

from pathlib import Path

from tchat.chat.chat import Chat
from tchat.chat.server_reply import reply_to_server
from tchat.engine.events import Finished
from tchat.tools.mcp.host import SamplingRequest
from tests.chat.conftest import OpenChat
from tests.chat.tool_turns import OpenTools

REQUEST = SamplingRequest("s", "Be short", (("user", "Name a fruit"),), 8, 0.0)


def said(chat: Chat, prompt: str) -> str:
    (finished,) = [event for event in chat.send(prompt) if isinstance(event, Finished)]
    return finished.text


def test_a_reply_for_a_server_is_not_stored_and_the_chat_goes_on(open_chat: OpenChat) -> None:
    asked = open_chat()
    said(asked, "one")
    reply = reply_to_server(asked, REQUEST)
    assert reply
    assert reply_to_server(asked, REQUEST) == reply
    assert said(asked, "two")
    assert asked.session is not None
    branch = asked.store.branch(asked.session.id)
    assert [message.text for message in branch if message.role == "user"] == ["one", "two"]


def test_a_reply_for_a_server_is_offered_no_tools(
    open_chat: OpenChat, open_tools: OpenTools, hermes: Path
) -> None:
    plain, equipped = (open_chat(model=str(hermes)) for _ in range(2))
    equipped.tools = open_tools()
    for chat in (plain, equipped):
        said(chat, "one")
    assert reply_to_server(equipped, REQUEST) == reply_to_server(plain, REQUEST)
    said(equipped, "two")
    assert equipped.model is not None


def test_a_reply_that_is_stopped_or_does_not_fit_is_none(open_chat: OpenChat) -> None:
    chat = open_chat()
    assert reply_to_server(chat, REQUEST) is None  # no model is loaded
    said(chat, "one")
    large = SamplingRequest("s", "", (("user", "word " * 20_000),), 8)
    assert reply_to_server(chat, large) is None
    chat.cancel.set()
    assert reply_to_server(chat, REQUEST) is None
