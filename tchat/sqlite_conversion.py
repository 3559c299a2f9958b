"""Encrypt a SQLite file where it lies, or decrypt it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tchat.encrypted_sqlite import connect, driver, first_bytes, key_literal, require_own_key
from tchat.encryption.replacing import erase_file, new_file, put_in_place
from tchat.encryption.sqlcipher_pages import CLEAR
from tchat.errors import StorageError
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
    new = new_file(path)
    errors = driver()
    try:
        with closing(connect(path, key, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")  # its journals are merged and gone
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
                raise errors.DatabaseError(verdict)
    except errors.Error as error:
        erase_file(new)
        raise StorageError(
            tr("cannot convert {path}: {error}", path=path, error=error),
            tr("free some space or check the permissions"),
        ) from error
    put_in_place(new, path, overwrite=key is None)
