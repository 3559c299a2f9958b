"""Text typed while a reply is written: not echoed into the reply, kept for the next prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from tchat.cli.console import Console


@contextmanager
def hidden_typing(console: Console) -> Iterator[None]:
    """Turn off the echo of the terminal; what is typed meanwhile is read by the next prompt.

    Bytes stay as typed, so that the line editor of the prompt gets Backspace and Ctrl+D too. Ctrl+C
    still interrupts, and discards nothing. Without a terminal this does nothing.
    """
    if not console.stdin_is_terminal:
        yield
        return
    assert console.stdin is not None  # noqa: S101 - it is a terminal
    with _typing(console.stdin, shown=False):
        yield


@contextmanager
def shown_typing(stream: BinaryIO) -> Iterator[None]:
    """Drop what was typed, and turn on the echo and lines for a question, also while hidden."""
    with _typing(stream, shown=True):
        yield


@contextmanager
def _typing(stream: BinaryIO, *, shown: bool) -> Iterator[None]:
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        descriptor = stream.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, termios.error):  # it was closed, or has no descriptor
        yield
        return
    modes = [*before]
    if shown:
        modes[LOCAL] = before[LOCAL] | termios.ECHO | termios.ICANON | termios.ISIG
    else:
        modes[LOCAL] = before[LOCAL] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
        modes[CHARACTERS] = [*before[CHARACTERS]]
        modes[CHARACTERS][termios.VMIN], modes[CHARACTERS][termios.VTIME] = 1, 0
    # TCSADRAIN, in contrast to TCSAFLUSH, drops no input.
    termios.tcsetattr(descriptor, termios.TCSAFLUSH if shown else termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        with suppress(OSError, termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


LOCAL, CHARACTERS = 3, 6  # places in what `termios.tcgetattr` returns
