"""Copies of the sessions' file that upgrades and salvages leave beside it."""

from __future__ import annotations

from pathlib import Path

from tchat.errors import StorageError

_ENDINGS = (".backup-v*", ".corrupt-*", ".salvaged", ".salvaged-journal", ".patched")


def found(database: Path) -> list[Path]:
    """The copies, by name."""
    beside = (database.parent.glob(database.name + ending) for ending in _ENDINGS)
    return sorted(path for paths in beside for path in paths if path.is_file())


def remove(database: Path) -> list[Path]:
    """Delete the copies; returns them.

    Raises:
        StorageError: One of them cannot be deleted.
    """
    copies = found(database)
    for path in copies:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot delete {path}: {error.strerror}", "check the permissions"
            ) from error
    return copies
