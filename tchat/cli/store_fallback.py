"""What the disk refused during a command is stored at its end, or told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tchat.cli.console import Console
from tchat.errors import StorageError

if TYPE_CHECKING:
    from tchat.sessions.fallbacks import FallbackStores


@contextmanager
def write_back_at_end(fallbacks: FallbackStores, console: Console) -> Iterator[None]:
    """Store at the end of a block what is only in memory.

    Raises:
        StorageError: The disk still refuses it; beside another error this is only told.
    """
    try:
        yield
    except BaseException:
        if error := _lost(fallbacks):
            console.say(str(error))
        raise
    if error := _lost(fallbacks):
        raise error


def _lost(fallbacks: FallbackStores) -> StorageError | None:
    try:
        fallbacks.write_back()
    except StorageError as error:
        return StorageError(f"{error.message}; the last messages are not stored", error.hint)
    finally:
        fallbacks.close()
    return None
