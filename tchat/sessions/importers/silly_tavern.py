"""A chat of SillyTavern: JSON Lines, the first with facts; the swipes of a message are siblings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tchat.sessions.importers.conversation import (
    SourceChat,
    SourceMessage,
    content_key,
    json_importer,
)
from tchat.sessions.importers.fields import (
    ChatSize,
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
from tchat.sessions.records import Role

NAME = "SillyTavern"
# Of earlier versions: 2024-3-9 @14h 05m 09s 123ms, and March 9, 2024 2:05pm
_OLD_DATE = re.compile(r"(\d+)-(\d+)-(\d+) ?@ ?(\d+)h ?(\d+)m ?(\d+)s(?: ?(\d+)ms)?")
_NAMED_DATE = "%B %d, %Y %I:%M%p"


def _matches(_: str, found: Outline) -> bool:
    names = found.members.keys()
    return found.opening == "{" and (
        "chat_metadata" in names or {"name", "is_user", "mes"} <= names
    )


def _chats(lines: Iterable[Any], report: ImportReport) -> Iterator[SourceChat]:
    head: Mapping[str, Any] = {}
    messages: list[SourceMessage] = []
    tip: str | None = None
    size = ChatSize()
    for number, line in enumerate(lines):
        found = object_of(line)
        if "mes" not in found:
            head = head or found
            continue
        made, selected = _swipes(found, number, tip, report)
        messages += made
        for message in made:
            size.add(message.text)
        tip = made[selected].key
    metadata = object_of(head.get("chat_metadata"))
    facts = (head.get("character_name"), head.get("create_date"))
    named = key_of(metadata.get("integrity")) or "".join(map(text_of, facts))
    yield SourceChat(
        program=NAME,
        key=named or content_key(messages),
        messages=messages,
        title=text_of(head.get("character_name")),
        system=text_of(metadata.get("system_prompt")),
        created_at=_time(head.get("create_date")),
        tip=tip or "",
    )


def _swipes(
    message: Mapping[str, Any], number: int, parent: str | None, report: ImportReport
) -> tuple[list[SourceMessage], int]:
    """The alternatives of a message, and the place of the one that was shown."""
    extra = object_of(message.get("extra"))
    if extra.get("image"):
        report.left_out[Omission.IMAGE] += 1
    if extra.get("file") or extra.get("fileStart"):
        report.left_out[Omission.FILE] += 1
    shown = text_of(message.get("mes"))
    texts = [text for text in list_of(message.get("swipes")) if isinstance(text, str)]
    place = message.get("swipe_id")
    selected = place if isinstance(place, int) and 0 <= place < len(texts) else -1
    if selected < 0:
        selected, texts = 0, [shown, *(text for text in texts if text != shown)]
    else:
        texts[selected] = shown  # it may have been edited
    facts = [object_of(each) for each in list_of(message.get("swipe_info"))]
    made = []
    for place, text in enumerate(texts):
        own = facts[place] if place < len(facts) else {}
        its = object_of(own.get("extra")) or (extra if place == selected else {})
        made.append(
            SourceMessage(
                key=f"{number}.{place}",
                parent=parent,
                role=Role.USER if message.get("is_user") is True else Role.ASSISTANT,
                text=text,
                reasoning=text_of(its.get("reasoning")),
                created_at=_time(own.get("send_date")) or _time(message.get("send_date")),
                model=text_of(its.get("model")),
                joins=False,
            )
        )
    return made, selected


def _time(value: Any) -> float:
    if found := time_of(value):
        return found
    text = text_of(value)
    try:
        if match := _OLD_DATE.fullmatch(text):
            *parts, milliseconds = (int(part or 0) for part in match.groups())
            year, month, day, hour, minute, second = parts
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            return time_of(moment.timestamp() + milliseconds / 1000)
        return time_of(datetime.strptime(text, _NAMED_DATE).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return 0.0


SILLY_TAVERN = json_importer(NAME, _matches, _chats)
