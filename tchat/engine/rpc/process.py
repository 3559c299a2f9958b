"""The engine's child process: started, asked, watched, and told from a worker that failed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Container, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from typing import Any

from tchat.encryption.hardening import is_protected
from tchat.engine.binding import Cancel
from tchat.engine.rpc.messages import (
    PROTECTED,
    Alive,
    Broken,
    Done,
    EndCandidate,
    EngineRequest,
    Failed,
    ReaderCall,
    Stop,
)
from tchat.engine.rpc.reply_reader import AskedReader, MakeReader
from tchat.errors import ModelError, ModelInvalid, NetworkError, TchatError
from tchat.sanitize import single_line
from tchat.translation import joined, tr

POLL_SECONDS = 0.02
START_SECONDS = 60.0  # for Python and llama.cpp to start
CONNECT_SECONDS = 10.0
GONE_PAUSES = (0.0, 0.3)  # seconds
STOP_SECONDS = 10.0  # a worker finishes its batch before it sees that the user stopped
SLOWEST_NETWORK = 5e6  # bytes a second
_CONNECT_FAILED = re.compile(r"Failed to connect to ([^\s;]+)")
_UNRESOLVED = re.compile(r"Cannot resolve host")
_MISMATCH = re.compile(r"version mismatch: ([0-9.]+)")
_RPC_FAILED = re.compile(r"RPC|ggml-rpc")


class EngineProcess:
    """A child process with an engine whose model is split over the workers at ``endpoints``.

    Not thread-safe. `close` it after use; after an error other than one of the request, too.

    Args:
        endpoints: Addresses of the workers.
        cancel: Ends a request early.

    Attributes:
        cached: Tokens in the KV cache after the last request.
        is_alive: Whether it can be asked.
    """

    def __init__(self, endpoints: Sequence[str], cancel: Cancel) -> None:
        self._endpoints, self._cancel = endpoints, cancel
        self._number = 0
        self.cached: tuple[int, ...] = ()
        self.is_alive = True
        self._connection, other = Pipe()
        command = [sys.executable, "-m", "tchat.engine.rpc.child_process", str(other.fileno())]
        if is_protected():
            command.append(PROTECTED)
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=(other.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for this process, which tells it. In a session of its own Linux would
                # schedule it apart from workers and others here: a third fewer tokens a second.
                process_group=0,
            )
        except OSError as error:
            self._connection.close()
            raise TchatError(
                tr("the engine's process cannot be started: {error}", error=error.strerror or error)
            ) from error
        finally:
            other.close()

    def close(self) -> None:
        """End the process; workers free what they hold for it. Closing twice is harmless."""
        self.is_alive = False
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def connect(self) -> Generator[Any, None, tuple[Any, ...]]:
        """Connect to each worker; returns their devices.

        Raises:
            NetworkError: One is not there, does not answer, or has another version.
            InterruptedError: ``cancel`` was set.
        """
        yield from self._wait_for_start()
        devices: list[Any] = []
        for endpoint in self._endpoints:
            silent = NetworkError(
                tr("the worker {endpoint} does not answer", endpoint=endpoint),
                tr("it serves one program at a time; end the other one, or start it again"),
            )
            request = self.request("connect", [endpoint], limit=CONNECT_SECONDS, silent=silent)
            devices += yield from request
        return tuple(devices)

    def _wait_for_start(self) -> Generator[Any, None, None]:
        if not self._number:
            yield from self.request("start", limit=START_SECONDS)

    def request(
        self,
        name: str,
        *arguments: Any,
        limit: float,
        silent: NetworkError | None = None,
        grace: float = 0,
        ended: Container[int] = (),
        count: int = 0,
        reader: MakeReader | None = None,
        **options: Any,
    ) -> Generator[Any, None, Any]:
        """Let the child call ``name``: yields its events, returns its result, raises its error.

        Args:
            name: A method of `tchat.engine.rpc.child_process.EngineChild`.
            arguments: Passed on, like ``options``.
            limit: Seconds without a sign of life.
            silent: Raised after that.
            grace: Seconds that it may go on when ``cancel`` is set.
            ended: Of ``count`` candidates those to be ended early; may grow meanwhile.
            count: Candidates.
            reader: Makes the reader of a reply that may call tools.

        Raises:
            NetworkError: A worker failed.
            ModelError: llama.cpp failed.
            InterruptedError: ``cancel`` was set, and there is no ``grace``.
        """
        self._number += 1
        asked = AskedReader(reader) if reader is not None else None
        watch, has_ended = _Watch(self._number, grace, ended, count, asked), False
        self._send(EngineRequest(self._number, name, arguments, options))
        try:
            while True:
                self._tell(watch)
                if not self._connection.poll(POLL_SECONDS):
                    if watch.silence() > limit:
                        raise silent or self._silent(limit)
                    continue
                message = self._receive()
                watch.heard = time.monotonic()
                if isinstance(message, Broken):
                    raise self._broken(message.reason, is_connected=name != "connect")
                if isinstance(message, Done | Failed):
                    has_ended, self.cached = True, message.cached
                    return _outcome(message)
                if isinstance(message, ReaderCall):
                    self._answer(watch, message)
                elif not isinstance(message, Alive):
                    yield message
                    watch.heard = time.monotonic()  # the time in between was not the child's
        except GeneratorExit:
            has_ended = self._wait_for_end(watch)
            raise
        finally:
            if not has_ended:
                self.close()

    def _tell(self, watch: _Watch) -> None:
        """Tell the child to stop, or to end a candidate; raise an error when it does not stop."""
        if self._cancel.is_set():
            if not watch.stopped:
                watch.stopped = time.monotonic()
                self._send(Stop(watch.number))
            if time.monotonic() - watch.stopped >= watch.grace:
                raise self._unstopped(watch.grace)
        for index in range(watch.count):
            if index in watch.ended and index not in watch.told:
                watch.told.add(index)
                self._send(EndCandidate(watch.number, index))

    def _answer(self, watch: _Watch, call: ReaderCall) -> None:
        assert watch.reader is not None  # noqa: S101  the child asks for nothing else
        self._send(watch.reader.answer(watch.number, call))

    def _wait_for_end(self, watch: _Watch) -> bool:
        """Stop a request whose events nobody wants any more; False when it goes on."""
        end = time.monotonic() + STOP_SECONDS
        with suppress(NetworkError, ModelError):
            self._send(Stop(watch.number))
            while (left := end - time.monotonic()) > 0:
                if not self._connection.poll(left):
                    continue
                message = self._receive()
                if isinstance(message, ReaderCall):
                    self._answer(watch, message)
                elif isinstance(message, Done | Failed):
                    self.cached = message.cached
                    return True
        return False

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise self._ended() from None

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None

    # What failed

    def _unstopped(self, grace: float) -> BaseException:
        if not grace:
            return InterruptedError()
        return NetworkError(
            tr(
                "{workers} did not stop within {seconds:.0f} s and was left",
                workers=self._names(self._endpoints),
                seconds=grace,
            ),
            tr("the next prompt loads the model again"),
        )

    def _silent(self, limit: float) -> NetworkError:
        return NetworkError(
            tr(
                "{workers} did not answer for {seconds:.0f} s",
                workers=self._names(self._gone() or self._endpoints),
                seconds=limit,
            ),
            tr("look after it and try again; a slow one needs a longer rpc_timeout"),
        )

    def _broken(self, reason: str, *, is_connected: bool) -> TchatError:
        """The error for what llama.cpp said before it ended the child."""
        from importlib.metadata import version

        if found := _CONNECT_FAILED.search(reason):
            if _UNRESOLVED.search(reason):
                return NetworkError(
                    tr("the worker {endpoint} cannot be found", endpoint=found[1]),
                    tr("check its name"),
                )
            return NetworkError(
                tr("no worker answers at {endpoint}", endpoint=found[1]),
                tr("start it there with `tchat worker`, and its tunnel here"),
            )
        if not _RPC_FAILED.search(reason):
            return ModelInvalid(
                tr("llama.cpp failed: {reason}", reason=single_line(reason, limit=300))
            )
        if is_connected:
            return NetworkError(
                tr("{workers} ended", workers=self._names(self._gone() or self._endpoints)),
                tr("start it again, and try again"),
            )
        other = _MISMATCH.search(reason)
        return NetworkError(
            tr(
                "{workers} speaks version {version} of llama.cpp's RPC, and this machine another",
                workers=self._names(self._endpoints),
                version=other[1],
            )
            if other
            else tr(
                "{workers} does not speak this version of llama.cpp's RPC",
                workers=self._names(self._endpoints),
            ),
            tr(
                "install llama-cpp-python {version} on both machines",
                version=version("llama-cpp-python"),
            ),
        )

    def _ended(self) -> TchatError:
        """The error for a child that ended without a word."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.returncode or 0
        how = tr("exit code {code}", code=status)
        if status < 0:
            with suppress(ValueError):
                how = signal.Signals(-status).name
        return ModelError(
            tr("the engine's process ended: {how}", how=how),
            tr("try again; see the log file in `tchat doctor`"),
        )

    def _gone(self) -> tuple[str, ...]:
        """The workers at whose address nobody listens any more."""
        for pause in GONE_PAUSES:  # the system may close the sockets a moment later
            time.sleep(pause)
            gone = tuple(each for each in self._endpoints if not _listens(each))
            if gone:
                return gone
        return ()

    def _names(self, endpoints: Sequence[str]) -> str:
        if not endpoints:
            return tr("the engine")
        names = joined(endpoints)
        if len(endpoints) == 1:
            return tr("the worker {names}", names=names)
        return tr("one of the workers {names}", names=names)


@dataclass(slots=True)
class _Watch:
    """A request that is being carried out: when the child was heard, and what it was told."""

    number: int
    grace: float
    ended: Container[int]
    count: int
    reader: AskedReader | None
    heard: float = field(default_factory=time.monotonic)
    stopped: float = 0.0
    told: set[int] = field(default_factory=set)

    def silence(self) -> float:
        """Seconds since the child was heard."""
        return time.monotonic() - self.heard


def _outcome(message: Done | Failed) -> Any:
    if isinstance(message, Failed):
        raise message.error
    return message.value


def _listens(endpoint: str) -> bool:
    host, _, port = endpoint.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def load_limit(timeout: float, size: int) -> float:
    """Seconds for loading ``size`` bytes of weights: a worker may be behind a slow network."""
    return timeout + size / SLOWEST_NETWORK


def file_bytes(path: os.PathLike[str]) -> int:
    """The size of a model's file; 0 where it is gone."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
