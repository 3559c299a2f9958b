"""Whole sessions as JSON that tchat exported, every branch of them; nothing read is trusted.

A document may be larger than the memory, so it is read and checked message by message; jsonschema
validates only a document that is parsed as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tchat.errors import UsageError
from tchat.sessions.formats.format import Messages
from tchat.sessions.formats.tchat_json import FORMAT, VERSION
from tchat.sessions.importers.importer import ImportReport, Outline, Sessions, TextImporter
from tchat.sessions.json_reader import JsonReader
from tchat.sessions.records import LAST_SECOND, Message, Role, Session, Status
from tchat.sessions.serialization import calls_of, outcome_of, storable
from tchat.translation import N_, tr

_Wanted = TypeVar("_Wanted")
_Member = TypeVar("_Member", Role, Status)

NAME = N_("tchat's JSON")
_BEFORE_MESSAGES = {"id", "title", "system", "settings", "created_at", "updated_at"}


def _matches(_: str, found: Outline) -> bool:
    return found.opening == "{" and (found.has(format='"') or found.has(sessions="["))


def _read(texts: Iterable[str], report: ImportReport) -> Sessions:
    for session, messages in read_sessions(texts):
        report.programs[NAME] += 1
        yield session, messages


def read_sessions(texts: Iterable[str]) -> Iterator[tuple[Session, Messages]]:
    """The sessions of a document, each with its messages, which are read before the next.

    Raises:
        UsageError: It is no JSON, of another format, of a newer version, or not consistent. What
            came before is of no use then.
    """
    reader = JsonReader(texts)
    try:
        if reader.peek() != "{":
            raise _refusal(tr("it is not a JSON object"))
        yield from _document(reader)
        reader.end()
    except ValueError as error:
        raise _refusal(tr("no JSON ({error})", error=error)) from error


def _document(reader: JsonReader) -> Iterator[tuple[Session, Messages]]:
    seen: dict[str, object] = {}
    for name in reader.members():
        if name != "sessions" or reader.peek() != "[":
            seen[name] = reader.value()
            continue
        seen[name] = []
        for number, _ in enumerate(reader.items(), 1):
            yield from _session(reader, tr("session {number}", number=number))
    if seen.get("format") != FORMAT:
        raise _refusal(tr('no "format": "{format}"', format=FORMAT))
    if _field(seen, "version", int, tr("the document")) > VERSION:
        raise UsageError(
            tr("the file was exported by a newer tchat"), tr("upgrade tchat to import it")
        )
    _field(seen, "sessions", list, tr("the document"))


def _session(reader: JsonReader, where: str) -> Iterator[tuple[Session, Messages]]:
    if reader.peek() != "{":
        raise _refusal(tr("{where} is not an object", where=where))
    seen: dict[str, Any] = {}
    for name in reader.members():
        if name == "messages" and reader.peek() == "[" and seen.keys() >= _BEFORE_MESSAGES:
            session = _session_of(seen, where)
            yield session, _checked(_values(reader), session.id, where)
            seen = {}
        else:
            seen[name] = reader.value()
    if seen:
        session = _session_of(seen, where)
        yield session, _checked(iter(_field(seen, "messages", list, where)), session.id, where)


def _values(reader: JsonReader) -> Iterator[Any]:
    try:
        for _ in reader.items():
            yield reader.value()
    except ValueError as error:
        raise _refusal(tr("no JSON ({error})", error=error)) from error


def _session_of(item: Mapping[str, Any], where: str) -> Session:
    return Session(
        id=_text(item, "id", where),
        title=_text(item, "title", where),
        system=_text(item, "system", where),
        created_at=_time(item, "created_at", where),
        updated_at=_time(item, "updated_at", where),
        settings=_field(item, "settings", dict, where),
        messages=0,
    )


def _checked(items: Iterator[Any], session_id: str, where: str) -> Messages:
    known: set[int] = set()
    for number, item in enumerate(items, 1):
        location = tr("{where}, message {number}", where=where, number=number)
        message = _message(item, session_id, location)
        if message.id in known:
            raise _refusal(
                tr("{location}: the id {id} occurs twice", location=location, id=message.id)
            )
        if message.parent_id is not None and message.parent_id not in known:
            raise _refusal(
                tr(
                    "{location}: its parent {parent_id} does not come before it",
                    location=location,
                    parent_id=message.parent_id,
                )
            )
        known.add(message.id)
        yield message, _field(item, "active", bool, location)


def _refusal(reason: str) -> UsageError:
    return UsageError(
        tr("the input is not an export of tchat: {reason}", reason=reason),
        tr("export it again, or import a copy of it"),
    )


def _field(item: Mapping[str, Any], name: str, expected: type[_Wanted], where: str) -> _Wanted:
    value = item.get(name)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise _refusal(
            tr("{where}: {name!r} is missing or of the wrong type", where=where, name=name)
        )
    return value


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    return storable(_field(item, name, str, where))


def _time(item: Mapping[str, Any], name: str, where: str) -> float:
    value = item.get(name)
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= LAST_SECOND
    ):
        return float(value)
    raise _refusal(tr("{where}: {name!r} is not a time", where=where, name=name))


def _message(item: object, session_id: str, where: str) -> Message:
    if not isinstance(item, dict):
        raise _refusal(tr("{where} is not an object", where=where))
    parent = item.get("parent_id")
    return Message(
        id=_field(item, "id", int, where),
        session_id=session_id,
        parent_id=None if parent is None else _field(item, "parent_id", int, where),
        role=_member(Role, item, "role", where),
        text=_text(item, "text", where),
        reasoning=_text(item, "reasoning", where),
        status=_member(Status, item, "status", where),
        created_at=_time(item, "created_at", where),
        model=_text(item, "model", where),
        model_sha256=_text(item, "model_sha256", where),
        quantization=_text(item, "quantization", where),
        template_hash=_text(item, "template_hash", where),
        sampling=_field(item, "sampling", dict, where),
        usage=_field(item, "usage", dict, where),
        timings=_field(item, "timings", dict, where),
        finish_reason=_text(item, "finish_reason", where),
        # Not in exports of the first versions:
        pinned=item.get("pinned") is True,
        by_person=item.get("by_person") is True,
        rating=_rating(item, where),
        picked_at=_time(item, "picked_at", where) if item.get("picked_at") else 0.0,
        scores=_scores(item.get("scores")),
        unfinished=_unfinished(item.get("unfinished")),
        tool_calls=calls_of(item.get("tool_calls")),
        tool_outcome=outcome_of(item.get("tool_outcome")),
    )


def _rating(item: Mapping[str, Any], where: str) -> int:
    rating = _field(item, "rating", int, where) if "rating" in item else 0
    if rating not in (-1, 0, 1):
        raise _refusal(tr("{where}: unknown rating {rating}", where=where, rating=rating))
    return rating


def _scores(value: object) -> dict[str, float]:
    """The scores that make sense; they can be had again."""
    if not isinstance(value, dict):
        return {}
    return {
        storable(str(name)): float(score)
        for name, score in value.items()
        if isinstance(score, float) and math.isfinite(score)
    }


def _unfinished(value: object) -> str:
    """At most three bytes in hexadecimal; what is none of that is dropped."""
    try:
        return bytes.fromhex(value)[:3].hex() if isinstance(value, str) else ""
    except ValueError:
        return ""


def _member(kind: type[_Member], item: Mapping[str, Any], name: str, where: str) -> _Member:
    try:
        return kind(_text(item, name, where))
    except ValueError as error:
        raise _refusal(
            tr("{where}: unknown {name} {item!r}", where=where, name=name, item=item[name])
        ) from error


TCHAT_JSON_IMPORTER = TextImporter(NAME, _matches, _read)
