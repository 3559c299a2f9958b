"""File locks of the processes that have the database open; a lock ends with its process.

A row of a growing reply names its writer. Whether that writer still lives is asked of the lock,
not of a process number, which the system gives out again and other machines do not know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import StorageError
from tchat.paths import private_folder

if TYPE_CHECKING:
    from filelock import FileLock

GATE_SECONDS = 30.0
_CHECK = 2  # grows when the rows are looked at more closely: then each file is checked once more


class ProcessLocks:
    """The locks in ``<database>.writers/``; this process's own is named by ``token``."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._folder = database.with_name(database.name + ".writers")
        self._own: FileLock | None = None
        self._seen = self._folder / "seen"
        self.token = os.urandom(8).hex()

    @contextmanager
    def gate(self) -> Iterator[None]:
        """Hold the exclusive lock for checks, migrations, salvage and recovery.

        Raises:
            StorageError: Another process stayed inside for thirty seconds, or locks do not work.
        """
        from filelock import Timeout

        private_folder(self._folder)
        lock = self._lock(self._folder / "gate")
        try:
            lock.acquire(timeout=GATE_SECONDS)
        except Timeout as error:
            raise StorageError(
                f"another process has been checking {self._database} for a long time",
                "wait for it, or end it",
            ) from error
        except (OSError, NotImplementedError) as error:
            raise self._unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    def register(self) -> None:
        """Take this process's own lock, again if it had one. Call it inside the gate.

        Raises:
            StorageError: The lock cannot be made.
        """
        self.close()
        own = self._lock(self._folder / f"{self.token}.lock")
        try:
            own.acquire(timeout=0)
        except (OSError, NotImplementedError) as error:
            raise self._unusable(error) from error
        self._own = own

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

    def record_file(self) -> None:
        """Record the state of the file, so that `is_file_known` is true until it changes."""
        with suppress(OSError):
            descriptor = os.open(self._seen, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(self._signature())

    def _signature(self) -> str:
        found = self._database.stat()
        facts = (
            _CHECK,
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )
        return " ".join(map(str, facts))

    def close(self) -> None:
        """Release this process's own lock."""
        if self._own:
            self._own.release()
            _remove(Path(self._own.lock_file))
            self._own = None

    def _remove_if_dead(self, path: Path) -> bool:
        from filelock import Timeout

        lock = self._lock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise self._unusable(error) from error
        lock.release()
        _remove(path)
        return True

    def _lock(self, path: Path) -> FileLock:
        from filelock import FileLock

        # Not thread-local: the thread that closes the store need not be the one that opened it.
        return FileLock(path, mode=0o600, thread_local=False)

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"cannot lock files in {self._folder}: {error}",
            "set TCHAT_HOME to a folder on a local disk",
        )


def _remove(path: Path) -> None:
    # Another process may have been faster, or, on Windows, be looking at it.
    with suppress(OSError):
        path.unlink()
