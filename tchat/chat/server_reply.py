"""Replies that an MCP server wants from the model of the chat, while it works on a call (MCP:
sampling). The user was asked before.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.engine.engine_thread import on_large_stack
from tchat.engine.events import Finished, Reason
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.tools.mcp.host import SamplingRequest


def reply_to_server(chat: Chat, request: SamplingRequest) -> str | None:
    """The model's reply; None where it was stopped or the request does not fit.

    Nothing is stored, and the next reply of the chat prefills what the request pushed out of the
    KV cache. Only while the engine's thread waits for a call of a tool: nothing else may use the
    engine.
    """
    return on_large_stack(lambda: _reply(chat, request))


def _reply(chat: Chat, request: SamplingRequest) -> str | None:
    model = chat.model
    if model is None:
        return None
    settings = chat.settings_for_model
    own = settings.sampling
    most = request.max_tokens if own.max_tokens < 0 else min(own.max_tokens, request.max_tokens)
    sampling = replace(
        own,
        temp=own.temp if request.temperature is None else request.temperature,
        max_tokens=most,
        stop=tuple(request.stop),
        grammar="",
    )
    system = [ChatMessage("system", request.system)] if request.system else []
    messages = [*system, *(ChatMessage(role, text) for role, text in request.messages)]
    model.engine.offer_tools(None)  # the next prompt of the chat offers them again
    try:
        reply = model.engine.generate(messages, sampling, think="off")
        with closing(reply):  # type: ignore[type-var]  # it is a generator
            for event in reply:
                if isinstance(event, Finished):
                    return None if event.reason is Reason.CANCELLED else event.text
    except DoesNotFit:
        return None
    return None
