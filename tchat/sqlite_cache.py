"""A SQLite cache: replaced when damaged, in memory when the file cannot be written."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tchat.errors import StorageError
from tchat.private_files import BESIDE, private_file, special_file
from tchat.translation import tr

if TYPE_CHECKING:
    import sqlite3
    from types import ModuleType

    from tchat.encryption.encryption import Encryption

BUSY_TIMEOUT = 5.0  # seconds to wait for another process
# The file is not trusted: its schema is compared before it is used.
GUARDS = ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON")
SEQUENCE = ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)")

T = TypeVar("T")


class SqliteCache:
    """A database whose content can be recomputed. Opened at the first use.

    A file with another version or schema is replaced, and one with rows that the query ``foreign``
    finds, which this program never writes. A link in its place is removed, not followed. With an
    ``encryption`` the file is encrypted, by the key that its name without the ending names; one in
    clear or of another key is replaced.

    Attributes:
        failure: Why the database is in memory; empty when it is the file.
        is_copy: Whether the database in memory started as a copy of the file.
    """

    def __init__(
        self,
        file: Path,
        version: int,
        schema: str,
        pragmas: tuple[str, ...] = (),
        foreign: str = "",
        *,
        encryption: Encryption | None = None,
    ) -> None:
        self._file = file
        self._version = version
        self._schema = [statement.strip() for statement in schema.split(";")]
        self._pragmas = (*GUARDS, *pragmas)
        self._foreign = foreign
        self._encryption = encryption
        self._connection: sqlite3.Connection | None = None
        self.failure = ""
        self.is_copy = False

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work``; when the database fails, again on a new one.

        When the file cannot be written, the new one is in memory: see `failure`.

        Raises:
            StorageError: It fails on the new database too, or the store is locked.
        """
        errors = self._driver()
        try:
            if self._connection is None:
                self._connection = self._open()
            return work(self._connection)
        except errors.Error as error:
            damaged = _is_damage(error)
            self.close()
            self._connection = self._replace() if damaged else self._in_memory(str(error))
        try:
            return work(self._connection)
        except errors.Error as error:
            raise StorageError(
                tr("cannot use {file}: {error}", file=self._file, error=error)
            ) from error

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self.failure, self.is_copy = "", False

    def _open(self) -> sqlite3.Connection:
        try:
            for file in self._files():
                _remove_if_special(file)
            private_file(self._file)
        except (OSError, StorageError) as error:
            return self._in_memory(getattr(error, "message", "") or str(error))
        connection = self._connect(self._file)
        try:
            # The content can be recomputed after a power failure; a sync takes 10 ms.
            connection.execute("PRAGMA synchronous = OFF")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace(self) -> sqlite3.Connection:
        try:
            for file in self._files():
                file.unlink(missing_ok=True)
            return self._open()
        except (OSError, self._driver().Error) as error:
            return self._in_memory(str(error))

    def _files(self) -> list[Path]:
        return [self._file.with_name(self._file.name + suffix) for suffix in BESIDE]

    def _in_memory(self, reason: str) -> sqlite3.Connection:
        """A database in memory, copied from the file when it can be read."""
        self.failure, self.is_copy = reason, False
        connection = self._connect(":memory:")
        try:
            copied = self._copy(connection)
            self._prepare(connection)
            self.is_copy = copied
        except (OSError, self._driver().Error):
            connection.close()
            connection = self._connect(":memory:")
            self._prepare(connection)
        return connection

    def _copy(self, target: sqlite3.Connection) -> bool:
        """Copy the file into ``target``; False when there is none."""
        if not stat.S_ISREG(self._file.lstat().st_mode) or special_file(self._file):
            return False
        uri = f"{self._file.absolute().as_uri()}?mode=ro"
        source = self._connect(uri, timeout=0, uri=True)
        try:
            source.execute("BEGIN")
            _user_version(source)  # takes the lock; `backup` would wait for it without limit
            source.backup(target)
        finally:
            source.close()
        return True

    def _connect(
        self, database: Path | str, *, timeout: float = BUSY_TIMEOUT, uri: bool = False
    ) -> sqlite3.Connection:
        # Used by one thread at a time, not always by the one that opened it.
        options: dict[str, Any] = {
            "timeout": timeout,
            "isolation_level": None,
            "check_same_thread": False,
            "uri": uri,
        }
        if self._encryption is None:
            import sqlite3

            clear: sqlite3.Connection = sqlite3.connect(database, **options)
            return clear
        from tchat import encrypted_sqlite

        key = self._encryption.keys().database_key(self._file.stem)
        return encrypted_sqlite.connect(database, key, **options)

    def _driver(self) -> ModuleType:
        if self._encryption is None:
            import sqlite3

            return sqlite3
        from tchat.encrypted_sqlite import driver

        return driver()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the tables of a new database; raise `sqlite3.Error` for a foreign one."""
        for pragma in self._pragmas:
            connection.execute(pragma)
        if _user_version(connection) != self._version:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                self._make_tables(connection)
        self._refuse_foreign(connection)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        found = _user_version(connection)
        if found == self._version:  # another process created them
            return
        if found != 0 or _objects(connection):
            raise connection.DatabaseError(f"schema {found}")
        for statement in self._schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {self._version}")

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Raise `sqlite3.Error` for a schema or rows of another program."""
        if sorted(_objects(connection)) != sorted(self._schema):
            raise connection.DatabaseError("another schema")
        if self._foreign and connection.execute(self._foreign).fetchone() is not None:
            raise connection.DatabaseError("rows that were not written here")


def _objects(connection: sqlite3.Connection) -> list[str]:
    """The statements that created a database's tables, indexes, views and triggers."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return [
        str(sql)
        for kind, name, sql in rows
        if (kind, name, sql) != SEQUENCE and not (kind == "index" and sql is None)
    ]


def _remove_if_special(file: Path) -> None:
    """Remove ``file`` when it is a link, a pipe or the like."""
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        file.unlink()


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the content is damaged, as opposed to a failing disk, lock or permission."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FORMAT,
    )
