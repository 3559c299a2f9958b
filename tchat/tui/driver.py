"""The terminal under the screen, which may go away at any time."""

from __future__ import annotations

from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """Textual's driver, for a terminal that is closed while the program runs.

    Textual writes from a thread of its own through a short queue. When the terminal is gone that
    thread ends, the queue fills, and whoever draws next would wait for ever, deaf to signals.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_gone = False

    def write(self, data: str) -> None:
        """Write, as long as there is somebody to read it."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)
        else:
            self._leave()

    def run_input_thread(self) -> None:
        """Read keys until the end, or until there is no keyboard any more."""
        try:
            super().run_input_thread()
        except OSError:
            self._leave()

    def close(self) -> None:
        """Let the writing thread end, if it has not."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().close()

    def _leave(self) -> None:
        """Ask the app, once, to keep what was written and to end."""
        if not self._is_gone:
            self._is_gone = True
            self._app.call_later(self._app.action_quit)
