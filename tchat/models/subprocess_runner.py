"""Run a command that may crash, hang or write without end, and leave no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SHELL = Path("/bin/sh")
MAX_OUTPUT = 1 << 16  # bytes of stdout by default; a child that writes more is stopped
KEPT_LOG = 1 << 13  # last bytes of stderr
POLL_SECONDS = 0.1  # between two calls of `cancelled`
PIPE_GRACE = 1.0  # seconds for the pipes to close after the child ended


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a child process ended.

    Attributes:
        exit_code: Its exit status; None when a signal or the limit ended it.
        signal: The name of the signal that ended it, such as ``SIGABRT``; else empty.
        timed_out: It ran past the limit and was killed.
        flooded: It wrote more than ``max_output`` bytes and was killed.
        stdout: Up to ``max_output`` bytes.
        stderr: The last of it.
    """

    exit_code: int | None
    signal: str
    timed_out: bool
    flooded: bool
    stdout: bytes
    stderr: bytes


def run_process(
    command: Sequence[str],
    *,
    limit: float,
    environment: Mapping[str, str],
    cancelled: Callable[[], bool] = lambda: False,
    directory: Path | None = None,
    stdin: IO[bytes] | None = None,
    max_output: int = MAX_OUTPUT,
) -> ProcessResult:
    """Run ``command`` for at most ``limit`` seconds in a process group of its own.

    It starts in ``directory`` and reads the file ``stdin``, nothing without one. When this returns
    or raises, the child and its children have ended. On POSIX no core file is written.

    Raises:
        OSError: It cannot be started.
        InterruptedError: ``cancelled`` returned True.
    """
    process = subprocess.Popen(
        _without_core(command),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=directory,
        start_new_session=True,
    )
    try:
        return _watch(process, limit, cancelled, max_output)
    finally:
        _kill_all(process)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _without_core(command: Sequence[str]) -> list[str]:
    """Set the core limit through a shell: a ``preexec_fn`` is unsafe with threads."""
    if os.name != "posix" or not SHELL.exists():
        return list(command)
    return [str(SHELL), "-c", 'ulimit -c 0; exec "$@"', "sh", *command]


def _watch(
    process: subprocess.Popen[bytes],
    limit: float,
    cancelled: Callable[[], bool],
    max_output: int,
) -> ProcessResult:
    output, log = bytearray(), bytearray()
    flooded = threading.Event()

    def collect(piece: bytes) -> None:
        output.extend(piece[: max_output - len(output)])
        if len(output) >= max_output and not flooded.is_set():
            flooded.set()
            _kill_all(process)

    def keep_last(piece: bytes) -> None:
        log.extend(piece)
        del log[:-KEPT_LOG]

    readers = [_drain(process.stdout, collect), _drain(process.stderr, keep_last)]
    timed_out = not _ended(process, limit, cancelled)
    if timed_out:
        _kill_all(process)
    status = process.wait()
    for reader in readers:
        reader.join(PIPE_GRACE)
    if any(reader.is_alive() for reader in readers):
        _kill_all(process)  # a grandchild holds the pipes
    killed_here = timed_out or flooded.is_set()
    return ProcessResult(
        exit_code=None if killed_here or status < 0 else status,
        signal="" if killed_here or status >= 0 else _signal_name(-status),
        timed_out=timed_out,
        flooded=flooded.is_set(),
        stdout=bytes(output),
        stderr=bytes(log),
    )


def _ended(process: subprocess.Popen[bytes], limit: float, cancelled: Callable[[], bool]) -> bool:
    """Wait for the child; False when it is still running after ``limit`` seconds."""
    end = time.monotonic() + limit
    while (left := end - time.monotonic()) > 0:
        try:
            process.wait(min(left, POLL_SECONDS))
        except subprocess.TimeoutExpired:
            if cancelled():
                raise InterruptedError from None
        else:
            return True
    return process.poll() is not None


def _drain(pipe: IO[bytes] | None, consume: Callable[[bytes], None]) -> threading.Thread:
    """Read ``pipe`` to its end on a thread."""

    def work() -> None:
        assert pipe is not None  # noqa: S101
        with contextlib.suppress(OSError, ValueError):  # closed at the end of `run_process`
            while piece := os.read(pipe.fileno(), 1 << 16):
                consume(piece)

    thread = threading.Thread(target=work, name="probe-pipe", daemon=True)
    thread.start()
    return thread


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and what it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(tree, check=False, capture_output=True)
        process.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
