"""What was chosen in the command palette, so that it shows that first."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.chat.stored_files import PALETTE_PURPOSE
from tchat.encryption.stored_file import StoredFile
from tchat.errors import TchatError

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

DAY = 86_400.0  # seconds
MOST = 50  # entries that are kept
SHOWN = 5
UNREADABLE = (
    TchatError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class PaletteUse:
    """How often and when each entry of the palette was chosen, in a JSON file.

    Losing it costs an order, so a file that cannot be read or written is no failure.
    """

    def __init__(self, file: Path, encryption: Encryption | None = None) -> None:
        self._file = StoredFile(file, encryption, PALETTE_PURPOSE)

    def first(self, now: float = 0) -> Sequence[str]:
        """The keys of the entries to show first: those used often and lately."""
        now = now or time.time()
        uses = self._read()

        def score(key: str) -> float:
            count, last = uses[key]
            return count / (1 + max(0.0, now - last) / DAY)

        return sorted(uses, key=score, reverse=True)[:SHOWN]

    def record(self, key: str, now: float = 0) -> None:
        """Count one use of an entry."""
        uses = self._read()
        count, _ = uses.pop(key, (0, 0.0))
        latest = dict(list(uses.items())[-(MOST - 1) :]) | {key: (count + 1, now or time.time())}
        try:
            self._file.write(json.dumps(latest).encode())
        except (OSError, TchatError):
            return

    def _read(self) -> dict[str, tuple[int, float]]:
        try:
            stored = json.loads(self._file.read())
            return {str(key): (int(count), float(last)) for key, (count, last) in stored.items()}
        except UNREADABLE:
            return {}
