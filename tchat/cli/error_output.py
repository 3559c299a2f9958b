"""Errors as one line on standard error and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os

from tchat.cli.console import Console
from tchat.errors import Abandoned, ExitCode, Interrupted, TchatError
from tchat.paths import private_file

# Windows says EINVAL when the reader of a pipe is gone.
CLOSED_PIPE = frozenset({errno.EPIPE, errno.ESHUTDOWN})


def report_error(error: BaseException, console: Console) -> int:
    """Print ``error`` to standard error and return its exit code."""
    if isinstance(error, SystemExit):
        return _system_exit(error, console)
    if isinstance(error, Abandoned):
        _end_line(console)  # nobody erases the status any more
    code, line = _exit_code_and_line(error, console)
    if line:
        console.say(line)
    _drop_unwritten(console)
    return code


def _exit_code_and_line(error: BaseException, console: Console) -> tuple[int, str]:
    """The exit code, and the line to print; empty for none."""
    match error:
        case Interrupted():
            return error.exit_code, ""
        case TchatError():
            return error.exit_code, str(error)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, ""
        case OSError():
            return _system_error(error)
        case MemoryError():
            return ExitCode.FIT, "out of memory; use a smaller model or a smaller --ctx-size"
        case _:
            return ExitCode.UNEXPECTED, _unexpected(error, console)


def _system_error(error: OSError) -> tuple[int, str]:
    if error.errno in CLOSED_PIPE:
        return ExitCode.CLOSED_PIPE, ""
    place = error.filename or "the output"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space, or choose another place" if full else "check its permissions"
    return ExitCode.STORAGE, f"cannot read or write {place}: {error.strerror or error}; {hint}"


def _unexpected(error: BaseException, console: Console) -> str:
    import traceback

    said = "; ".join((str(error), *getattr(error, "__notes__", ())))
    line = f"unexpected error: {type(error).__name__}: {said}"
    try:
        log = private_file(console.paths.log_file)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except (OSError, TchatError):
        return f"{line}; please report it (the log could not be written)"
    return f"{line}; please report it with the log at {log}"


def _end_line(console: Console) -> None:
    if console.stderr_is_terminal:
        with contextlib.suppress(OSError, ValueError):
            console.stderr.write("\n")
            console.stderr.flush()


def _system_exit(error: SystemExit, console: Console) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    console.say(str(error.code))
    return ExitCode.UNEXPECTED


def _drop_unwritten(console: Console) -> None:
    """Drop unwritten output, so that the flush at exit cannot fail again."""
    try:
        console.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, console.stdout.fileno())
            os.close(nowhere)
