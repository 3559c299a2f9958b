"""The export of Open WebUI: chats with their ``history``, a tree of messages."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    Steps,
    json_importer,
)
from tchat.sessions.importers.fields import (
    arguments_of,
    key_of,
    list_of,
    object_of,
    text_of,
    time_of,
)
from tchat.sessions.importers.importer import (
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
        divided = (_message(key, object_of(each), report) for key, each in stored.items())
        messages = [message for steps in divided for message in steps]
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


def _message(key: str, message: Mapping[str, Any], report: ImportReport) -> list[SourceMessage]:
    role = ROLES.get(text_of(message.get("role")))
    content = message.get("content")
    text = text_of(content) or "\n\n".join(
        text_of(object_of(part).get("text")) for part in list_of(content)
    )
    for each in list_of(message.get("files")):
        is_image = object_of(each).get("type") == "image"
        report.left_out[Omission.IMAGE if is_image else Omission.FILE] += 1
    made = SourceMessage(
        key=key,
        parent=key_of(message.get("parentId")) or None,
        role=role,
        text=text,
        created_at=time_of(message.get("timestamp")),
        model=text_of(message.get("model")),
        status=Status.INTERRUPTED if message.get("done") is False else Status.DONE,
        joins=False,
    )
    return _unfolded(made, text) if role is Role.ASSISTANT and _END in text else [made]


def _unfolded(message: SourceMessage, text: str) -> list[SourceMessage]:
    """A reply without what was folded in its text: reasoning, and calls of tools."""
    # Behind the last end nothing is folded: there each beginning would be searched in vain.
    end = text.rfind(_END) + len(_END) + 1
    found = [*_DETAILS.finditer(text, 0, end)]
    if not found:
        return [message]
    steps = Steps(message, separator="")
    before = 0
    for fold in found:
        steps.add_text(text[before : fold.start()])
        _unfold(fold, steps)
        before = fold.end()
    steps.add_text(text[before:])
    made = steps.messages()
    for each in made:
        each.text = each.text.strip("\n") if each.role is Role.ASSISTANT else each.text
    return made


def _unfold(found: re.Match[str], steps: Steps) -> None:
    text = html.unescape(_QUOTED.sub("", found["text"]))
    if found["kind"] != "tool_calls":
        steps.add_reasoning(text if text.strip() else "")
        return
    facts = {name: html.unescape(value) for name, value in _FACT.findall(found["facts"])}
    call_id, name = facts.get("id", ""), facts.get("name", "") or "tool"
    steps.add_call(call_id, name, arguments_of(_unquoted(facts.get("arguments", ""))))
    result = _unquoted(facts.get("result", "")) or text
    if result or facts.get("done") == "true":
        steps.add_result(call_id, name, result)


def _unquoted(text: str) -> str:
    """The string that ``text`` is as JSON, else ``text``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, str) else text


OPEN_WEBUI = json_importer(NAME, _matches, _chats)
