"""Connections with SQLite databases, in clear or encrypted by SQLCipher."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tchat.errors import StorageError
from tchat.translation import tr


def open_connection(
    database: Path | str, key: bytes | None = None, **options: Any
) -> sqlite3.Connection:
    """A connection with ``database``, as `sqlite3.connect` makes it with these options.

    With a ``key`` of 32 bytes it is one of SQLCipher: an equal class of another module, whose
    errors are no `sqlite3.Error`.

    Raises:
        StorageError: The package that it needs is missing.
    """
    if key is None:
        clear: sqlite3.Connection = sqlite3.connect(database, **options)
        return clear
    try:
        from sqlcipher3 import dbapi2
    except ImportError:
        raise StorageError(
            tr("the encrypted store needs more packages"), tr("run: pip install 'tchat[lock]'")
        ) from None
    connection: sqlite3.Connection = dbapi2.connect(str(database), **options)
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
