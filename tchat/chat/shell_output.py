"""Run a shell command for ``!COMMAND``; its output becomes text for a prompt.

It is bounded in time and size, and can be stopped; what it wrote up to then is kept.
"""

from __future__ import annotations

import codecs
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from tchat.chat.attachments import Attachment
from tchat.errors import UsageError
from tchat.humanize import size_text
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr

MAX_SECONDS = 60.0
MAX_BYTES = 256_000  # more than most context windows hold
CHUNK = 65_536
POLL = 0.05  # seconds between two looks at whether it is to be stopped
GRACE = 1.0  # seconds to end in, after SIGTERM
# Colours, which some commands write to a pipe too; what else acts on a terminal is made visible.
_COLORS = re.compile(r"\x1b\[[0-9;:]*[mK]")


class End(Enum):
    """Why the output ends."""

    EXIT = auto()
    STOPPED = auto()
    TIME = auto()
    SIZE = auto()


@dataclass(frozen=True, slots=True)
class ShellOutput:
    """What a command wrote to standard output and standard error, safe to print.

    ``code`` is its exit code, as a shell tells it.
    """

    command: str
    text: str
    code: int
    end: End = End.EXIT

    def __str__(self) -> str:
        """Format for a prompt, as files are."""
        attached = str(Attachment("", self.text))
        return f"{self.heading}\n{attached.partition(chr(10))[2]}"

    @property
    def heading(self) -> str:
        """The first line of it in a prompt: for the model, so it is not translated."""
        ends = {
            End.EXIT: f" (exit code {self.code})" if self.code else "",
            End.STOPPED: " (stopped by the user)",
            End.TIME: f" (stopped after {MAX_SECONDS:.0f} s)",
            End.SIZE: f" (cut off after {size_text(MAX_BYTES)})",
        }
        return f"Output of `{single_line(self.command)}`{ends[self.end]}:"

    @property
    def notice(self) -> str:
        """What the user should know of its end; empty where it ended as it should."""
        texts = {
            End.EXIT: N_("the command ended with exit code {code}") if self.code else "",
            End.STOPPED: N_("the command was stopped; this is its output up to then"),
            End.TIME: N_("the command was stopped after {seconds:.0f} s"),
            End.SIZE: N_("the command was stopped: its output is cut off after {size}"),
        }
        text = texts[self.end]
        values = {"code": self.code, "seconds": MAX_SECONDS, "size": size_text(MAX_BYTES)}
        return tr(text, **values) if text else ""


def run_bounded(
    command: str,
    stop: threading.Event,
    environ: Mapping[str, str] = os.environ,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> ShellOutput:
    """Run ``command`` in the user's shell, without a terminal, until it ends or has to.

    Setting ``stop`` ends it, with all processes that it started in its group.

    Raises:
        UsageError: The shell cannot be started.
    """
    shell = user_shell(environ)
    try:
        process = subprocess.Popen(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise shell_failure(shell, error) from error
    with process:
        try:
            data, end = _read(process, stop, clock() + MAX_SECONDS, clock)
        finally:
            _end(process)
    text = printable(_COLORS.sub("", codecs.decode(data, "utf-8", "replace")))
    return ShellOutput(command, text, shell_exit_code(process.returncode), end)


def user_shell(environ: Mapping[str, str]) -> str:
    """The path of the user's shell."""
    return environ.get("SHELL", "") or "/bin/sh"


def shell_failure(shell: str, error: Exception) -> UsageError:
    """The error of a shell that cannot be started."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UsageError(
        tr("cannot start the shell {shell}: {reason}", shell=shell, reason=reason),
        tr("set SHELL to another"),
    )


def shell_exit_code(returncode: int) -> int:
    """The exit code that a shell gives a process: 128 and the signal that ended it."""
    return returncode if returncode >= 0 else 128 - returncode


def _read(
    process: subprocess.Popen[bytes],
    stop: threading.Event,
    deadline: float,
    clock: Callable[[], float],
) -> tuple[bytes, End]:
    """Read until the command has ended, or the user, the time or the size ends it."""
    data = bytearray()
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not stop.is_set():
            if clock() > deadline:
                return bytes(data), End.TIME
            if not selector.select(POLL):
                if process.poll() is not None:  # what it left behind in the background may go on
                    return bytes(data), End.EXIT
                continue
            chunk = os.read(process.stdout.fileno(), CHUNK)
            if not chunk:
                return bytes(data), _wait(process, stop, deadline, clock)
            data += chunk
            if len(data) > MAX_BYTES:
                return bytes(data[:MAX_BYTES]), End.SIZE
    return bytes(data), End.STOPPED


def _wait(
    process: subprocess.Popen[bytes],
    stop: threading.Event,
    deadline: float,
    clock: Callable[[], float],
) -> End:
    """Wait for a command that closed its output and goes on."""
    while process.poll() is None:
        if stop.wait(POLL):
            return End.STOPPED
        if clock() > deadline:
            return End.TIME
    return End.EXIT


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command with what it started; nothing where it has ended."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
