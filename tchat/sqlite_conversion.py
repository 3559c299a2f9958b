"""Encrypt a SQLite file where it lies, or decrypt it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tchat.encrypted_sqlite import connect, driver, first_bytes, key_literal, require_own_key
from tchat.encryption.replacing import new_file, overwriting, put_in_place
from tchat.encryption.sqlcipher_pages import CLEAR
from tchat.errors import StorageError
from tchat.private_files import BESIDE
from tchat.translation import tr

_OF_THE_FILE = ("user_version", "application_id")  # what an export does not copy


def encrypt_database(path: Path, key: bytes) -> None:
    """Encrypt a database in clear where it lies; one that is encrypted stays as it is.

    Nobody else may use it.

    Raises:
        StorageError: It is damaged, or cannot be written; then it is as it was.
    """
    if first_bytes(path) == CLEAR:
        _export(path, None, key)


def decrypt_database(path: Path, key: bytes) -> None:
    """Decrypt a database where it lies; one in clear stays as it is. Nobody else may use it.

    Raises:
        StorageError: It is damaged, of another key, or cannot be written; then it is as it was.
    """
    if first_bytes(path) not in {CLEAR, b""}:
        require_own_key(path, key)
        _export(path, key, None)


def _export(path: Path, key: bytes | None, new_key: bytes | None) -> None:
    errors = driver()
    logs = [path.with_name(path.name + suffix) for suffix in BESIDE[1:]] if key is None else []
    try:
        with new_file(path) as new, overwriting(logs):
            _fill(new, path, key, new_key)
            put_in_place(new, path, overwrite=key is None)
    except errors.Error as error:
        raise StorageError(
            tr("cannot convert {path}: {error}", path=path, error=error),
            tr("free some space or check the permissions"),
        ) from error


def _fill(new: Path, path: Path, key: bytes | None, new_key: bytes | None) -> None:
    with closing(connect(path, key, isolation_level=None)) as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        # Its journals are merged and removed; not truncated, so that they can be overwritten.
        connection.execute("PRAGMA wal_checkpoint(FULL)")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"ATTACH ? AS new KEY {key_literal(new_key)}", (str(new),))
        # It is written whole or not at all: whoever puts it in place waits for the disk.
        connection.execute("PRAGMA new.journal_mode = OFF")
        connection.execute("PRAGMA new.synchronous = OFF")
        connection.execute("SELECT sqlcipher_export('new')")
        for pragma in _OF_THE_FILE:
            (value,) = connection.execute(f"PRAGMA main.{pragma}").fetchone()
            connection.execute(f"PRAGMA new.{pragma} = {int(value)}")
        (verdict,) = connection.execute("PRAGMA new.quick_check(1)").fetchone()
        if verdict != "ok":
            raise driver().DatabaseError(verdict)
