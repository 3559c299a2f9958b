"""The outside world as a command sees it: streams, environment, folders, and how to open a chat."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TextIO

from tchat.errors import StorageError, UsageError
from tchat.paths import Paths, user_paths
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.chat.chat import Chat

    OpenChat = Callable[..., Chat]


LONGEST_LINE = 2000


@dataclass(frozen=True, slots=True)
class Console:
    """Streams, environment and folders of one call; a test makes its own.

    ``stdin`` is bytes, because what a pipe brings is decoded by `tchat.sanitize`; `None` when
    there is none. ``open_chat`` stands in for `Chat.open`. ``quiet`` silences notices,
    not failures.
    """

    stdin: BinaryIO | None
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    open_chat: OpenChat | None = None
    quiet: bool = False

    @property
    def paths(self) -> Paths:
        """The user's folders and files."""
        return user_paths(self.environ)

    @property
    def stdin_is_terminal(self) -> bool:
        """Whether a person types the input."""
        return self.stdin is not None and self.stdin.isatty()

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether a person reads the output."""
        return self.stdout.isatty()

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether a person reads the notices."""
        return self.stderr.isatty()

    def out(self, text: str = "") -> None:
        """Write ``text``, which is safe to print, and a newline to standard output."""
        self.stdout.write(text + "\n")

    def say(self, text: str) -> None:
        """Write one line to standard error: a failure, or what was asked for."""
        # A message that cannot be shown must not hide the exit code.
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(f"tchat: {single_line(text, LONGEST_LINE)}\n")
            self.stderr.flush()

    def notice(self, text: str) -> None:
        """Write one line to standard error on what changes the result, unless ``quiet``.

        A script is told too: what it counts on may not be so.
        """
        if not self.quiet:
            self.say(text)

    def flush(self) -> None:
        """Hand all output to the system now, where a failure can still be told."""
        self.stdout.flush()


def process_console() -> Console:
    """The console of this process.

    Bad bytes and missing characters become ``?`` instead of failing: under ``LC_ALL=C`` or an
    8-bit locale an answer may hold characters that the terminal's encoding lacks.
    """
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    return Console(
        stdin=None if sys.stdin is None else sys.stdin.buffer,
        stdout=sys.stdout if sys.stdout is not None else _ClosedOutput(),
        stderr=sys.stderr if sys.stderr is not None else _discard(),
        environ=os.environ,
    )


def _occupy_standard_descriptors() -> None:
    """Keep a database from becoming the standard output of a process started without one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class _ClosedOutput(io.StringIO):
    """Standard output that was closed before the start: what is written would be lost."""

    def write(self, text: str, /) -> int:  # noqa: ARG002
        """Refuse ``text``.

        Raises:
            StorageError: Always.
        """
        raise StorageError(
            "standard output is closed, and what belongs there is lost",
            "send it somewhere: to a file, or to /dev/null",
        )


def _discard() -> TextIO:
    """A stream for a standard error that was closed before the start."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - lives as long as we do


def confirm(console: Console, lines: Iterable[str], question: str) -> None:
    """Ask ``question`` below ``lines``, which are safe to print; raise UsageError unless it is yes.

    Raises:
        UsageError: Nobody can be asked, or the answer is no.
    """
    if not console.stdin_is_terminal:
        raise UsageError("this needs a confirmation", "add --yes")
    for line in lines:
        console.stderr.write(f"{line}\n")
    console.stderr.write(f"{question} [y/N] ")
    console.stderr.flush()
    answer = console.stdin.readline() if console.stdin else b""
    if answer.strip().lower() not in (b"y", b"yes"):
        raise UsageError("nothing was changed")
