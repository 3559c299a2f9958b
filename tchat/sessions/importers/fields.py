"""Members of foreign JSON, whatever stands there: of the wrong type is as good as absent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tchat.sessions.formats.markdown import fenced
from tchat.sessions.json_reader import JsonReader
from tchat.sessions.records import LAST_SECOND, ToolCall, ToolOutcome, ToolState
from tchat.translation import tr

LARGEST = 1 << 26  # characters of one chat; it is parsed as a whole
_MESSAGE = 300  # characters that weigh as much as a message without any
_MILLISECONDS = 1e11  # as seconds, this is the year 5138
_NOTHING: Mapping[str, Any] = {}


def records(texts: Iterable[str]) -> Iterator[Any]:
    """The items of a JSON array, the lines of JSON Lines, or the one value of a document.

    Raises:
        ValueError: It is no JSON, or one item is too large.
    """
    reader = JsonReader(texts, largest=LARGEST)
    if reader.peek() == "[":
        for _ in reader.items():
            yield reader.value()
        reader.end()
        return
    while reader.peek():
        yield reader.value()


class ChatSize:
    """Adds up a chat that comes in pieces, as it is held in memory until its end."""

    def __init__(self) -> None:
        self._left = LARGEST

    def add(self, text: str) -> None:
        """Count a message.

        Raises:
            ValueError: The chat is too large.
        """
        self._left -= len(text) + _MESSAGE
        if self._left < 0:
            raise ValueError(tr("a chat is longer than {most:,} characters", most=LARGEST))


def object_of(value: Any) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else _NOTHING


def list_of(value: Any) -> list[Any]:
    """``value`` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def key_of(value: Any) -> str:
    """``value`` as what other objects name it by; empty for none."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def time_of(value: Any) -> float:
    """Seconds since the epoch of a number or an ISO date; 0 where it is not known.

    Milliseconds, microseconds and nanoseconds are told by their size.
    """
    if isinstance(value, str):
        return _time_of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        seconds = float(value)
    except OverflowError:
        return 0.0
    for _ in range(3):
        if seconds >= _MILLISECONDS:
            seconds /= 1000
    return seconds if math.isfinite(seconds) and 0 < seconds <= LAST_SECOND else 0.0


def _time_of_text(text: str) -> float:
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return time_of(float(text)) if len(text) < 40 else 0.0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    try:
        return time_of((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (OverflowError, OSError):
        return 0.0


def with_file(name: str, content: str, text: str) -> str:
    """``text`` with a text file in front, in the form that a prompt carries files in."""
    shown = " ".join(name.split()) or "file"
    return f"File {shown}:\n{fenced(content)}\n\n{text}"


def arguments_of(value: Any) -> Mapping[str, Any]:
    """The arguments of a call, an object or its JSON; anything else is its one ``input``."""
    if not isinstance(value, str):
        return value if isinstance(value, dict) else {"input": value} if value else _NOTHING
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    return {"input": value} if value.strip() else _NOTHING


def calls_of(value: Any, key: str) -> tuple[ToolCall, ...]:
    """The calls in a message in the form of the OpenAI API; one without an id is named by ``key``.

    A call without a name is left out.
    """
    calls = []
    for number, each in enumerate(list_of(value), 1):
        function = object_of(object_of(each).get("function"))
        call_id = key_of(object_of(each).get("id")) or f"{key}:{number}"
        if name := text_of(function.get("name")):
            given = arguments_of(function.get("arguments"))
            calls.append(ToolCall(id=call_id, name=name, arguments=given))
    return tuple(calls)


def outcome_of(call_id: Any, name: Any = "") -> ToolOutcome:
    """The outcome of a call that ended well, as far as its program tells."""
    return ToolOutcome(call_id=key_of(call_id), name=text_of(name), state=ToolState.DONE)
