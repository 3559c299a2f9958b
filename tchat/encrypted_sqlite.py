"""Encrypted SQLite files: SQLCipher's driver with a raw key, and what tells whose a file is.

Its connections are used like those of `sqlite3`. Only its exceptions are classes of its own:
``except connection.OperationalError`` catches those of either.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from tchat.encryption import stored_paths
from tchat.encryption.sqlcipher_pages import CLEAR, MARK, PAGE, PageCipher
from tchat.errors import StorageError
from tchat.translation import tr

if TYPE_CHECKING:
    import sqlite3

_CACHE = 64 << 10  # KiB of pages that are kept decrypted


class OtherKey(StorageError):
    """The file is encrypted, or in clear, where it should be otherwise: it is not damaged."""


def driver() -> ModuleType:
    """SQLCipher's module, in the place of `sqlite3`.

    Raises:
        StorageError: The extra that has it is not installed.
    """
    try:
        from sqlcipher3 import dbapi2
    except ImportError as error:
        raise StorageError(
            tr("the store is locked, and reading it needs the package `sqlcipher3`"),
            tr("run: pip install 'tchat[lock]'"),
        ) from error
    return cast(ModuleType, dbapi2)


def connect(
    database: Path | str, key: bytes | None, *, is_lenient: bool = False, **options: Any
) -> sqlite3.Connection:
    """Connect to an encrypted file; ``options`` are those of `sqlite3.connect`.

    Without a key it is in clear, and still SQLCipher's driver that reads it. A lenient connection
    reads what it can of a file with a damaged schema, or one that is shorter than its header says.
    """
    connection = cast("sqlite3.Connection", driver().connect(database, **options))
    try:
        # Else damage is reported on stderr, which the screen draws on.
        connection.execute("PRAGMA cipher_log = off")
        if key is not None:
            connection.execute(f"PRAGMA key = {key_literal(key)}")
        if is_lenient:  # before the first statement that reads the file
            connection.execute("PRAGMA writable_schema = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
    except BaseException:
        connection.close()
        raise
    return connection


def key_literal(key: bytes | None) -> str:
    """The key as SQL names it: raw, so that nothing is derived from it again."""
    return "''" if key is None else f"\"x'{key.hex()}{MARK.hex()}'\""


def is_encrypted(path: Path) -> bool:
    """Whether the file begins as an encrypted one; False if it is missing."""
    return first_bytes(path) == MARK


def require_own_key(path: Path, key: bytes | None) -> None:
    """Require that the file is of this key, or in clear without one; a new file is of any.

    A damaged file is of a key as long as one page of it is. What is too short to be checked is of
    any: there is nothing in it to lose.

    Raises:
        OtherKey: It is not: nothing may be salvaged from it or written to it.
    """
    first = first_bytes(path)
    if key is None:
        if first == MARK:
            raise OtherKey(
                tr("{path} is encrypted, and the lock file that opens it is missing", path=path),
                tr("put lock.json back beside config.toml, from a backup"),
            )
        return
    if first == CLEAR:
        raise OtherKey(
            tr("{path} is not encrypted, although the store is locked", path=path),
            tr("encrypt it if it is yours: tchat lock on"),
        )
    if first and _has_page(path) and not PageCipher(key).any_authentic(path):
        raise OtherKey(
            tr("{path} is encrypted with another key", path=path),
            tr("put the lock.json back that it was written with, or move the file away"),
        )


def _has_page(path: Path) -> bool:
    return len(stored_paths.first_bytes(path, PAGE)) == PAGE


def first_bytes(path: Path) -> bytes:
    """What tells whether a file is encrypted; nothing where there is none.

    Raises:
        StorageError: It cannot be read.
    """
    return stored_paths.first_bytes(path, len(MARK))
