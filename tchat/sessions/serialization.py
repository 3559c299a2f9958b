"""Convert records to table rows and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeGuard

from tchat.sessions.records import (
    Message,
    Role,
    Session,
    Status,
    ToolCall,
    ToolOutcome,
    ToolState,
)

if TYPE_CHECKING:
    import sqlite3

EMPTY_MESSAGE: Mapping[str, Any] = {
    "id": None,
    "active_child": None,
    "reasoning": "",
    "model": "",
    "model_sha256": "",
    "quantization": "",
    "template_hash": "",
    "sampling": {},
    "usage": {},
    "timings": {},
    "finish_reason": "",
    "pinned": False,
    "rating": 0,
    "picked_at": 0.0,
    "by_person": False,
    "scores": {},
    "unfinished": "",
    "tool_calls": (),
    "tool_outcome": None,
    "writer": "",
}


def _insertion(table: str, columns: Iterable[str]) -> str:
    names = tuple(columns)
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - names


_SESSION = ("id", "title", "system", "settings", "created_at", "updated_at", "used", "active_root")
_REQUIRED = ("session_id", "parent_id", "role", "text", "status", "created_at")
INSERT_SESSION = _insertion("sessions", _SESSION)
INSERT_MESSAGE = _insertion("messages", (*_REQUIRED, *EMPTY_MESSAGE))
MESSAGE_FIELDS = tuple(field.name for field in fields(Message))
SESSION_FIELDS = tuple(field.name for field in fields(Session))
DEEPEST = 200  # levels of JSON; SQLite refuses more than a thousand
LONGEST = 1024  # bits of an integer
_ABSENT = object()
_NUMBERS = frozenset({"usage", "timings", "scores"})
_JSON_COLUMNS = _NUMBERS | {"settings", "sampling"}


def storable(text: str) -> str:
    """``text`` with lone surrogates, which UTF-8 cannot hold, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16, so that two halves that belong together become their character.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def record_values(record: Session | Message | ToolOutcome) -> dict[str, Any]:
    """The fields of a record, as they are: unlike `asdict` at any depth of JSON."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def call_values(call: ToolCall) -> dict[str, Any]:
    """A tool call as it is in JSON."""
    return {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}


def tool_values(message: Message) -> dict[str, Any]:
    """The tool calls of a message, and what became of one, as they are in JSON."""
    outcome = message.tool_outcome
    return {
        "tool_calls": [call_values(call) for call in message.tool_calls],
        "tool_outcome": record_values(outcome) if outcome is not None else None,
    }


def call_of(value: object) -> ToolCall | None:
    """The tool call in a JSON value; None where it is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    call_id, arguments = value.get("id"), value.get("arguments")
    return ToolCall(
        id=storable(call_id) if isinstance(call_id, str) else "",
        name=storable(value["name"]),
        arguments=arguments if isinstance(arguments, Mapping) else {},
    )


def calls_of(value: object) -> tuple[ToolCall, ...]:
    """The tool calls in a JSON array; what is none is left out."""
    calls = map(call_of, value) if isinstance(value, list) else ()
    return tuple(call for call in calls if call is not None)


def outcome_of(value: object) -> ToolOutcome | None:
    """What became of a tool call, from a JSON value; None where it says nothing of that."""
    if not isinstance(value, Mapping):
        return None
    state = next((each for each in ToolState if each == value.get("state")), None)
    if state is None:
        return None
    texts = (value.get(name) for name in ("call_id", "name", "decided_by"))
    call_id, name, by = (storable(each) if isinstance(each, str) else "" for each in texts)
    seconds = value.get("seconds")
    return ToolOutcome(
        call_id=call_id,
        name=name,
        state=state,
        decided_by=by,
        seconds=float(seconds) if _is_number(seconds) and seconds >= 0 else 0.0,
    )


def to_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as SQLite takes them: mappings become JSON, texts storable."""
    return {name: _to_sql(name, value) for name, value in values.items()}


def json_of(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """``values`` as JSON that SQLite and Python read.

    Without NaN, infinity, integers of too many digits, and what is nested too deep.
    """
    try:
        plain = dict(values) if isinstance(values, Mapping) else list(values)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        text = ""
    if not text or text.count("{") + text.count("[") > DEEPEST:
        text = json.dumps(_sound(values, DEEPEST), ensure_ascii=False, allow_nan=False)
    return storable(text)


def _sound(value: Any, levels: int) -> Any:
    """``value`` without what `json_of` leaves out; `_ABSENT` where nothing is left."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _ABSENT
    if isinstance(value, int):
        return value if value.bit_length() <= LONGEST else _ABSENT
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if not levels:
        return _ABSENT
    if isinstance(value, Mapping):
        pairs = ((name, _sound(each, levels - 1)) for name, each in value.items())
        return {name: each for name, each in pairs if each is not _ABSENT}
    items = (_sound(each, levels - 1) for each in value)
    return [each for each in items if each is not _ABSENT]


def _to_sql(name: str, value: Any) -> Any:
    if name == "tool_calls":
        return json_of([call_values(call) for call in value])
    if name == "tool_outcome":
        return json_of(record_values(value)) if value is not None else ""
    if isinstance(value, Mapping):
        return json_of(value)
    return storable(str(value)) if isinstance(value, str) else value


def to_message(row: sqlite3.Row) -> Message:
    """The record of a row of ``messages``."""
    values = _from_row(row, MESSAGE_FIELDS)
    flags = {"pinned": bool(row["pinned"]), "by_person": bool(row["by_person"])}
    states = {"role": Role(row["role"]), "status": Status(row["status"])}
    calls, outcome = row["tool_calls"], row["tool_outcome"]
    tools = {
        "tool_calls": calls_of(_json("tool_calls", calls)) if calls != "[]" else (),
        "tool_outcome": outcome_of(_json("tool_outcome", outcome)) if outcome else None,
    }
    return Message(**values | flags | states | tools)


def to_session(row: sqlite3.Row) -> Session:
    """The record of a row of ``sessions`` joined with its count of ``messages``."""
    return Session(**_from_row(row, SESSION_FIELDS))


def _from_row(row: sqlite3.Row, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: row[name] for name in names}
    for name in _JSON_COLUMNS.intersection(values):
        text = values[name]
        values[name] = {} if text == "{}" else _json(name, text)
    return values


def _json(name: str, text: str) -> Any:
    """The value in a column; of what only holds numbers, nothing else."""
    try:
        found = json.loads(text)
    except RecursionError:
        return {}
    except ValueError:  # an integer of more digits than Python converts
        found = _sound(json.loads(text, parse_int=_short), DEEPEST)
    if text.count("{") + text.count("[") > DEEPEST:
        found = _sound(found, DEEPEST)
    if name in _NUMBERS:
        return {key: value for key, value in found.items() if _is_number(value)}
    return found


def _short(digits: str) -> Any:
    return int(digits) if len(digits) <= LONGEST // 4 else _ABSENT


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and -(2**63) <= value < 2**63
