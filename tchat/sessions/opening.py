"""Open the sessions' file: make it, check it, salvage it, bring its tables up to date."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError
from tchat.paths import private_file
from tchat.sessions import integrity, recovery, salvage
from tchat.sessions.database import Damaged, Database
from tchat.sessions.records import Message
from tchat.sessions.schema import migrate
from tchat.sessions.writers import Writers


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that is ready.

    ``notices`` are lines for the user, mostly none; ``recovered`` are the replies that were found
    unfinished, their writers dead.
    """

    database: Database
    writers: Writers
    notices: tuple[str, ...]
    recovered: tuple[Message, ...]


def open_file(path: Path, writers: Writers | None = None) -> Opened:
    """Open ``path``, making it when absent; what needs care happens one process at a time.

    Args:
        path: The file.
        writers: Of this process, where it had the file open before.

    Raises:
        StorageError: It cannot be used.
    """
    path = private_file(path.absolute()).resolve()
    writers = writers or Writers(path)
    try:
        with writers.gate():
            database, notices = _sound(path, writers)
            try:
                database.make_durable()
                if backup := migrate(database):
                    notices.append(
                        f"the session database was upgraded; a copy is {backup.name}, "
                        "which `tchat sessions rm --backups` deletes"
                    )
                    with suppress(StorageError):  # no room: the next upgrade does it
                        database.vacuum()
                writers.register()
                recovered = recovery.recover(database, writers)
            except BaseException:
                database.close()
                raise
    except BaseException:
        writers.close()
        raise
    return Opened(database, writers, tuple(notices), tuple(recovered))


def _sound(path: Path, writers: Writers) -> tuple[Database, list[str]]:
    """A checked connection and, where the file had to be replaced, the line that says so."""
    database = Database(path)
    try:
        integrity.check(database, rows=not writers.knows_file())
    except Damaged as damage:
        database.close()
        if writers.others():
            raise StorageError(
                damage.message, "close every other tchat and start again: then it is salvaged"
            ) from damage
        notice = salvage.replace_damaged(path)
        return Database(path), [notice]
    except BaseException:
        database.close()
        raise
    return database, []
