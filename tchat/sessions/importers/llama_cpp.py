"""The export of llama.cpp's web UI: JSON Lines with a record for each session and message.

Its earlier versions wrote one JSON document of the same records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import ROLES, SourceChat, SourceMessage, json_importer
from tchat.sessions.importers.fields import (
    ChatSize,
    calls_of,
    key_of,
    list_of,
    object_of,
    outcome_of,
    records,
    text_of,
    time_of,
    with_file,
)
from tchat.sessions.importers.importer import (
    ImportReport,
    Omission,
    Outline,
)
from tchat.sessions.records import Role

NAME = "llama.cpp"
_EXTRAS = {
    "IMAGE": Omission.IMAGE,
    "imageFile": Omission.IMAGE,
    "AUDIO": Omission.AUDIO,
    "audioFile": Omission.AUDIO,
}


def _matches(head: str, found: Outline) -> bool:
    if found.has(conv="{", messages="["):
        return True
    session = found.members.keys() >= {"type", "id", "currNode"}
    return session and found.opening == "{" and '"session"' in head


def _chats(found: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    session: Mapping[str, Any] = {}
    messages: list[SourceMessage] = []
    size = ChatSize()
    for each in found:
        record = object_of(each)
        if record.get("type") == "session":
            if session:
                yield _chat(session, messages)
            session, messages, size = record, [], ChatSize()
        elif record.get("type") == "message" and session:
            messages.append(_message(object_of(record.get("message")), report))
            size.add(messages[-1].text)
        elif "conv" in record:
            stored = list_of(record.get("messages"))
            yield _chat(
                object_of(record["conv"]), [_message(object_of(one), report) for one in stored]
            )
        else:
            report.left_out[Omission.OTHER] += 1
    if session:
        yield _chat(session, messages)


def _chat(session: Mapping[str, Any], messages: list[SourceMessage]) -> SourceChat:
    system = ""
    for message in messages:  # the system message stands between the root and the first prompt
        if message.role is Role.SYSTEM and not system:
            system, message.role, message.text = message.text, None, ""
    return SourceChat(
        program=NAME,
        key=key_of(session.get("id")),
        messages=messages,
        title=text_of(session.get("name")),
        system=system,
        updated_at=time_of(session.get("lastModified")),
        tip=key_of(session.get("currNode")),
    )


def _message(message: Mapping[str, Any], report: ImportReport) -> SourceMessage:
    role = ROLES.get(text_of(message.get("role")))
    text = text_of(message.get("content"))
    outcome = None
    if message.get("type") == "root":
        role, text = None, ""
    elif message.get("role") == "tool":
        role, outcome = Role.TOOL, outcome_of(message.get("toolCallId"))
    for each in reversed(list_of(message.get("extra"))):
        extra = object_of(each)
        if content := text_of(extra.get("content")):
            text = with_file(text_of(extra.get("name")), content, text)
        else:
            report.left_out[_EXTRAS.get(text_of(extra.get("type")), Omission.FILE)] += 1
    key = key_of(message.get("id"))
    return SourceMessage(
        key=key,
        parent=key_of(message.get("parent")) or None,
        role=role,
        text=text,
        reasoning=text_of(message.get("reasoningContent")) or text_of(message.get("thinking")),
        created_at=time_of(message.get("timestamp")),
        model=text_of(message.get("model")),
        calls=calls_of(_calls(message.get("toolCalls")), key) if role is Role.ASSISTANT else (),
        outcome=outcome,
    )


def _calls(value: Any) -> list[Any]:
    """The calls of tools, which older exports keep as JSON in a string."""
    if not isinstance(value, str) or not value:
        return list_of(value)
    try:
        return [call for each in records((value,)) for call in (list_of(each) or [each])]
    except ValueError:
        return []


LLAMA_CPP = json_importer(NAME, _matches, _chats)
