"""Sessions as ``messages`` of the OpenAI API: the active branch, one JSON object a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tchat.sessions.formats.format import ExportFormat
from tchat.sessions.records import Message, Role, Session, ToolCall
from tchat.sessions.serialization import json_of
from tchat.sessions.tool_steps import paired
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.formats.format import SessionReader


def _export(
    store: SessionReader, sessions: Iterable[Session], *, show_reasoning: bool
) -> Iterator[str]:
    """JSON Lines: each line can be given to the API, or to what trains on chats."""
    for session in sessions:
        facts = {"id": session.id, "title": session.title, "created_at": session.created_at}
        model = store.last_model(session.id)
        head = json_of({**facts, **({"model": model} if model else {})})
        yield f'{head[:-1]}, "messages": ['
        between = ""
        if session.system:
            yield json_of({"role": Role.SYSTEM, "content": session.system})
            between = ", "
        for message in paired(store.walk(session.id)):
            yield between + json_of(_message(message, show_reasoning))
            between = ", "
        yield "]}\n"


def _message(message: Message, show_reasoning: bool) -> Mapping[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_outcome is not None:
        made["tool_call_id"] = message.tool_outcome.call_id
    if message.tool_calls:
        made["tool_calls"] = [_call(call) for call in message.tool_calls]
    if show_reasoning and message.reasoning:
        made["reasoning_content"] = message.reasoning
    return made


def _call(call: ToolCall) -> Mapping[str, Any]:
    function = {"name": call.name, "arguments": json_of(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


OPENAI_MESSAGES_FORMAT = ExportFormat(
    "openai", N_("Messages of the OpenAI API, as JSON Lines"), (".jsonl",), _export, is_json=True
)
