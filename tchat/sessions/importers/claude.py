"""The data export of Claude: ``conversations.json``, with ``chat_messages``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    Steps,
    json_importer,
    linear,
)
from tchat.sessions.importers.fields import (
    arguments_of,
    key_of,
    list_of,
    object_of,
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
        model = text_of(conversation.get("model"))
        stored = map(object_of, conversation["chat_messages"])
        divided = [_message(each, n, model, report) for n, each in enumerate(stored)]
        messages = [message for steps in divided for message in steps]
        tip = messages[-1].key if messages else ""
        if all(steps[0].parent is None for steps in divided):  # in older exports
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
) -> list[SourceMessage]:
    parent = key_of(message.get("parent_message_uuid"))
    steps = Steps(
        SourceMessage(
            key=key_of(message.get("uuid")) or f"#{number}",
            parent=parent if parent not in ("", _ROOT) else None,
            role=ROLES.get(text_of(message.get("sender"))),
            created_at=time_of(message.get("created_at")),
            model=text_of(message.get("model")) or model,
        )
    )
    for each in list_of(message.get("content")):
        _sort(object_of(each), steps, report)
    made = steps.messages()
    if not any(each.text for each in made if each.role is not Role.TOOL):
        made[-1].text = made[-1].text or text_of(message.get("text"))
    for each in reversed(list_of(message.get("attachments"))):
        attachment = object_of(each)
        if content := text_of(attachment.get("extracted_content")):
            made[0].text = with_file(text_of(attachment.get("file_name")), content, made[0].text)
        else:
            report.left_out[Omission.FILE] += 1
    report.left_out[Omission.FILE] += len(list_of(message.get("files")))
    return made


def _sort(part: Mapping[str, Any], steps: Steps, report: ImportReport) -> None:
    """Put a part of a message to its texts, its reasoning, its calls or their results."""
    kind = text_of(part.get("type"))
    if kind == "text":
        steps.add_text(text_of(part.get("text")))
    elif kind == "thinking":
        steps.add_reasoning(text_of(part.get("thinking")))
    elif kind == "tool_use":
        name = text_of(part.get("name")) or "tool"
        steps.add_call(key_of(part.get("id")), name, arguments_of(part.get("input")))
    elif kind == "tool_result":
        given = part.get("content")
        parts = [text_of(object_of(each).get("text")) for each in list_of(given)]
        content = text_of(given) or "\n".join(filter(None, parts))
        if isinstance(given, dict):
            from tchat.sessions.serialization import json_of

            content = json_of(given)
        call_id, failed = key_of(part.get("tool_use_id")), part.get("is_error") is True
        steps.add_result(call_id, text_of(part.get("name")), content, failed=failed)
    elif kind == "image":
        report.left_out[Omission.IMAGE] += 1
    elif kind not in ("token_budget", "flag", ""):
        report.left_out[Omission.OTHER] += 1


CLAUDE = json_importer(NAME, _matches, _chats)
