"""A SQLite file that may be lost: replaced when damaged, in memory where none can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tchat.errors import StorageError
from tchat.paths import private_file

if TYPE_CHECKING:
    import sqlite3

BUSY_TIMEOUT = 5.0  # seconds to wait for another process

T = TypeVar("T")


class Cache:
    """One database whose content can all be found out again. Opened at the first use.

    Args:
        file: Where it lies; made with mode 0600.
        version: Of the schema; a database with another one is replaced.
        schema: Statements, separated by semicolons.
        pragmas: Statements for every connection, such as ``PRAGMA secure_delete = ON``.
    """

    def __init__(
        self, file: Path, version: int, schema: str, pragmas: tuple[str, ...] = ()
    ) -> None:
        self._file = file
        self._version = version
        self._schema = schema
        self._pragmas = pragmas
        self._connection: sqlite3.Connection | None = None

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work``; when the database fails, do it again on a new one."""
        import sqlite3

        try:
            if self._connection is None:
                self._connection = self._open()
            return work(self._connection)
        except sqlite3.Error as error:
            self.close()
            self._connection = self._replace() if _is_damage(error) else self._in_memory()
        return work(self._connection)

    def close(self) -> None:
        """Let go of the database; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        try:
            private_file(self._file)
        except StorageError:
            return self._in_memory()
        # Used by one thread at a time, but not always by the one that opened it.
        connection = sqlite3.connect(
            self._file, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            # What a power failure takes can be found out again; waiting for the disk costs 10 ms.
            connection.execute("PRAGMA synchronous = OFF")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace(self) -> sqlite3.Connection:
        import sqlite3

        try:
            for name in (self._file.name, f"{self._file.name}-journal"):
                self._file.with_name(name).unlink(missing_ok=True)
            return self._open()
        except (OSError, sqlite3.Error):
            return self._in_memory()

    def _in_memory(self) -> sqlite3.Connection:
        import sqlite3

        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._prepare(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables in a new database; raise `sqlite3.Error` for another schema."""
        for pragma in self._pragmas:
            connection.execute(pragma)
        if _user_version(connection) == self._version:
            return
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            self._make_tables(connection)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        import sqlite3

        found = _user_version(connection)
        if found == self._version:  # another process was first
            return
        if found != 0:
            raise sqlite3.DatabaseError(f"schema {found}")
        for statement in self._schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {self._version}")


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the content is at fault, and not the disk, a lock or a permission."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
