"""``store.db`` of oterm: chats with their messages in a row, without times."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Set

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    content_key,
    linear,
    sessions_of,
)
from tchat.sessions.importers.fields import ChatSize, list_of, text_of
from tchat.sessions.importers.importer import DatabaseImporter, ImportReport, Omission, Sessions
from tchat.sessions.records import Role

NAME = "oterm"

Tables = Mapping[str, Set[str]]


def _matches(tables: Tables) -> bool:
    return tables.get("chat", frozenset()) >= {"id", "name", "model"} and (
        tables.get("message", frozenset()) >= {"id", "chat_id", "author", "text"}
    )


def _read(connection: sqlite3.Connection, tables: Tables, report: ImportReport) -> Sessions:
    return sessions_of(_chats(connection, tables, report), report)


def _chats(
    connection: sqlite3.Connection, tables: Tables, report: ImportReport
) -> Iterator[SourceChat]:
    system = "system" if "system" in tables["chat"] else "''"
    images = "images" if "images" in tables["message"] else "''"
    chats = connection.execute(
        f"SELECT id, name, model, {system} FROM chat ORDER BY id"  # noqa: S608 - a name
    )
    for number, name, model, instructions in chats:
        rows = connection.execute(
            f"SELECT id, author, text, {images} FROM message "  # noqa: S608 - a name
            "WHERE chat_id = ? ORDER BY id",
            (number,),
        )
        messages, size = [], ChatSize()
        for key, author, text, pictures in rows:
            report.left_out[Omission.IMAGE] += _count(pictures)
            role = ROLES.get(text_of(author).lower(), Role.USER)
            size.add(text_of(text))
            written_by = text_of(model) if role is Role.ASSISTANT else ""
            messages.append(
                SourceMessage(str(key), None, role, text_of(text), model=written_by, joins=False)
            )
        yield SourceChat(
            program=NAME,
            # The number alone is the same in every database.
            key=content_key(number, messages[0].text if messages else ""),
            tip=linear(messages),
            messages=messages,
            title=text_of(name),
            system=text_of(instructions),
        )


def _count(images: object) -> int:
    try:
        return len(list_of(json.loads(images))) if isinstance(images, str) and images else 0
    except (ValueError, RecursionError):
        return 0


OTERM = DatabaseImporter(NAME, _matches, _read)
