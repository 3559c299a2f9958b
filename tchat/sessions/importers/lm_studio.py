"""A chat of LM Studio: ``*.conversation.json``, with versions of each message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    Steps,
    content_key,
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

NAME = "LM Studio"
_VERSIONS = re.compile(r'"messages"\s*:\s*\[\s*\{\s*"(versions|currentlySelected)"')
_FILES = {"image": Omission.IMAGE, "file": Omission.FILE}


def _matches(head: str, found: Outline) -> bool:
    return found.has(messages="[") and bool(_VERSIONS.search(head))


def _chats(documents: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    for found in documents:
        document = object_of(found)
        messages: list[SourceMessage] = []
        tip: str | None = None
        for number, message in enumerate(list_of(document.get("messages"))):
            versions = list_of(object_of(message).get("versions"))
            made = [
                _version(object_of(version), f"{number}.{place}", tip, report)
                for place, version in enumerate(versions)
            ]
            messages += (message for steps in made for message in steps)
            if made:
                tip = made[_selected(object_of(message), made)][-1].key
        created = time_of(document.get("createdAt"))
        yield SourceChat(
            program=NAME,
            key=str(document.get("createdAt")) if created else content_key(messages),
            messages=messages,
            title=text_of(document.get("name")),
            system=text_of(document.get("systemPrompt")),
            created_at=created,
            updated_at=max(
                map(
                    time_of,
                    (document.get("userLastMessagedAt"), document.get("assistantLastMessagedAt")),
                )
            ),
            tip=tip or "",
        )


def _selected(message: Mapping[str, Any], versions: Sequence[object]) -> int:
    place = message.get("currentlySelected")
    return place if isinstance(place, int) and 0 <= place < len(versions) else len(versions) - 1


def _version(
    version: Mapping[str, Any], key: str, parent: str | None, report: ImportReport
) -> list[SourceMessage]:
    made = SourceMessage(key, parent, ROLES.get(text_of(version.get("role"))), joins=False)
    sender = object_of(version.get("senderInfo"))
    made.model = text_of(sender.get("senderName"))
    steps = Steps(made)
    _add_parts(version.get("content"), steps, report)
    for each in list_of(version.get("steps")):
        step = object_of(each)
        if step.get("type") == "contentBlock":
            is_thinking = object_of(step.get("style")).get("type") == "thinking"
            _add_parts(step.get("content"), steps, report, is_thinking=is_thinking)
            model = object_of(step.get("genInfo")).get("indexedModelIdentifier")
            made.model = made.model or text_of(model)
        elif step.get("type") not in ("debugInfoBlock", "toolStatus", "status"):
            report.left_out[Omission.OTHER] += 1
    return steps.messages()


def _add_parts(
    content: Any, steps: Steps, report: ImportReport, *, is_thinking: bool = False
) -> None:
    """Add parts; their texts follow each other without a break."""
    add = steps.add_reasoning if is_thinking else steps.add_text
    if isinstance(content, str):
        add(content)
        return
    texts: list[str] = []
    for each in list_of(content):
        part = object_of(each)
        kind = text_of(part.get("type"))
        if kind == "text":
            texts.append(text_of(part.get("text")))
        elif kind == "toolCallRequest":
            add("".join(texts))
            texts = []
            name = text_of(part.get("name")) or "tool"
            steps.add_call(_call_id(part), name, arguments_of(part.get("parameters")))
        elif kind == "toolCallResult":
            add("".join(texts))
            texts = []
            steps.add_result(_call_id(part), text_of(part.get("name")), _content(part))
        else:
            name = text_of(part.get("fileType")) or kind
            report.left_out[_FILES.get(name, Omission.OTHER)] += 1
    add("".join(texts))


def _call_id(part: Mapping[str, Any]) -> str:
    names = ("toolCallRequestId", "toolCallId", "callId")
    return next((found for name in names if (found := key_of(part.get(name)))), "")


def _content(part: Mapping[str, Any]) -> str:
    """The text of a result, or its JSON."""
    content = part.get("content")
    if isinstance(content, str) or not content:
        return text_of(content)
    from tchat.sessions.serialization import json_of

    return json_of(content) if isinstance(content, (dict, list)) else str(content)


LM_STUDIO = json_importer(NAME, _matches, _chats)
