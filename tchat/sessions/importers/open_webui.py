"""The export of Open WebUI: chats with their ``history``, a tree of messages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import ROLES, SourceChat, SourceMessage, json_importer
from tchat.sessions.importers.fields import (
    key_of,
    list_of,
    object_of,
    text_of,
    time_of,
    tool_text,
)
from tchat.sessions.importers.importer import (
    Changed,
    ImportReport,
    Omission,
    Outline,
)
from tchat.sessions.records import Role, Status

NAME = "Open WebUI"
_DETAILS = re.compile(
    r'<details type="(?P<kind>[a-z_]+)"(?P<facts>[^<>]*)>\n?(?:<summary>[^<]*</summary>)?\n?'
    r"(?P<text>.*?)\n?</details>\n?",
    re.DOTALL,
)
_END = "</details>"
_FACT = re.compile(r'\b([a-z_]+)="([^"]*)"')
_QUOTED = re.compile("^&gt; ?|^> ?", re.MULTILINE)


def _matches(_: str, found: Outline) -> bool:
    return found.has(chat="{") or found.has(history="{", messages="[")


def _chats(documents: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    for document in documents:
        around = object_of(document)
        chat = object_of(around.get("chat")) or around
        history = object_of(chat.get("history"))
        stored = object_of(history.get("messages")) or _listed(chat)
        if not stored:
            report.left_out[Omission.CHAT] += 1
            continue
        messages = [_message(key, object_of(message), report) for key, message in stored.items()]
        yield SourceChat(
            program=NAME,
            key=key_of(around.get("id")) or key_of(chat.get("id")) or next(iter(stored)),
            messages=messages,
            title=text_of(chat.get("title")) or text_of(around.get("title")),
            system=text_of(object_of(chat.get("params")).get("system"))
            or text_of(chat.get("system")),
            created_at=time_of(around.get("created_at")) or time_of(chat.get("timestamp")),
            updated_at=time_of(around.get("updated_at")),
            tip=key_of(history.get("currentId")) or messages[-1].key,
        )


def _listed(chat: Mapping[str, Any]) -> Mapping[str, Any]:
    """The messages of a chat that has only a list of them."""
    found = [object_of(message) for message in list_of(chat.get("messages"))]
    return {key_of(each.get("id")) or f"#{number}": each for number, each in enumerate(found)}


def _message(key: str, message: Mapping[str, Any], report: ImportReport) -> SourceMessage:
    role = ROLES.get(text_of(message.get("role")))
    content = message.get("content")
    text = text_of(content) or "\n\n".join(
        text_of(object_of(part).get("text")) for part in list_of(content)
    )
    reasoning: list[str] = []
    if role is Role.ASSISTANT:
        # Behind the last end nothing is folded: there each beginning would be searched in vain.
        end = text.rfind(_END) + len(_END) + 1
        head = _DETAILS.sub(lambda found: _folded(found, reasoning, report), text[:end])
        text = head + text[end:]
    for each in list_of(message.get("files")):
        is_image = object_of(each).get("type") == "image"
        report.left_out[Omission.IMAGE if is_image else Omission.FILE] += 1
    return SourceMessage(
        key=key,
        parent=key_of(message.get("parentId")) or None,
        role=role,
        text=text.strip("\n") if reasoning else text,
        reasoning="\n\n".join(reasoning),
        created_at=time_of(message.get("timestamp")),
        model=text_of(message.get("model")),
        status=Status.INTERRUPTED if message.get("done") is False else Status.DONE,
        joins=False,
    )


def _folded(found: re.Match[str], reasoning: list[str], report: ImportReport) -> str:
    """Take what was folded in the text as reasoning."""
    text = html.unescape(_QUOTED.sub("", found["text"]))
    if found["kind"] == "tool_calls":
        facts = dict(_FACT.findall(found["facts"]))
        result = html.unescape(facts.get("result", ""))
        called = html.unescape(facts.get("arguments", ""))
        text = tool_text(facts.get("name", ""), "\n".join(filter(None, (called, result, text))))
        report.changed[Changed.TOOL] += 1
    if text.strip():
        reasoning.append(text)
    return ""


OPEN_WEBUI = json_importer(NAME, _matches, _chats)
