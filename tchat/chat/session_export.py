"""Export a session to a new file, in the format of its suffix."""

from __future__ import annotations

from pathlib import Path

from tchat.paths import expanded, write_new
from tchat.sessions.formats import MARKDOWN, export_format
from tchat.sessions.store import Store


def write_session(store: Store, session_id: str, name: str = "") -> Path:
    """Write a session into a new file, and return its path.

    The ending of a name decides the format, as ``.json`` does; any other gets Markdown.

    Raises:
        UsageError: The file is there already, or its folder is not.
        StorageError: It cannot be written.
    """
    path = expanded(name) if name else Path(f"tchat-{session_id}.md")
    pieces = export_format("", path, MARKDOWN).export(
        store, [store.get(session_id)], show_reasoning=False
    )
    write_new(path, (piece.encode("utf-8", "surrogatepass") for piece in pieces))
    return path
