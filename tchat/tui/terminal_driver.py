"""The terminal under the screen, which may go away at any time."""

from __future__ import annotations

import codecs
import os
import select
from collections.abc import Iterable
from typing import Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tchat.tui.paste_parser import PasteParser

PATIENCE = 0.1  # seconds without input until an Esc is taken for the key
READ = 64 * 1024  # bytes


class TerminalDriver(LinuxDriver):
    """Textual's driver, for a terminal that is closed while the program runs.

    Textual writes from a thread of its own through a short queue. When the terminal is gone that
    thread ends, the queue fills, and whoever draws next would wait for ever, deaf to signals.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_gone = False
        self._gives_way = False  # another program has the terminal, such as the user's editor

    def write(self, data: str) -> None:
        """Write, as long as there is somebody to read it."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)
        elif not self._gives_way:
            self._leave()

    def suspend_application_mode(self) -> None:
        """Give way: what is drawn meanwhile is lost, and drawn anew afterwards."""
        super().suspend_application_mode()
        self._gives_way = True

    def resume_application_mode(self) -> None:
        """Take the terminal back."""
        self._gives_way = False
        super().resume_application_mode()

    def run_input_thread(self) -> None:
        """Read keys until the end, or until there is no keyboard any more."""
        parser = PasteParser()
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        try:
            while not self.exit_event.is_set():
                ready, _, _ = select.select([self.fileno], [], [], PATIENCE)
                if ready:
                    if not (data := os.read(self.fileno, READ)):
                        self._leave()
                        return
                    if text := decode(data):  # half a character waits for its rest
                        self._process(parser.feed(text))
                self._process(parser.tick())
        except OSError:
            self._leave()

    def _process(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)

    def close(self) -> None:
        """Let the writing thread end, if it has not."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().close()

    def _leave(self) -> None:
        """Ask the app, once, to keep what was written and to end."""
        if not self._is_gone:
            self._is_gone = True
            self._app.call_later(self._app.action_quit)
