"""The database file: open, check, salvage and migrate it; locks of its processes; copies of it.

A row of a growing reply names its writer. Whether that writer still lives is asked of its lock,
which ends with its process, not of a process number, which the system gives out again and other
machines do not know.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import StorageError
from tchat.private_files import acquire_lock, private_file, private_folder
from tchat.sessions import schema
from tchat.sessions.database import Database, DatabaseDamaged, KeySource
from tchat.sessions.records import Message, Status
from tchat.sessions.schema import migrate
from tchat.sessions.serialization import to_message
from tchat.translation import tr

if TYPE_CHECKING:
    from filelock import BaseFileLock


GATE_SECONDS = 30.0
_CHECK = 2  # grows when the rows are looked at more closely: then each file is checked once more
ENDINGS = (".backup-v*", ".corrupt-*", ".salvaged", ".salvaged-journal", ".patched")


@dataclass(frozen=True, slots=True)
class OpenedDatabase:
    """An open, checked and migrated database.

    ``notices`` are lines for the user, mostly none; ``recovered`` are the replies that were found
    unfinished, their processes dead.
    """

    database: Database
    locks: ProcessLocks
    notices: tuple[str, ...]
    recovered: tuple[Message, ...]


def open_database(
    path: Path, encryption: KeySource | None = None, locks: ProcessLocks | None = None
) -> OpenedDatabase:
    """Open ``path``, creating it if absent. Checks and migrations run one process at a time.

    ``locks`` are this process's own where it had the file open before.

    Raises:
        StorageError: It cannot be used.
    """
    path = private_file(path.absolute()).resolve()
    locks = locks or ProcessLocks(path)
    try:
        with locks.gate():
            emptied = _emptied_notice(path, locks)
            database, notices = _sound(path, encryption, locks)
            notices += emptied
            try:
                database.make_durable()
                if backup := migrate(database):
                    notices.append(
                        tr(
                            "the session database was upgraded; a copy is {name}, which `tchat "
                            "sessions rm --backups` deletes",
                            name=backup.name,
                        )
                    )
                    with suppress(StorageError):  # no room: the next upgrade does it
                        database.vacuum()
                locks.register()
                recovered = recover(database, locks)
            except BaseException:
                database.close()
                raise
    except BaseException:
        locks.close()
        raise
    return OpenedDatabase(database, locks, tuple(notices), tuple(recovered))


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Keep every other process from opening the file, whether it is there or not.

    Raises:
        StorageError: One has it open.
    """
    locks = ProcessLocks(path.absolute().resolve())
    with locks.gate():
        if locks.live_tokens():
            raise StorageError(
                tr("another tchat has the sessions open"),
                tr("close every other tchat and try again"),
            )
        yield


def open_read_only(path: Path, encryption: KeySource | None = None) -> Database:
    """Open and check ``path``, and write nothing: no lock, no upgrade, no salvage.

    Raises:
        StorageError: It cannot be used as it is.
    """
    path = path.absolute().resolve()
    database = _checked(path, encryption, ProcessLocks(path), read_only=True)
    try:
        _require_current(database)
    except BaseException:
        database.close()
        raise
    return database


def _require_current(database: Database) -> None:
    with database.reading() as connection:
        version = schema.version_of(connection, database.path)
    if version != schema.CURRENT:
        raise StorageError(
            tr(
                "{path} is of an older tchat, and cannot be upgraded: it is read-only",
                path=database.path,
            ),
            tr("set TCHAT_HOME to a copy that you may write to"),
        )


def _emptied_notice(path: Path, locks: ProcessLocks) -> list[str]:
    """A notice where the file is empty and was not: nothing can be salvaged from it."""
    if path.stat().st_size or not locks.had_content():
        return []
    notice = tr("the session database was empty, although it held data before: it begins anew")
    if names := ", ".join(copy.name for copy in find_backups(path)):
        notice = tr("{notice}; there are copies of it: {names}", notice=notice, names=names)
    return [notice]


def _sound(
    path: Path, encryption: KeySource | None, locks: ProcessLocks
) -> tuple[Database, list[str]]:
    """Open and check the file; returns a notice if a damaged file was replaced."""
    try:
        return _checked(path, encryption, locks), []
    except DatabaseDamaged as damage:
        if locks.live_tokens():
            raise StorageError(
                damage.message, tr("close every other tchat and start again: then it is salvaged")
            ) from damage
        from tchat.sessions.salvage import replace_damaged

        notice = replace_damaged(path, encryption)
        return Database(path, encryption), [notice]


def _checked(
    path: Path, encryption: KeySource | None, locks: ProcessLocks, *, read_only: bool = False
) -> Database:
    """Open the file, and look for damage.

    In an encrypted file that nobody changed it is met where a page is read.

    Raises:
        DatabaseDamaged: There is some.
        OtherKey: The file is encrypted, and no key was given.
    """
    database = Database(path, encryption, read_only=read_only)
    is_known = locks.is_file_known()
    try:
        schema.check(database, pages=not (is_known and encryption), rows=not is_known)
    except DatabaseDamaged:
        database.close()
        if encryption is None:
            from tchat.encrypted_sqlite import require_own_key

            require_own_key(path, None)
        raise
    except BaseException:
        database.close()
        raise
    return database


def recover(database: Database, locks: ProcessLocks) -> list[Message]:
    """Mark streaming replies of dead processes as interrupted; call it inside the gate."""
    living = locks.live_tokens() | {locks.token}
    with database.reading() as connection:
        streaming = connection.execute(
            "SELECT id, writer FROM messages WHERE status = ?", (Status.STREAMING,)
        ).fetchall()
    dead = [row for row in streaming if row["writer"] not in living]
    if not dead:
        return []
    with database.writing() as connection:
        rows = [_interrupt(connection, row["id"], row["writer"]) for row in dead]
    return [to_message(row) for row in rows if row is not None]


def _interrupt(connection: sqlite3.Connection, number: int, writer: str) -> sqlite3.Row | None:
    """Mark the row as interrupted; None if it was deleted or ended meanwhile."""
    row: sqlite3.Row | None = connection.execute(
        """
        UPDATE messages SET status = ?, writer = ''
        WHERE id = ? AND status = ? AND writer = ? RETURNING *
        """,
        (Status.INTERRUPTED, number, Status.STREAMING, writer),
    ).fetchone()
    return row


class ProcessLocks:
    """The locks in ``<database>.writers/``; this process's own is named by ``token``."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._folder = database.with_name(database.name + ".writers")
        self._own: BaseFileLock | None = None
        self._seen = self._folder / "seen"
        self.token = os.urandom(8).hex()

    @contextmanager
    def gate(self) -> Iterator[None]:
        """Hold the exclusive lock for checks, migrations, salvage and recovery.

        Raises:
            StorageError: Another process stayed inside for thirty seconds, or locks do not work.
        """
        private_folder(self._folder)
        lock = self._acquired(self._folder / "gate", GATE_SECONDS)
        if lock is None:
            raise StorageError(
                tr(
                    "another process has been checking {database} for a long time",
                    database=self._database,
                ),
                tr("wait for it, or end it"),
            )
        try:
            yield
        finally:
            lock.release()

    def register(self) -> None:
        """Take this process's own lock, again if it had one. Call it inside the gate."""
        self.close()
        self._own = self._acquired(self._folder / f"{self.token}.lock", 0)

    def live_tokens(self) -> frozenset[str]:
        """The tokens of other live processes; removes locks of dead ones.

        Call it inside the gate: there nobody is between making a lock and holding it.
        """
        return frozenset(
            path.stem
            for path in self._folder.glob("*.lock")
            if path.stem != self.token and not self._remove_if_dead(path)
        )

    def is_file_known(self) -> bool:
        """Whether the file is unchanged since a tchat that checked it closed it."""
        try:
            return self._seen.read_text("ascii") == self._signature()
        except (OSError, ValueError):
            return False

    def had_content(self) -> bool:
        """Whether the file was not empty when a tchat last closed it."""
        try:
            _, _, _, size, *_ = self._seen.read_text("ascii").split()
        except (OSError, ValueError):
            return False
        return size != "0"

    def record_file(self) -> None:
        """Record the state of the file, so that `is_file_known` is true until it changes."""
        with suppress(OSError):
            descriptor = os.open(self._seen, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(self._signature())

    def _signature(self) -> str:
        found = self._database.stat()
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return " ".join(map(str, (_CHECK, *identity)))

    def close(self) -> None:
        """Release this process's own lock."""
        if self._own:
            self._own.release()
            _remove(Path(self._own.lock_file))
            self._own = None

    def _remove_if_dead(self, path: Path) -> bool:
        lock = self._acquired(path, 0)
        if lock is None:
            return False
        lock.release()
        _remove(path)
        return True

    def _acquired(self, path: Path, seconds: float) -> BaseFileLock | None:
        try:
            return acquire_lock(path, seconds)
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                tr("cannot lock files in {folder}: {error}", folder=self._folder, error=error),
                tr("set TCHAT_HOME to a folder on a local disk"),
            ) from error


def _remove(path: Path) -> None:
    # Another process may have been faster, or, on Windows, be looking at it.
    with suppress(OSError):
        path.unlink()


def find_backups(database: Path) -> list[Path]:
    """List the copies, by name."""
    beside = (database.parent.glob(database.name + ending) for ending in ENDINGS)
    return sorted(path for paths in beside for path in paths if path.is_file())


def remove_backups(database: Path) -> list[Path]:
    """Delete the copies and return them."""
    copies = find_backups(database)
    remove_files(copies)
    return copies


def remove_files(paths: Iterable[Path]) -> None:
    """Delete files; skip missing ones.

    Raises:
        StorageError: One of them cannot be deleted; the others are.
    """
    failure: OSError | None = None
    failed: Path | None = None
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failure, failed = failure or error, failed or path
    if failure is not None:
        raise StorageError(
            tr("cannot delete {failed}: {reason}", failed=failed, reason=failure.strerror),
            tr("check the permissions"),
        ) from failure
