"""Failures that nobody foresaw: one line for the user, the rest for the log."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from tchat.errors import DoesNotFit, TchatError
from tchat.paths import private_file
from tchat.sanitize import single_line

SHOWN = 200  # characters of a reason


def unexpected_error(error: BaseException, log_file: Path | None) -> TchatError:
    """Write what is known of ``error`` into the log, if there is one, and what to say about it."""
    if isinstance(error, MemoryError):
        return DoesNotFit("out of memory", "use a smaller model or a smaller ctx_size")
    reason = single_line(f"{type(error).__name__}: {error}", SHOWN)
    if log_file is None:
        return TchatError(f"unexpected error: {reason}")
    report = "".join(traceback.format_exception(error))
    with suppress(OSError, TchatError):
        log = private_file(log_file)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report)
    return TchatError(f"unexpected error: {reason}", f"please report it with the log at {log_file}")
