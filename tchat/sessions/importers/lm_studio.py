"""A chat of LM Studio: ``*.conversation.json``, with versions of each message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    content_key,
    json_importer,
)
from tchat.sessions.importers.fields import (
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
            messages += made
            if made:
                tip = made[_selected(object_of(message), made)].key
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
) -> SourceMessage:
    made = SourceMessage(key, parent, ROLES.get(text_of(version.get("role"))), joins=False)
    sender = object_of(version.get("senderInfo"))
    made.model = text_of(sender.get("senderName"))
    texts = _texts(version.get("content"), report)
    reasoning: list[str] = []
    for each in list_of(version.get("steps")):
        step = object_of(each)
        if step.get("type") == "contentBlock":
            said = _texts(step.get("content"), report, reasoning)
            is_thinking = object_of(step.get("style")).get("type") == "thinking"
            (reasoning if is_thinking else texts).extend(said)
            model = object_of(step.get("genInfo")).get("indexedModelIdentifier")
            made.model = made.model or text_of(model)
        elif step.get("type") not in ("debugInfoBlock", "toolStatus", "status"):
            report.left_out[Omission.OTHER] += 1
    made.text = "\n\n".join(filter(None, texts))
    made.reasoning = "\n\n".join(filter(None, reasoning))
    return made


def _texts(content: Any, report: ImportReport, reasoning: list[str] | None = None) -> list[str]:
    """The texts of parts, which follow each other without a break; calls of tools apart."""
    if isinstance(content, str):
        return [content]
    texts: list[str] = []
    for each in list_of(content):
        part = object_of(each)
        kind = text_of(part.get("type"))
        if kind == "text":
            texts.append(text_of(part.get("text")))
        elif kind in ("toolCallRequest", "toolCallResult"):
            from tchat.sessions.serialization import json_of

            said = text_of(part.get("content")) or json_of(object_of(part.get("parameters")))
            if reasoning is not None:
                reasoning.append(tool_text(text_of(part.get("name")), said))
                report.changed[Changed.TOOL] += 1
        else:
            name = text_of(part.get("fileType")) or kind
            report.left_out[_FILES.get(name, Omission.OTHER)] += 1
    return ["".join(texts)]


LM_STUDIO = json_importer(NAME, _matches, _chats)
