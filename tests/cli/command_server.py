"""Runs the command in processes that are forked from one which has imported the program.

Such a process is the command from `tchat.cli.main.run` on, with arguments, environment, folder and
standard streams of its own. It lacks the 0.15 s of CPU that Python takes to import everything: for
some hundred calls of the tests that is minutes. What starts Python differently (its variables, a
locale) is run as users do, as is what is measured.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

IMPORTED = (
    *("tchat.cli.app", "tchat.cli.ask", "tchat.cli.console", "tchat.cli.sessions"),
    *("tchat.cli.answer", "tchat.cli.output.reply", "tchat.chat.chat", "tchat.chat.model"),
    *("tchat.engine.engine", "tchat.models.metadata", "tchat.sessions.store", "jinja2", "numpy"),
)
OF_PYTHON = ("PYTHON", "LC_", "LANG", "MALLOC", "LD_", "COVERAGE")
EXIT = struct.Struct("i")  # the message that tells how a process ended, as `os.waitpid` does
LONGEST_REQUEST = 1 << 20  # bytes


def is_usual(env: Mapping[str, str]) -> bool:
    """Whether Python starts with these variables as it starts without them."""
    return all(
        os.environ.get(name) == value or not name.startswith(OF_PYTHON)
        for name, value in env.items()
    ) and not any(name.startswith("COVERAGE") for name in os.environ)


class CommandServer:
    """A process that forks commands."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # no threads before a fork
            )
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()

    def run(
        self, arguments: Sequence[str], stdin: bytes, env: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Run one command; returns its exit code and what it wrote.

        Raises:
            TimeoutError: It did not end in so many seconds; it is killed.
        """
        request = json.dumps([list(arguments), dict(env), os.getcwd()]).encode()  # noqa: PTH109
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = [os.pipe() for _ in range(3)]
        (read_in, write_in), (read_out, write_out), (read_err, write_err) = pipes
        with ours:
            with theirs, self._lock:
                fds = [theirs.fileno(), read_in, write_out, write_err]
                socket.send_fds(self._socket, [request], fds)
            for each in (read_in, write_out, write_err):
                os.close(each)
            ours.settimeout(seconds)
            (process,) = EXIT.unpack(ours.recv(EXIT.size))
            outputs: dict[int, bytes] = {}
            threads = [
                threading.Thread(target=_write, args=(write_in, stdin)),
                threading.Thread(target=_read, args=(read_out, outputs)),
                threading.Thread(target=_read, args=(read_err, outputs)),
            ]
            for thread in threads:
                thread.start()
            try:
                (status,) = EXIT.unpack(ours.recv(EXIT.size))
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise
            finally:
                for thread in threads:
                    thread.join()
        return os.waitstatus_to_exitcode(status), outputs[read_out], outputs[read_err]


@functools.cache
def command_server() -> CommandServer:
    """The server of this process, which ends with it."""
    server = CommandServer()
    atexit.register(server.close)
    return server


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as file:
        file.write(data)


def _read(fd: int, outputs: dict[int, bytes]) -> None:
    with os.fdopen(fd, "rb") as file:
        outputs[fd] = file.read()


def serve(requests: socket.socket) -> list[str] | None:
    """Fork a command for each request; returns its arguments in the command, None at the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the supervisors are reaped by themselves
    while True:
        request, fds, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            return _supervised(request, fds)
        for each in fds:
            os.close(each)


def _supervised(request: bytes, fds: list[int]) -> list[str]:
    """Fork again, into the command, and tell its process and its end."""
    with socket.socket(fileno=fds[0]) as answers:
        if process := os.fork():
            for each in fds[1:]:
                os.close(each)
            answers.send(EXIT.pack(process))
            answers.send(EXIT.pack(os.waitpid(process, 0)[1]))
            os._exit(0)
    arguments, env, folder = json.loads(request)
    for target, each in enumerate(fds[1:]):
        os.dup2(each, target)
        os.close(each)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.stdin = _stream(0, "rb")
    sys.stdout = _stream(1, "wb")
    sys.stderr = _stream(2, "wb", "backslashreplace")
    return list(arguments)


def _stream(fd: int, mode: str, errors: str = "strict") -> io.TextIOWrapper:
    file = open(fd, mode, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(file, encoding="utf-8", errors=errors, line_buffering=fd == 2)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    if (given := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        from tchat.cli.main import run

        sys.argv = ["tchat", *given]
        run()
