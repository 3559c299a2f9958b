"""The data export of ChatGPT: ``conversations.json``, or ``conversations-NNN.json``.

A conversation is a tree of nodes in ``mapping``, each with its parent. A reply is spread over
several: thoughts, calls of tools, their results, the text. Nodes of weight 0 are hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import ROLES, SourceChat, SourceMessage, json_importer
from tchat.sessions.importers.fields import (
    arguments_of,
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
from tchat.sessions.records import Role, Status, ToolCall

NAME = "ChatGPT"
_CITATION = re.compile("\ue200[^\ue200\ue201]{0,2000}\ue201")  # refers to pages that are not there
_REASONING = ("thoughts", "reasoning_recap")
_REASONING_CHANNELS = ("analysis", "commentary")
_PARTS = {
    "image_asset_pointer": Omission.IMAGE,
    "audio_asset_pointer": Omission.AUDIO,
    "real_time_user_audio_video_asset_pointer": Omission.AUDIO,
}


def _matches(_: str, found: Outline) -> bool:
    return found.has(mapping="{")


def _chats(conversations: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    for conversation in conversations:
        mapping = object_of(object_of(conversation).get("mapping"))
        if not mapping:
            report.left_out[Omission.CHAT] += 1
            continue
        yield _chat(conversation, mapping, report)


def _chat(
    conversation: Mapping[str, Any], mapping: Mapping[str, Any], report: ImportReport
) -> SourceChat:
    system: list[str] = []
    model = text_of(conversation.get("default_model_slug"))
    messages = [
        _message(key, object_of(node), model, system, report)
        for key, node in _in_order_of_siblings(mapping)
    ]
    key = key_of(conversation.get("conversation_id")) or key_of(conversation.get("id"))
    return SourceChat(
        program=NAME,
        key=key or next(iter(mapping)),
        messages=messages,
        title=text_of(conversation.get("title")),
        system="\n\n".join(dict.fromkeys(system)),
        created_at=time_of(conversation.get("create_time")),
        updated_at=time_of(conversation.get("update_time")),
        tip=key_of(conversation.get("current_node")),
    )


def _in_order_of_siblings(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The nodes as they come, but siblings in the order in which their parent names them."""
    places = {
        child: place
        for node in mapping.values()
        for place, child in enumerate(list_of(object_of(node).get("children")))
        if isinstance(child, str)
    }
    return sorted(mapping.items(), key=lambda item: places.get(item[0], 0))


def _message(
    key: str,
    node: Mapping[str, Any],
    default_model: str,
    system: list[str],
    report: ImportReport,
) -> SourceMessage:
    message = object_of(node.get("message"))
    metadata = object_of(message.get("metadata"))
    content = object_of(message.get("content"))
    author = object_of(message.get("author"))
    made = SourceMessage(
        key,
        key_of(node.get("parent")) or None,
        None,
        created_at=time_of(message.get("create_time")),
    )
    if content.get("content_type") == "user_editable_context":
        system += _instructions(content)
        return made
    text = _text(content, report)
    for _ in list_of(metadata.get("attachments")):
        report.left_out[Omission.FILE] += 1
    role = ROLES.get(text_of(author.get("role")))
    if role is Role.SYSTEM and text.strip():
        system.append(text)
        return made
    if metadata.get("is_visually_hidden_from_conversation") is True or message.get("weight") == 0:
        if text.strip():
            report.left_out[Omission.HIDDEN] += 1
        return made
    made.model = text_of(metadata.get("model_slug")) or default_model
    made.status = _status(message, metadata)
    return _with_text(made, message, role, text)


def _with_text(
    made: SourceMessage,
    message: Mapping[str, Any],
    role: Role | None,
    text: str,
) -> SourceMessage:
    """Put the text where it belongs: into the message, the reasoning of the reply, or a call."""
    recipient = text_of(message.get("recipient")) or "all"
    kind = object_of(message.get("content")).get("content_type")
    if role is Role.USER:
        made.role, made.text, made.model = role, text, ""
    elif role is Role.ASSISTANT and recipient == "all":
        made.role = role
        if kind in _REASONING or message.get("channel") in _REASONING_CHANNELS:
            made.reasoning = text
        else:
            made.text = text
    elif role is Role.ASSISTANT and text.strip():
        call = ToolCall(id=made.key, name=recipient, arguments=arguments_of(text))
        made.role, made.calls = role, (call,)
    elif text.strip():
        author = text_of(object_of(message.get("author")).get("name"))
        made.role, made.text, made.outcome = Role.TOOL, text, outcome_of("", author)
    return made


def _status(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> Status:
    if message.get("status") == "in_progress":
        return Status.INTERRUPTED
    stopped = object_of(metadata.get("finish_details")).get("type") == "interrupted"
    return Status.STOPPED if stopped else Status.DONE


def _instructions(content: Mapping[str, Any]) -> list[str]:
    """The user's custom instructions, which stood in front of every chat."""
    names = ("user_profile", "user_instructions")
    return [text for name in names if (text := text_of(content.get(name)).strip())]


def _text(content: Mapping[str, Any], report: ImportReport) -> str:
    """All that a message says, whatever the type of its content."""
    texts = [_part(part, report) for part in list_of(content.get("parts"))]
    texts += [_thought(object_of(thought)) for thought in list_of(content.get("thoughts"))]
    if not texts:
        names = ("text", "content", "result", "title", "url")
        texts = [text_of(content.get(name)) for name in names]
    text = "\n\n".join(part for part in texts if part)
    text, marks = _CITATION.subn("", text)
    if marks:
        report.left_out[Omission.CITATION] += marks
    return text


def _part(part: Any, report: ImportReport) -> str:
    if isinstance(part, str):
        return part
    if not (found := object_of(part)):
        return ""
    kind = text_of(found.get("content_type"))
    if text := text_of(found.get("text")):
        return text  # a recording that was written down
    report.left_out[_PARTS.get(kind, Omission.OTHER)] += 1
    return ""


def _thought(thought: Mapping[str, Any]) -> str:
    summary, content = text_of(thought.get("summary")), text_of(thought.get("content"))
    return f"**{summary}**\n\n{content}" if summary and content else content or summary


CHATGPT = json_importer(NAME, _matches, _chats)
