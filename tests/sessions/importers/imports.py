"""Import of documents that other programs could have written, into a store in memory."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tchat.sessions.importers import ImportReport
from tchat.sessions.importers.files import ImportFile, read_file
from tchat.sessions.records import ImportedSession, Message, Session
from tchat.sessions.serialization import json_of
from tchat.sessions.store import SessionStore, Store


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


def lines(*values: Any) -> bytes:
    return "\n".join(map(json.dumps, values)).encode()


def archive(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return file.getvalue()


class Imports:
    """A store that documents are imported into, and what the last import said."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.report = ImportReport()

    def __call__(self, content: bytes | Path) -> list[ImportedSession]:
        self.report = ImportReport()
        if isinstance(content, bytes):
            source = ImportFile("export", io.BytesIO(content))
            return self.store.import_sessions(read_file(source, self.report))
        with content.open("rb") as file:
            source = ImportFile(content.name, file, content)
            return self.store.import_sessions(read_file(source, self.report))

    def one(self, content: bytes | Path) -> Session:
        """The only session of a document."""
        (imported,) = self(content)
        return imported.session

    def said(self) -> str:
        return "; ".join(self.report.lines())

    def tree(self, session: Session) -> list[str]:
        """The messages as ``role: text``, each below its parent; the active ones with a star."""
        tree = self.store.tree(session.id)
        return list(_below(None, tree.messages, tree.active, ""))

    def branch(self, session: Session) -> list[str]:
        return [_line(each) for each in self.store.branch(session.id)]


def _line(message: Message) -> str:
    """``role: text``, the calls of a reply, and what a result is of."""
    calls = "".join(f" [{each.name} {json_of(each.arguments)}]" for each in message.tool_calls)
    outcome = message.tool_outcome
    of = f" {outcome.name}" + " failed" * (outcome.state == "failed") if outcome else ""
    return f"{message.role}{of}: {message.text}{calls}"


def _below(
    parent: int | None, messages: tuple[Message, ...], active: frozenset[int], indent: str
) -> Iterator[str]:
    for message in messages:
        if message.parent_id == parent:
            star = "*" if message.id in active else ""
            yield f"{indent}{star}{_line(message)}"
            yield from _below(message.id, messages, active, indent + " ")


def in_memory() -> Iterator[Imports]:
    with SessionStore.in_memory() as store:
        yield Imports(store)
