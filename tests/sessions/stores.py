"""What tests do with stores beyond what the program does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tchat.sessions import database_file
from tchat.sessions.records import Message, Session
from tchat.sessions.store import SessionStore, Store


def new_session(
    store: Store, *, title: str = "", system: str = "", settings: Mapping[str, Any] | None = None
) -> Session:
    """Start a session without a first message."""
    with store._database.writing() as connection:
        return store._insert_session(connection, title, system, settings or {})


def recover(store: SessionStore) -> list[Message]:
    """Mark the replies of dead processes as interrupted, as opening the file does."""
    assert store._locks is not None
    with store._locks.gate():
        return database_file.recover(store._database, store._locks)
