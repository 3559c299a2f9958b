"""Runs the command that prints a passphrase: nothing of it is waited for, or kept, without need."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

_LOOK_SECONDS = 0.02  # between two looks whether the command has ended


def run_passphrase_command(
    command: Sequence[str], environ: Mapping[str, str], seconds: float, most: int
) -> tuple[bytes, int]:
    """What ``command`` prints first, up to ``most`` bytes, and its exit code.

    One that goes on after that is ended, and its code is 0 then. A process that it left behind is
    not waited for, though it may hold the output open.

    Raises:
        OSError, ValueError: It cannot be run.
        subprocess.TimeoutExpired: It runs longer than ``seconds``, and was ended.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=dict(environ), bufsize=0
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe
        try:
            printed = _read(process, process.stdout, time.monotonic() + seconds, most)
            code = process.poll() or 0
        finally:
            process.kill()  # nothing where it has ended
    return printed, code


def _read(process: subprocess.Popen[bytes], output: IO[bytes], end: float, most: int) -> bytes:
    """Read up to ``most`` bytes until ``process`` has ended."""
    printed = b""
    is_open = True
    os.set_blocking(output.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while len(printed) < most:
            has_ended = process.poll() is not None  # before the look: what it printed is there then
            if is_open and selector.select(0 if has_ended else _LOOK_SECONDS):
                piece = output.read(most - len(printed))
                printed += piece or b""
                is_open = bool(piece)
            elif has_ended:
                break
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, 0)
            elif not is_open:
                time.sleep(_LOOK_SECONDS)
    return printed
