"""The terminal around the screen: output of C libraries, crashes, job control, the clipboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from tchat.errors import StorageError
from tchat.log_file import LIMIT, LogFile
from tchat.private_files import private_file
from tchat.temporary_files import memory_file
from tchat.translation import tr

# Waits until tchat says that it is done. Where that never comes, because llama.cpp crashed or
# somebody killed the process, it makes the terminal usable: line mode, no alternate screen, no
# mouse reports, no bracketed paste, no reports of keys and of the focus, the title that it had, a
# visible cursor.
_GUARD = r"""
trap '' INT TERM TTOU TSTP
read -r word && exit 0
stty sane <&1
printf '\033[?1049l\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?1004l\033[?2004l'
printf '\033[<u\033[23;2t\033[?25h\033[0m\ntchat ended by a crash; what was written is stored.'
printf ' Details: %s\n' "$1"
"""
_PATIENCE = 1.0  # seconds for the guard to end


@contextmanager
def guarded(log: LogFile) -> Iterator[None]:
    """Run the screen in here.

    What C libraries print goes into ``log`` instead of over the screen, and the terminal is
    restored even when the process dies.
    """
    with _own_stderr(log), _guard(log.path):
        yield


@contextmanager
def _own_stderr(log: LogFile) -> Iterator[None]:
    """Point file descriptor 2 at the log; Textual paints on a duplicate of the terminal.

    A standard error that the user sent elsewhere stays there.
    """
    before = sys.__stderr__
    terminal = next((number for number in (2, 1) if os.isatty(number)), None)
    if terminal is None or before is None:
        yield
        return
    painted = os.fdopen(os.dup(terminal), "w", encoding=before.encoding, errors=before.errors)
    sys.__stderr__ = painted  # type: ignore[misc]  # where Textual looks for the terminal
    printed = None
    if terminal == 2 and log.encryption is None:
        with suppress(OSError, StorageError):
            opened = os.open(private_file(log.path), os.O_WRONLY | os.O_APPEND)
            os.dup2(opened, 2)
            os.close(opened)
    elif terminal == 2:  # a library cannot encrypt: the log gets it at the end, after a crash not
        printed = memory_file() or open(os.devnull, "w+b")  # noqa: PTH123, SIM115
        os.dup2(printed.fileno(), 2)
    try:
        yield
    finally:
        sys.__stderr__ = before  # type: ignore[misc]
        if terminal == 2:
            os.dup2(painted.fileno(), 2)
        if printed is not None:
            _append(printed, log)
        with suppress(OSError):  # the terminal may be gone, with what was still to be painted
            painted.close()


def _append(printed: IO[bytes], log: LogFile) -> None:
    """Append what was printed to the log, the last of it where it is much."""
    with suppress(OSError), printed:
        size = printed.seek(0, os.SEEK_END)
        printed.seek(max(0, size - LIMIT))
        if text := printed.read().decode("utf-8", "replace"):
            log.append(text)


@contextmanager
def _guard(log_file: Path) -> Iterator[None]:
    shell = "/bin/sh"
    if not (sys.__stderr__ and sys.__stderr__.isatty() and Path(shell).exists()):
        yield
        return
    try:
        guard = subprocess.Popen(
            [shell, "-c", _GUARD, "tchat-guard", str(log_file)],
            stdin=subprocess.PIPE,
            stdout=sys.__stderr__,
            stderr=subprocess.DEVNULL,
            close_fds=True,
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            guard.communicate(b"done\n", timeout=_PATIENCE)


def can_be_resumed() -> bool:
    """Whether somebody could continue this process after it is suspended: a shell with job control.

    Such a shell gives each job a process group of its own, and stays in another one of the same
    session. A terminal emulator, ``tmux new tchat`` and ``exec tchat`` leave no such shell.
    """
    if sys.platform == "win32":
        return False
    group, session = os.getpgrp(), os.getsid(0)
    parent = os.getpid()
    with suppress(OSError, ValueError):
        while os.getpgid(parent) == group:  # a script that started this one is suspended with it
            if parent == session:
                return False
            parent = _parent_of(parent)
        return os.getsid(parent) == session
    return False


def _parent_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:  # no Linux
        listed = ("ps", "-o", "ppid=", "-p", str(pid))
        return int(subprocess.run(listed, capture_output=True, check=False).stdout)
    return int(status.rpartition(")")[2].split()[1])


@runtime_checkable
class TitledDriver(Protocol):
    """A driver that can title the terminal."""

    def set_title(self, title: str | None) -> None:
        """Title the terminal, without control characters; None restores what it was before."""


OSC52_LIMIT = 75_000  # bytes; terminals cut or refuse longer sequences
PATIENCE = 2.0  # seconds for a tool to take the text


def copy(
    text: str, write_osc52: Callable[[str], None], environ: Mapping[str, str] = os.environ
) -> str:
    """Copy ``text`` and return what was used, or an empty string when nothing could.

    The order: ``pbcopy``; inside tmux its buffer, which it hands on to the terminal; the display
    server's tool; OSC 52, which not every terminal takes and none confirms.
    """
    data = text.encode("utf-8", "replace")
    for name, command in _tools(environ):
        if _accepted(command, data):
            return name
    if len(data) > OSC52_LIMIT:
        return ""
    write_osc52(text)
    return tr("the terminal (OSC 52)")


def _tools(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    if sys.platform == "darwin":
        yield "pbcopy", ["pbcopy"]
    if sys.platform == "win32":
        yield "clip", ["clip"]
    if environ.get("TMUX"):
        yield "tmux", ["tmux", "load-buffer", "-w", "-"]
    if environ.get("WAYLAND_DISPLAY"):
        yield "wl-copy", ["wl-copy"]
    if environ.get("DISPLAY"):
        yield "xclip", ["xclip", "-selection", "clipboard"]
        yield "xsel", ["xsel", "--clipboard", "--input"]


def _accepted(command: list[str], data: bytes) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        # xclip stays behind to serve the selection: its output must not be waited for, and it
        # must not be suspended with tchat.
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
