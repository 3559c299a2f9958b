"""What files held before tools changed them: a folder with a JSON line a change and the contents.

Only the newest changes are kept, encrypted where the store is.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError, StoreLocked
from tchat.tools.tool import ToolError
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

PURPOSE = "undo"
INDEX, SAVED = "changes.jsonl", ".before"
KEPT = 100  # changes


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """One change.

    Attributes:
        path: The file.
        saved: Where its former content is; None when there was no file.
        written: The SHA-256 of what the change wrote.
    """

    path: Path
    saved: Path | None
    written: str


class UndoHistory:
    """The changes kept in ``folder``, oldest first."""

    def __init__(self, folder: Path, encryption: Encryption | None = None) -> None:
        self._folder = folder
        self._encryption = encryption
        self._index = self._stored(folder / INDEX)

    def add(self, path: Path, content: bytes | None, written: str) -> UndoEntry:
        """Keep the former ``content`` of ``path``, before it is changed, and return its entry.

        Raises:
            StorageError: It cannot be written; then the file must not be changed.
        """
        if self._encryption is not None and not self._encryption.is_unlocked:
            raise StoreLocked(
                tr("what {path} holds cannot be kept: the store is locked", path=path),
                tr("unlock it, so that the change can be undone"),
            )
        saved = None
        if content is not None:
            saved = self._folder / f"{secrets.token_hex(8)}{SAVED}"
            self._stored(saved).write(content)
        entry = UndoEntry(path, saved, written)
        entries = [*self.entries(), entry]
        self._write(entries[-KEPT:])
        for old in entries[:-KEPT]:
            _remove(old)
        return entry

    def entries(self) -> list[UndoEntry]:
        """The changes, oldest first; lines that cannot be read are left out.

        Raises:
            StorageError: The store is locked, or the list is damaged.
        """
        try:
            lines = self._index.read().decode().splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        found = []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                values = json.loads(line)
                saved = self._folder / values["saved"] if values["saved"] else None
                found.append(UndoEntry(Path(values["path"]), saved, str(values["written"])))
        return found

    def last(self) -> UndoEntry:
        """The newest change.

        Raises:
            ToolError: There is none.
        """
        entries = self.entries()
        if not entries:
            raise ToolError(tr("no tool has changed a file"), tr("there is nothing to undo"))
        return entries[-1]

    def content_of(self, entry: UndoEntry) -> bytes | None:
        """What the file held before; None when it did not exist.

        Raises:
            ToolError: It is gone, or damaged.
        """
        if entry.saved is None:
            return None
        try:
            return self._stored(entry.saved).read()
        except OSError as error:
            raise ToolError(
                tr("cannot read {path}: {reason}", path=entry.saved, reason=error.strerror),
                tr("this change cannot be undone"),
            ) from error
        except StorageError as error:
            raise ToolError(error.message, tr("this change cannot be undone")) from error

    def discard(self, entry: UndoEntry) -> None:
        """Forget a change."""
        self._write([each for each in self.entries() if each != entry])
        _remove(entry)

    def _write(self, entries: list[UndoEntry]) -> None:
        lines = [
            json.dumps(
                {
                    "path": str(each.path),
                    "saved": each.saved.name if each.saved else None,
                    "written": each.written,
                }
            )
            for each in entries
        ]
        self._index.write("".join(f"{line}\n" for line in lines).encode())

    def _stored(self, path: Path) -> StoredFile:
        return StoredFile(path, self._encryption, PURPOSE)


def _remove(entry: UndoEntry) -> None:
    if entry.saved is not None:
        with suppress(OSError):
            entry.saved.unlink()
