"""Standard output for an answer: each piece at once, and its failures in words."""

from __future__ import annotations

from collections.abc import Callable

from tchat.cli.console import Console
from tchat.errors import StorageError


class StdoutWriter:
    """Standard output, with each piece handed to the system at once.

    A pipe gets UTF-8 whatever the locale; a terminal gets its own encoding.

    Args:
        console: Its ``stdout`` is written to.
        before: Called before each writing, so that the status line is out of the way.
    """

    def __init__(self, console: Console, before: Callable[[], None]) -> None:
        self._stdout = console.stdout
        self._bytes = None if console.stdout_is_terminal else getattr(self._stdout, "buffer", None)
        self._before = before
        self._broken = False

    def write(self, text: str) -> None:
        """Write ``text`` now. After a failure, what follows is dropped.

        Raises:
            BrokenPipeError: The reader is gone; the command ends silently.
            StorageError: The disk is full, or the device fails.
        """
        if not text or self._broken:
            return
        self._before()
        try:
            if self._bytes:
                self._bytes.write(text.encode("utf-8", "surrogatepass"))
                self._bytes.flush()
            else:
                self._stdout.write(text)
                self._stdout.flush()
        except BrokenPipeError:
            self._broken = True
            raise
        except OSError as error:
            self._broken = True
            raise StorageError(
                f"cannot write the answer: {error.strerror or error}",
                "free some space or write elsewhere",
            ) from error
