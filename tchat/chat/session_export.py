"""A session into a file of its own, in the format that the file's name asks for."""

from __future__ import annotations

from pathlib import Path

from tchat.paths import expanded
from tchat.sessions.export import json_pieces, markdown_pieces
from tchat.sessions.store import SessionStore
from tchat.settings.write import write_new


def write_session(store: SessionStore, session_id: str, name: str = "") -> Path:
    """Write a session into a new file, and return its path.

    A name that ends in ``.json`` gets all branches as JSON, which `tchat sessions import` reads;
    any other gets the active branch as Markdown.

    Raises:
        UsageError: The file is there already, or its folder is not.
        StorageError: It cannot be written.
    """
    path = expanded(name) if name else Path(f"tchat-{session_id}.md")
    session = store.get(session_id)
    if path.suffix.lower() == ".json":
        pieces = json_pieces([(session, store.messages(session_id))])
    else:
        pieces = markdown_pieces(session, store.branch_models(session_id), store.walk(session_id))
    write_new(path, (piece.encode("utf-8", "surrogatepass") for piece in pieces))
    return path
