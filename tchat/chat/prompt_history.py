"""The history of prompts, across sessions and processes, in one private file.

``history.jsonl`` holds one JSON object a line, the newest last: the ``text`` as it was typed, and
``pastes`` and ``files``, the pairs of label and content behind its chips. A line that cannot be
understood is passed over: a prompt typed years ago is not worth an error. In an encrypted store
each line is encrypted for itself.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError, StoreLocked
from tchat.private_files import acquire_lock, private_file, private_folder, write_private
from tchat.translation import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tchat.encryption.encryption import Encryption

FILE = "history.jsonl"
PURPOSE = "prompt history"
MAX_ENTRIES = 1000  # that Up goes back through
MAX_LINE = 256 * 1024  # bytes of one line; a longer prompt is not remembered
MAX_FILE = 4 * 2**20  # bytes of the file; then the older half leaves
LOCK_SECONDS = 2.0

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One prompt as it was typed.

    Attributes:
        text: What stood in the prompt, with the labels of its chips.
        pastes: Label and text of each large paste.
        files: Label and name of each file mentioned.
    """

    text: str
    pastes: Pairs = ()
    files: Pairs = ()


class PromptHistory:
    """The file of prompts in the folder ``config``; every call reads or writes the disk."""

    def __init__(self, config: Path, encryption: Encryption | None = None) -> None:
        self._path = config / FILE
        self._stored = StoredFile(self._path, encryption, PURPOSE)

    def entries(self, most: int | None = MAX_ENTRIES) -> list[HistoryEntry]:
        """The latest prompts, or all for None; the oldest first, no two equal in a row.

        None of a locked store.

        Raises:
            StorageError: The file is there and cannot be read.
        """
        if self._is_locked:
            return []
        try:
            lines = list(self._stored.lines())
        except (FileNotFoundError, StoreLocked):
            return []
        except OSError as error:
            raise _cannot("read", self._path, error) from error
        found: list[HistoryEntry] = []
        for line in lines[-(most or 0) :]:
            entry = _parse(line)
            if entry is not None and found[-1:] != [entry]:
                found.append(entry)
        return found

    def add(self, entry: HistoryEntry, *, private: bool) -> None:
        """Append a prompt, except in private mode; skip a blank or very long one.

        Raises:
            StorageError: The file cannot be written.
        """
        line = json.dumps(asdict(entry)).encode()
        if self._is_locked or private or not entry.text.strip() or len(line) > MAX_LINE:
            return
        try:
            with self._locked():
                self._append(line)
        except OSError as error:
            raise _cannot("write", self._path, error) from error

    @property
    def _is_locked(self) -> bool:
        """Whether nobody unlocked the store: then it is as with private chats."""
        encryption = self._stored.encryption
        return encryption is not None and not encryption.is_unlocked

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change the texts of all entries.

        Raises:
            StorageError: The file cannot be read or written.
        """
        if self._is_locked or not self._path.is_file():
            return
        try:
            with self._locked():
                entries = [_changed(each, change) for each in self.entries(None)]
                self._stored.write_lines(json.dumps(asdict(each)).encode() for each in entries)
        except OSError as error:
            raise _cannot("write", self._path, error) from error

    def clear(self) -> None:
        """Delete the history.

        Raises:
            StorageError: The file cannot be removed.
        """
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot("remove", self._path, error) from error

    def _append(self, line: bytes) -> None:
        path = private_file(self._path)
        if path.stat().st_size + len(line) > MAX_FILE:
            data = path.read_bytes()
            write_private(path, data[data.find(b"\n", len(data) // 2) + 1 :])
        self._stored.append_line(line)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        private_folder(self._path.parent)
        lock = acquire_lock(self._path.with_suffix(".lock"), LOCK_SECONDS)
        if lock is None:
            raise StorageError(
                tr("another process holds the prompt history"), tr("this prompt is not saved in it")
            )
        try:
            yield
        finally:
            lock.release()


def _changed(entry: HistoryEntry, change: Callable[[str], str]) -> HistoryEntry:
    return HistoryEntry(
        change(entry.text),
        tuple((label, change(text)) for label, text in entry.pastes),
        entry.files,
    )


def _parse(line: bytes) -> HistoryEntry | None:
    """The entry of a line; None when the line is damaged."""
    try:
        found = json.loads(line)
        if not isinstance(found, dict) or not isinstance(found["text"], str):
            return None
        return HistoryEntry(found["text"], _pairs(found.get("pastes")), _pairs(found.get("files")))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _pairs(found: Any) -> Pairs:
    """Pairs of strings."""
    pairs = tuple((label, content) for label, content in found or ())
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise ValueError("not text")
    return pairs


def _cannot(what: str, path: Path, error: OSError) -> StorageError:
    return StorageError(
        tr("cannot {what} {path}: {reason}", what=what, path=path, reason=error.strerror),
        tr("free some space or check the permissions"),
    )
