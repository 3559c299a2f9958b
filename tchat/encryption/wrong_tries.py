"""How long to wait after wrong passphrases; a restart does not shorten it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError
from tchat.private_files import acquire_lock, write_private

FREE = 2  # wrong tries without a wait
LONGEST = 60.0  # seconds
GATE_SECONDS = 5.0
LARGEST = 1000  # bytes of the file


@dataclass(frozen=True, slots=True)
class WrongTries:
    """Counts the tries since the last right one in a file.

    It is no defence against who can delete that file, and needs none: the passphrase is, and what a
    try costs.
    """

    path: Path
    now: Callable[[], float] = time.time

    def wait(self) -> float:
        """Seconds until the next try; 0 when it may be now."""
        count, last = self._read()
        if count < FREE:
            return 0.0
        delay = min(LONGEST, 2.0 ** (count - FREE))
        passed = self.now() - last
        return max(0.0, delay - passed) if passed >= 0 else 0.0  # the clock may have been set back

    def begin(self) -> float:
        """Count a try before its outcome is known; returns the seconds to wait where it is too
        early, and then counts nothing.
        """
        gate = None
        with suppress(OSError, NotImplementedError):
            gate = acquire_lock(self._gate, GATE_SECONDS)
        try:
            if (wait := self.wait()) > 0:
                return wait
            count, _ = self._read()
            record = json.dumps({"wrong": count + 1, "at": self.now()}).encode()
            with suppress(StorageError):  # a disk that is read-only or full locks nobody out
                write_private(self.path, record)
        finally:
            if gate:
                gate.release()
        return 0.0

    def clear(self) -> None:
        """Forget them: a try was right."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self._gate.unlink(missing_ok=True)

    @property
    def _gate(self) -> Path:
        return self.path.with_name(self.path.name + ".gate")

    def _read(self) -> tuple[int, float]:
        """How many tries were wrong, and when the last was."""
        try:
            with self.path.open("rb") as file:
                record = json.loads(file.read(LARGEST))
            count, last = record["wrong"], record["at"]
            if type(count) is not int or type(last) not in (int, float) or count < 0:
                return 0, 0.0
            return min(count, 1000), float(last)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return 0, 0.0
