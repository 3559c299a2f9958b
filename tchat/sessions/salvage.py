"""A damaged database: it is kept under another name, and its readable rows get a new one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tchat.errors import StorageError
from tchat.humanize import counted
from tchat.paths import private_file
from tchat.sessions import salvaged_rows
from tchat.sessions.database import Database, connect
from tchat.sessions.schema import migrate

LONGEST = 60.0  # seconds that reading a damaged file may take
_PAGE = 4096  # SQLite's default size of a page
_COMPANIONS = ("-journal", "-wal", "-shm")


def replace_damaged(path: Path) -> str:
    """Put a new database with what can be read at ``path``; the damaged file stays beside it.

    Nobody else may have the file open.

    Returns:
        What to tell the user, one line.

    Raises:
        StorageError: The new file cannot be written; the damaged one is where it was.
    """
    try:
        return _replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot salvage the damaged session database {path}: {error.strerror}",
            "free some space or check the permissions",
        ) from error


def _replace(path: Path) -> str:
    fresh = path.with_name(path.name + ".salvaged")
    fresh.unlink(missing_ok=True)
    database = Database(private_file(fresh))
    with closing(database):
        migrate(database)
        with database.writing() as target:
            sessions, messages = 0, 0
            for source in _readings(path, fresh):
                sessions, messages = salvaged_rows.copy(source, target)
                if sessions or messages:
                    break
    kept = _set_aside(path)
    fresh.replace(path)
    return (
        f"the session database was damaged: a new one holds {counted(sessions, 'session')} with "
        f"{counted(messages, 'message')}, the damaged file is kept as {kept.name}"
    )


def _readings(damaged: Path, sound: Path) -> Iterator[sqlite3.Connection]:
    """Connections to the damaged file: as it is, then with the first page of a sound file.

    The first page holds the header and the way to the tables. tchat's tables are made in the same
    order everywhere and so begin on the same pages.
    """
    with closing(_lenient(damaged)) as source:
        yield source
    import shutil

    patched = damaged.with_name(damaged.name + ".patched")
    try:
        shutil.copyfile(damaged, private_file(patched))
        with sound.open("rb") as fresh, patched.open("r+b") as file:
            first = bytearray(fresh.read(_PAGE))
            first[28:40] = bytes(12)  # page count 0: "see the file's size"; an empty free list
            file.write(first)
        with closing(_lenient(patched)) as source:
            yield source
    finally:
        patched.unlink(missing_ok=True)


def _lenient(path: Path) -> sqlite3.Connection:
    """A connection that reads what it can; in a file shorter than its header says, too."""
    connection = connect(path, defensive=False)
    end = time.monotonic() + LONGEST
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA writable_schema = ON")
    return connection


def _set_aside(path: Path) -> Path:
    """Rename the damaged file and what belongs to it.

    A journal that stayed behind would be played into the new file.
    """
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    kept, number = path.with_name(name), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{name}-{number}")
    path.replace(kept)
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.replace(kept.with_name(kept.name + suffix))
    return kept
