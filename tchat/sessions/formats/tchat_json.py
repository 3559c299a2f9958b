"""Whole sessions, every branch of them, as JSON that `tchat.sessions.importers` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tchat.sessions.formats.format import ExportFormat, Messages
from tchat.sessions.records import Session
from tchat.sessions.serialization import json_of, record_values, tool_values
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.formats.format import SessionReader

FORMAT = "tchat-sessions"  # what a document calls itself
VERSION = 1  # the highest that is understood


def json_pieces(sessions: Iterable[tuple[Session, Messages]]) -> Iterator[str]:
    """Whole sessions, every branch of them, as one JSON document in pieces, a message each.

    A message whose parent did not come is left out.
    """
    yield f'{{\n "format": "{FORMAT}",\n "version": {VERSION},\n "sessions": ['
    between = ""
    for session, messages in sessions:
        head = record_values(session)
        del head["messages"]
        yield f'{between}\n  {json_of(head)[:-1]}, "messages": ['
        between, known = "", set()
        for message, active in messages:
            if message.parent_id is not None and message.parent_id not in known:
                continue  # deleted by another process, which left its children for a moment
            known.add(message.id)
            values = record_values(message) | tool_values(message) | {"active": active}
            del values["session_id"]
            yield f"{between}\n   {json_of(values)}"
            between = ","
        yield "\n  ]}"
        between = ","
    yield "\n ]\n}\n"


def _export(
    store: SessionReader,
    sessions: Iterable[Session],
    *,
    show_reasoning: bool,  # noqa: ARG001  all of it is written
) -> Iterator[str]:
    return json_pieces((each, store.messages(each.id)) for each in sessions)


TCHAT_JSON = ExportFormat("json", N_("JSON, to import"), (".json",), _export, is_json=True)
