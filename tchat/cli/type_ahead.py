"""Text typed while a reply is written: not echoed into the reply, kept for the next prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    assert console.stdin is not None  # noqa: S101 - it is a terminal
    try:
        descriptor = console.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, termios.error):  # it was closed, or has no descriptor
        yield
        return
    modes = [*before]
    modes[LOCAL] = before[LOCAL] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    modes[CHARACTERS] = [*before[CHARACTERS]]
    modes[CHARACTERS][termios.VMIN], modes[CHARACTERS][termios.VTIME] = 1, 0
    # TCSADRAIN, in contrast to TCSAFLUSH, drops no input.
    termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        with suppress(OSError, termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


LOCAL, CHARACTERS = 3, 6  # places in what `termios.tcgetattr` returns
