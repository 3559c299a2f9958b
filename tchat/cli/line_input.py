"""Typed lines: what was typed before, and a terminal that is given back as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from tchat.cli.console import Console
from tchat.errors import Interrupted

HISTORY = "history"
HISTORY_LENGTH = 1000


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind: the line editor then gives the terminal back as it was.

    Raises:
        Interrupted: One of them came.
    """

    def receive(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def history(console: Console, *, private: bool = False) -> Iterator[None]:
    """Line editing, with the lines of earlier chats; without it where Python has no readline.

    What is typed in a ``private`` chat is not kept.
    """
    try:
        import readline
    except ImportError:
        yield
        return
    if not console.stdin_is_terminal:
        yield
        return
    from tchat.paths import private_file

    path = console.paths.config / HISTORY
    if not private:
        private_file(path)
    try:
        readline.read_history_file(path)
    except OSError:
        readline.clear_history()
    try:
        yield
    finally:
        if not private:
            readline.set_history_length(HISTORY_LENGTH)
            readline.write_history_file(path)
            private_file(path)


def typed_line(console: Console, prompt: str) -> str:
    """One line that is typed; its prompt is shown on the terminal wherever the output goes.

    Raises:
        EOFError: The input has ended.
    """
    if console.stdout_is_terminal:
        return input(prompt)
    with _terminal(console) as terminal:
        terminal.write(prompt)
        terminal.flush()
        return input()


@contextmanager
def _terminal(console: Console) -> Iterator[TextIO]:
    """The terminal that a person reads while standard output goes elsewhere."""
    if console.stderr_is_terminal:
        yield console.stderr
        return
    try:
        terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    except OSError:
        terminal = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    with terminal:
        yield terminal
