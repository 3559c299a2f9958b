"""Copies of the database that upgrades and salvages leave beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tchat.errors import StorageError

_ENDINGS = (".backup-v*", ".corrupt-*", ".salvaged", ".salvaged-journal", ".patched")


def find_backups(database: Path) -> list[Path]:
    """List the copies, by name."""
    beside = (database.parent.glob(database.name + ending) for ending in _ENDINGS)
    return sorted(path for paths in beside for path in paths if path.is_file())


def remove_backups(database: Path) -> list[Path]:
    """Delete the copies and return them.

    Raises:
        StorageError: One of them cannot be deleted; the others are.
    """
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
            f"cannot delete {failed}: {failure.strerror}", "check the permissions"
        ) from failure
