"""The data export of Claude: ``conversations.json``, with ``chat_messages``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    json_importer,
    linear,
)
from tchat.sessions.importers.fields import (
    key_of,
    list_of,
    object_of,
    text_of,
    time_of,
    tool_text,
    with_file,
)
from tchat.sessions.importers.importer import (
    Changed,
    ImportReport,
    Omission,
    Outline,
)

NAME = "Claude"
_ROOT = "00000000-0000-4000-8000-000000000000"  # the parent of first messages


def _matches(_: str, found: Outline) -> bool:
    return found.has(chat_messages="[")


def _chats(conversations: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    for found in conversations:
        conversation = object_of(found)
        if not isinstance(conversation.get("chat_messages"), list):
            report.left_out[Omission.CHAT] += 1
            continue
        messages = [
            _message(object_of(each), number, text_of(conversation.get("model")), report)
            for number, each in enumerate(conversation["chat_messages"])
        ]
        tip = messages[-1].key if messages else ""
        if all(message.parent is None for message in messages):  # in older exports
            tip = linear(messages)
        yield SourceChat(
            program=NAME,
            key=key_of(conversation.get("uuid")) or text_of(conversation.get("created_at")),
            messages=messages,
            title=text_of(conversation.get("name")),
            created_at=time_of(conversation.get("created_at")),
            updated_at=time_of(conversation.get("updated_at")),
            tip=key_of(conversation.get("current_leaf_message_uuid")) or tip,
        )


def _message(
    message: Mapping[str, Any], number: int, model: str, report: ImportReport
) -> SourceMessage:
    parent = key_of(message.get("parent_message_uuid"))
    role = ROLES.get(text_of(message.get("sender")))
    texts: list[str] = []
    reasoning: list[str] = []
    for each in list_of(message.get("content")):
        _sort(object_of(each), texts, reasoning, report)
    text = "\n\n".join(texts) or text_of(message.get("text"))
    for each in reversed(list_of(message.get("attachments"))):
        attachment = object_of(each)
        if content := text_of(attachment.get("extracted_content")):
            text = with_file(text_of(attachment.get("file_name")), content, text)
        else:
            report.left_out[Omission.FILE] += 1
    report.left_out[Omission.FILE] += len(list_of(message.get("files")))
    return SourceMessage(
        key=key_of(message.get("uuid")) or f"#{number}",
        parent=parent if parent not in ("", _ROOT) else None,
        role=role,
        text=text,
        reasoning="\n\n".join(reasoning),
        created_at=time_of(message.get("created_at")),
        model=text_of(message.get("model")) or model,
    )


def _sort(
    part: Mapping[str, Any], texts: list[str], reasoning: list[str], report: ImportReport
) -> None:
    """Put a part of a message among its texts or its reasoning."""
    kind = text_of(part.get("type"))
    if kind == "text":
        texts.append(text_of(part.get("text")))
    elif kind == "thinking":
        reasoning.append(text_of(part.get("thinking")))
    elif kind in ("tool_use", "tool_result"):
        from tchat.sessions.serialization import json_of

        given = part.get("input" if kind == "tool_use" else "content")
        parts = [text_of(object_of(each).get("text")) for each in list_of(given)]
        content = text_of(given) or "\n".join(filter(None, parts)) or json_of(object_of(given))
        reasoning.append(tool_text(text_of(part.get("name")), content))
        report.changed[Changed.TOOL] += 1
    elif kind == "image":
        report.left_out[Omission.IMAGE] += 1
    elif kind not in ("token_budget", "flag", ""):
        report.left_out[Omission.OTHER] += 1


CLAUDE = json_importer(NAME, _matches, _chats)
