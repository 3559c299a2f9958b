"""One SQLite connection for all threads of this process; raises `StorageError`."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from tchat.errors import StorageError, StoreLocked
from tchat.private_files import is_on_read_only_disk, is_writable, special_file
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import StoreKeys

KEY_NAME = "sessions"  # of the key that encrypts the file
BUSY_SECONDS = 5.0
OLDEST_SQLITE = (3, 35, 0)  # RETURNING; the trigram tokenizer came with 3.34
# Before 3.51.3 a checkpoint can race with a reset of the log and lose pages.
SAFE_WAL = (3, 51, 3)
_HEADER = 20  # bytes of a file; the last two tell whether it has a write-ahead log
_WAL_VERSIONS = b"\x02\x02"
_PRAGMAS = ("foreign_keys", "secure_delete", "cell_size_check")


_MEANINGS = {
    sqlite3.SQLITE_BUSY: (
        N_("{name} is locked: another process is writing to it"),
        N_("try again in a moment"),
    ),
    sqlite3.SQLITE_LOCKED: (
        N_("{name} is locked: another process is writing to it"),
        N_("try again in a moment"),
    ),
    sqlite3.SQLITE_FULL: (N_("no space left to write {name}"), N_("free some space and try again")),
    sqlite3.SQLITE_IOERR: (
        N_("reading or writing {name} failed: {error}"),
        N_("check the disk and the space left on it"),
    ),
    sqlite3.SQLITE_READONLY: (N_("cannot write {name}: {error}"), N_("check the permissions")),
    sqlite3.SQLITE_CANTOPEN: (
        N_("cannot open {name}: {error}"),
        N_("check the permissions of the file and its folder"),
    ),
    sqlite3.SQLITE_PERM: (N_("cannot open {name}: {error}"), N_("check the permissions")),
    sqlite3.SQLITE_TOOBIG: (N_("a text is too long to be stored"), N_("SQLite stores up to 1 GB")),
}


class KeySource(Protocol):
    """What has the keys of an encrypted store: `tchat.encryption.encryption.Encryption`."""

    def keys(self) -> StoreKeys:
        """The keys; raises StorageError where they cannot be had."""


class DatabaseDamaged(StorageError):
    """The file is not a sound SQLite database."""


class DatabaseReplaced(StorageError):
    """The open file was deleted or replaced."""


class Database:
    """A connection that threads share, one statement or transaction at a time.

    Other processes may use the same file: transactions that write take the write lock at once
    (deferred ones fail with "database is locked" when two of them read first), and whoever comes
    second waits up to five seconds. The file must exist; without a path everything is in memory.
    ``is_sound`` tells whether no damage was met yet. A ``read_only`` one writes nothing. With an
    ``encryption`` the file is encrypted; its key is asked for, and not kept here.
    """

    def __init__(
        self,
        path: Path | None,
        encryption: KeySource | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageError(
                tr("SQLite {sqlite_version} is too old", sqlite_version=sqlite3.sqlite_version),
                tr("use a Python that is linked with SQLite 3.35 or newer"),
            )
        self.path = path
        self.encryption = encryption if path else None
        self.is_sound = True
        self.is_suspended = False
        self._lock = threading.RLock()
        key = self.key()
        self._driver = driver_for(key)
        with self._translated():
            self._connection = connect(path, key, read_only=read_only)
        self._connection.row_factory = self._driver.Row
        self._file = _file_id(path)
        self._log_file: tuple[int, int] | None = None

    def key(self) -> bytes | None:
        """The key of the file; None where it is in clear."""
        return self.encryption.keys().database_key(KEY_NAME) if self.encryption else None

    def make_durable(self) -> None:
        """Make commits durable: they return when the data is on disk.

        With the write-ahead log where this SQLite has it sound, else with the rollback journal.
        """
        journal_mode = "wal" if self._driver.sqlite_version_info >= SAFE_WAL else "delete"
        with self.reading() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode not in (journal_mode, "memory"):
                # Refused while others have the file open: then the mode stays, which is sound.
                with suppress(connection.OperationalError):
                    mode = connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchone()[0]
            if mode == "wal" and self.path is not None:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # makes the log
                self._log_file = _file_id(_log_of(self.path))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements that read."""
        with self._lock, self._translated():
            self._require_open()
            yield self._connection

    def revision(self) -> tuple[object, ...]:
        """A value that is equal until anything changes, by this process or another."""
        with self.reading() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return connection, version, connection.total_changes

    def foreign_revision(self) -> tuple[object, ...]:
        """A value that is equal until another connection, such as another process's, writes."""
        return self.revision()[:2]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection inside one write transaction.

        Raises:
            DatabaseDamaged: The file is not sound.
            DatabaseReplaced: It was deleted or another one put in its place.
        """
        with self._lock, self._translated():
            self._require_open()
            self._require_same_file()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                # Some errors, a full disk among them, have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def replace_connection(self, other: Database) -> None:
        """Replace this connection by that of ``other``, to the same path."""
        with self._lock:
            self._connection.close()
            self._connection, self._file = other._connection, other._file
            self._driver, self.encryption = other._driver, other.encryption
            self._log_file, self.is_sound = other._log_file, other.is_sound
            self.is_suspended = False

    def suspend(self) -> None:
        """Close the connection, whose key is to be forgotten.

        Until `replace_connection` every call raises `StoreLocked`.
        """
        with self._lock:
            self._connection.close()
            self.is_suspended = True

    def _require_open(self) -> None:
        if self.is_suspended:
            raise StoreLocked(tr("the chat is locked"), tr("unlock it"))

    def discard_log(self) -> None:
        """Close a replaced file that has a write-ahead log, and remove the log.

        It would be played into the file that is there now: SQLite knows a log by its name only.
        Until `replace_connection` every call fails.
        """
        with self._lock:
            if self._log_file is None or self.path is None:
                return
            self._connection.close()
            if _file_id(_log_of(self.path)) == self._log_file:
                with suppress(OSError):
                    for ending in ("-wal", "-shm"):
                        self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            self._connection, self._driver = connect(None), sqlite3
            self._file, self._log_file = (-1, -1), None  # of no file

    def _require_same_file(self) -> None:
        # SQLite refuses to write to a file that was moved only with the rollback journal, and
        # calls it read-only then; with the write-ahead log the writing would be lost.
        if self.path is not None and _file_id(self.path) != self._file:
            raise DatabaseReplaced(
                tr("{path} was deleted or replaced while tchat was using it", path=self.path),
                tr("it is made anew when it can be"),
            )

    def vacuum(self) -> None:
        """Rewrite the file without deleted content, and empty its log. Nobody else may use it."""
        with self.reading() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection. Closing twice is harmless."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (self._driver.IntegrityError, self._driver.ProgrammingError):
            raise  # a mistake in this package, not a state of the disk
        except self._driver.DatabaseError as error:
            # Behind damage SQLCipher refuses all, with whatever reason.
            is_refusing = self.encryption is not None and not self.is_sound
            failure = _damaged(self.path) if is_refusing else storage_error(error, self.path)
            self.is_sound = self.is_sound and not isinstance(failure, DatabaseDamaged)
            raise failure from error
        except OSError as error:
            raise StorageError(
                tr(
                    "cannot write beside {path}: {reason}",
                    path=self.path,
                    reason=error.strerror,
                ),
                tr("free some space or check the permissions"),
            ) from error


def driver_for(key: bytes | None) -> ModuleType:
    """The module that connects with such a key."""
    if key is None:
        return sqlite3
    from tchat.encrypted_sqlite import driver

    return driver()


def connect(
    path: Path | None,
    key: bytes | None = None,
    *,
    defensive: bool = True,
    read_only: bool = False,
) -> sqlite3.Connection:
    """Open a connection that does not trust the file, and overwrites deleted content.

    A ``defensive`` one forbids, too, what could damage the file.

    Raises:
        OtherKey: The file is encrypted with another key, or not as it should be.
        StorageError: The file, or a journal of it, is not a regular file.
    """
    if path and (special := special_file(path)):
        raise StorageError(
            tr("cannot use {path}: {name} is not a regular file", path=path, name=special.name),
            tr("move it away"),
        )
    name = _read_only_uri(path, key) if path and read_only else path or ":memory:"
    connection = _opener(path, key, is_lenient=not defensive)(
        name,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=read_only,
    )
    # SQLCipher's driver cannot set it; nobody without the key makes a page that it would accept.
    if defensive and key is None and sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma} = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _opener(
    path: Path | None, key: bytes | None, *, is_lenient: bool
) -> Callable[..., sqlite3.Connection]:
    if key is None or path is None:
        return sqlite3.connect
    from tchat import encrypted_sqlite

    encrypted_sqlite.require_own_key(path, key)
    return partial(encrypted_sqlite.connect, key=key, is_lenient=is_lenient)


@contextmanager
def schema_writable(connection: sqlite3.Connection) -> Iterator[None]:
    """Let migrations change the definition of a table, which a defensive connection refuses."""
    if sys.version_info < (3, 12) or not hasattr(connection, "setconfig"):
        yield
        return
    was_defensive = connection.getconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, False)
    try:
        yield
    finally:
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, was_defensive)


def _read_only_uri(path: Path, key: bytes | None) -> str:
    """The URI that opens ``path`` for reading only.

    SQLite makes files beside one that has a write-ahead log, unless it is told that nobody writes.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with path.open("rb") as file:
            # Of an encrypted one nothing tells; SQLCipher is new enough for a log.
            has_log = file.read(_HEADER).endswith(_WAL_VERSIONS) or key is not None
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {reason}", path=path, reason=error.strerror),
            tr("check the permissions"),
        ) from error
    log = _log_of(path)
    is_log_empty = not log.exists() or log.stat().st_size == 0
    is_shut = is_on_read_only_disk(path) or not is_writable(path.resolve())
    return f"{uri}&immutable=1" if has_log and is_log_empty and is_shut else uri


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _file_id(path: Path | None) -> tuple[int, int] | None:
    """The identity (device, inode) of a file; None if it is missing."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def storage_error(error: sqlite3.DatabaseError, path: Path | None) -> StorageError:
    """Translate SQLite's error into one line for the user."""
    name = str(path) if path else tr("the sessions in memory")
    # The low byte is the primary code; -1 marks an error of the binding itself.
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    no_text = str(error).startswith("Could not decode to UTF-8")  # of the binding, without a code
    if no_text or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path)
    message, hint = _MEANINGS.get(code, (N_("cannot use {name}: {error}"), ""))
    return StorageError(tr(message, name=name, error=error), hint and tr(hint))


def _damaged(path: Path | None) -> DatabaseDamaged:
    return DatabaseDamaged(
        tr("the session database {name} is damaged", name=path or tr("the sessions in memory")),
        tr("start tchat again: it keeps the file and saves into a new one what can be read"),
    )
