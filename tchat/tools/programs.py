"""Run a program for a tool, within bounds of time and output, and tell the model how it ended."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.sanitize import single_line
from tchat.temporary_files import anonymous_file
from tchat.tools.tool import ToolError
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.models.subprocess_runner import ProcessResult

MAX_OUTPUT = 1 << 20  # bytes; a program that writes more is ended
SHOWN = 32 << 10  # characters for the model, the first and the last of them


def run_program(
    command: Sequence[str],
    *,
    limit: float,
    environment: Mapping[str, str],
    directory: Path | None = None,
    text: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> ProcessResult:
    """Run ``command`` with ``text`` on its standard input.

    Raises:
        ToolError: It cannot be started, or was cancelled.
    """
    from tchat.models.subprocess_runner import run_process

    # A file, since a program that does not read would block a pipe.
    with anonymous_file() as stdin:
        stdin.write(text.encode(errors="replace"))
        stdin.seek(0)
        try:
            return run_process(
                command,
                limit=limit,
                environment=environment,
                cancelled=cancelled,
                directory=directory,
                stdin=stdin,
                max_output=MAX_OUTPUT,
            )
        except InterruptedError:
            raise ToolError(tr("the program was stopped")) from None
        except (OSError, ValueError) as error:
            raise ToolError(
                tr(
                    "cannot start {name}: {reason}",
                    name=single_line(command[0]),
                    reason=single_line(str(error)),
                ),
                tr("name another program"),
            ) from error


def find_program(name: str, path: str) -> str:
    """The file of a program by its name or its absolute path.

    Raises:
        ToolError: There is none.
    """
    if "\0" in name or not name or ("/" in name and not name.startswith("/")):
        found = None
    else:
        found = shutil.which(name, path=path)
    if found is None:
        raise ToolError(
            tr("there is no program {name}", name=single_line(name)),
            tr("name one in PATH, or by its absolute path"),
        )
    return found


def result_text(result: ProcessResult, limit: float) -> str:
    """What a program wrote and how it ended, for the model."""
    parts = []
    output, log = (each.decode(errors="replace") for each in (result.stdout, result.stderr))
    if output:
        parts.append(shortened(output))
    if log:
        parts.append(f"[stderr]\n{shortened(log)}")
    if result.timed_out:
        parts.append(f"[It was ended after {limit:g} seconds.]")
    elif result.flooded:
        parts.append(f"[It was ended after {MAX_OUTPUT} bytes of output.]")
    elif result.signal:
        parts.append(f"[It was ended by {result.signal}.]")
    elif result.exit_code or not parts:
        parts.append(f"[Exit code {result.exit_code}.]")
    return "\n".join(parts)


def shortened(text: str, limit: int = SHOWN) -> str:
    """The first and the last of a text that is too long."""
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    return f"{text[: limit // 2]}\n[{left_out} characters left out]\n{text[-limit // 2 :]}"


def descriptor_path(descriptor: int) -> Path:
    """A path of an open folder that leads to it whatever is swapped on the way."""
    by_number = Path(f"/proc/self/fd/{descriptor}")
    if by_number.exists():
        return by_number
    get_path: int = getattr(fcntl, "F_GETPATH", 50)  # macOS
    return Path(os.fsdecode(fcntl.fcntl(descriptor, get_path, bytes(1024)).rstrip(b"\0")))
