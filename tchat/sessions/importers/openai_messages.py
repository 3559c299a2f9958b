"""``messages`` as the OpenAI API takes them: an object with them, a list of them, or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    content_key,
    json_importer,
    leading_system,
    linear,
)
from tchat.sessions.importers.fields import (
    ChatSize,
    calls_of,
    key_of,
    list_of,
    object_of,
    outcome_of,
    text_of,
    time_of,
)
from tchat.sessions.importers.importer import (
    ImportReport,
    Omission,
    Outline,
)
from tchat.sessions.records import Role

NAME = "OpenAI messages"
_PARTS = {
    "image_url": Omission.IMAGE,
    "input_image": Omission.IMAGE,
    "input_audio": Omission.AUDIO,
    "file": Omission.FILE,
    "input_file": Omission.FILE,
}


def _matches(_: str, found: Outline) -> bool:
    return found.has(messages="[") or _is_message(found)


def _is_message(found: Outline) -> bool:
    return "role" in found.members and ("content" in found.members or "tool_calls" in found.members)


def _chats(documents: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    bare: list[Any] = []
    size = ChatSize()
    for each in documents:
        document = object_of(each)
        if isinstance(document.get("messages"), list):
            yield _chat(document, report)
        elif "role" in document:
            bare.append(document)
            size.add(text_of(document.get("content")))
        else:
            report.left_out[Omission.CHAT] += 1
    if bare:
        yield _chat({"messages": bare}, report)


def _chat(document: Mapping[str, Any], report: ImportReport) -> SourceChat:
    model = text_of(document.get("model"))
    stored = [object_of(message) for message in document["messages"]]
    messages = [_message(each, f"{at}", model, report) for at, each in enumerate(stored)]
    key = key_of(document.get("id")) or content_key(
        *((each.role, each.text, each.reasoning) for each in messages)
    )
    system = leading_system(messages)
    times = (document.get(name) for name in ("created_at", "created", "create_time", "timestamp"))
    return SourceChat(
        program=NAME,
        key=key,
        tip=linear(messages),
        messages=messages,
        title=text_of(document.get("title")),
        system=system,
        created_at=next((time for time in map(time_of, times) if time), 0.0),
        updated_at=time_of(document.get("updated_at")),
    )


def _message(
    message: Mapping[str, Any], key: str, model: str, report: ImportReport
) -> SourceMessage:
    role = ROLES.get(text_of(message.get("role")))
    text = _text(message.get("content"), report)
    said = ("reasoning_content", "reasoning", "thinking")
    outcome = None
    if message.get("role") in ("tool", "function"):
        role = Role.TOOL
        outcome = outcome_of(message.get("tool_call_id"), message.get("name"))
    asked = list_of(message.get("tool_calls"))
    if called := object_of(message.get("function_call")):
        asked = [*asked, {"function": called}]
    times = (message.get(name) for name in ("created_at", "created", "timestamp"))
    return SourceMessage(
        key=key,
        parent=None,
        role=role,
        text=text,
        reasoning=next((found for name in said if (found := text_of(message.get(name)))), ""),
        created_at=next((time for time in map(time_of, times) if time), 0.0),
        model=text_of(message.get("model")) or model,
        calls=calls_of(asked, key) if role is Role.ASSISTANT else (),
        outcome=outcome,
    )


def _text(content: Any, report: ImportReport) -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for each in list_of(content):
        part = object_of(each)
        text = text_of(part.get("text")) or text_of(part.get("refusal"))
        if text:
            texts.append(text)
        else:
            report.left_out[_PARTS.get(text_of(part.get("type")), Omission.OTHER)] += 1
    return "\n\n".join(texts)


OPENAI_MESSAGES = json_importer(NAME, _matches, _chats)
