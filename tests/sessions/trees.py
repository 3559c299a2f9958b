"""Whole sessions written to one text, read from it and stored, as the commands do in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tchat.errors import UsageError
from tchat.sessions.formats.tchat_json import json_pieces
from tchat.sessions.importers.tchat_json import read_sessions
from tchat.sessions.records import Message, Session, SessionTree
from tchat.sessions.store import SessionStore


def to_json(trees: Iterable[SessionTree]) -> str:
    """Whole sessions, every branch of them, as one JSON document."""
    return "".join(
        json_pieces(
            (tree.session, ((each, each.id in tree.active) for each in tree.messages))
            for tree in trees
        )
    )


def from_json(text: str) -> list[SessionTree]:
    """What `to_json` wrote.

    Raises:
        UsageError: It is not such a document; the message says where it differs.
    """
    return [_tree(session, list(messages)) for session, messages in read_sessions([text])]


def _tree(session: Session, messages: Sequence[tuple[Message, bool]]) -> SessionTree:
    return SessionTree(
        session=replace(session, messages=len(messages)),
        messages=tuple(message for message, _ in messages),
        active=frozenset(message.id for message, active in messages if active),
    )


def insert_tree(store: SessionStore, source: SessionTree) -> Session:
    """Import a session; under a new id where its own is taken."""
    session = source.session
    try:
        store.get(session.id)
    except UsageError:
        pass
    else:
        session = replace(session, id="")
    messages = ((each, each.id in source.active) for each in source.messages)
    [stored] = store.import_sessions([(session, messages)])
    return stored.session
