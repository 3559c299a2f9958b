"""The child process that holds the engine: ``python -m tchat.engine.rpc.child_process DESCRIPTOR``.

A second argument, `PROTECTED`, keeps its memory from other processes: the texts of an encrypted
store come here.

The connection on that file descriptor carries `tchat.engine.rpc.messages`. When it closes, the
process ends, whatever llama.cpp is doing.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from tchat.engine.batch import BatchOptions, BatchTask
from tchat.engine.binding import Cancel, Device, backend, ggml_function
from tchat.engine.engine import Engine
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.loading import EngineOptions
from tchat.engine.rpc.messages import (
    PROTECTED,
    Alive,
    Broken,
    Done,
    EndCandidate,
    EngineRequest,
    Failed,
    LoadedFacts,
    ReaderCall,
    ReaderState,
    Stop,
)
from tchat.engine.rpc.reply_reader import RemoteReader
from tchat.engine.rpc.workers import register_workers
from tchat.engine.tool_reply import ToolReplies

PULSE_SECONDS = 0.5
ABORTED = 70  # exit code after `Broken`
_ABORT_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class EngineChild:
    """Carries out the requests that come over ``connection``, one after another."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._requests: queue.SimpleQueue[EngineRequest] = queue.SimpleQueue()
        self._cancel = Cancel()
        self._engine: Engine | None = None
        self._number = 0
        self._ended: set[int] = set()  # candidates of the request
        self._reader_states: queue.SimpleQueue[ReaderState] = queue.SimpleQueue()
        self._abort = _ABORT_CALLBACK(self._on_abort)

    def run(self) -> None:
        """Work until the connection closes."""
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._pulse, daemon=True).start()
        while True:
            self._carry_out(self._requests.get())

    # The three threads

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                message = self._connection.recv()
                if isinstance(message, EngineRequest):
                    self._number = message.number
                    self._cancel.clear()
                    self._ended.clear()
                    self._requests.put(message)
                elif message.number != self._number:
                    continue  # it has ended meanwhile
                elif isinstance(message, Stop):
                    self._cancel.set()
                elif isinstance(message, EndCandidate):
                    self._ended.add(message.index)
                elif isinstance(message, ReaderState):
                    self._reader_states.put(message)
        os._exit(0)  # the parent has ended, or wants an end

    def _pulse(self) -> None:
        """Tell that work goes on: a row of a batch may take minutes, and yields nothing before."""
        seen, pause = 0, threading.Event()
        while not pause.wait(PULSE_SECONDS):
            loaded = self._engine.loaded if self._engine else None
            decodes = loaded.context.decodes if loaded else 0
            if decodes != seen:
                seen = decodes
                self._send(Alive())

    def _carry_out(self, request: EngineRequest) -> None:
        try:
            value = self._answer(request)
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            self._send(Failed(error, self._cached()))
        else:
            self._send(Done(value, self._cached()))

    def _answer(self, request: EngineRequest) -> Any:
        events = getattr(self, request.name)(*request.arguments, **request.options)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            self._send(event)

    def _cached(self) -> tuple[int, ...]:
        loaded = self._engine.loaded if self._engine else None
        return tuple(loaded.kv.tokens) if loaded else ()

    def _send(self, message: object) -> None:
        try:
            data = pickle.dumps(message)
        except Exception:  # noqa: BLE001 - of somebody else's making
            error = message.error if isinstance(message, Failed) else TypeError(type(message))
            data = pickle.dumps(Failed(RuntimeError(repr(error)), ()))
        with self._sending:
            self._connection.send_bytes(data)

    def _on_abort(self, reason: bytes) -> None:
        """llama.cpp gives up, on any of its threads; when this returns, it aborts."""
        with suppress(OSError):
            texts = [reason.decode("utf-8", "replace"), *backend().log.errors()]
            self._send(Broken("; ".join(texts)))
        os._exit(ABORTED)

    def _ask_reader(self, name: str, *arguments: object) -> ReaderState:
        """Call the reader in the parent; when that ends, so does this process."""
        self._send(ReaderCall(name, arguments))
        return self._reader_states.get()

    # The requests: each a generator of what is sent

    def start(self) -> Iterator[object]:
        """Answer: all is imported."""
        yield from ()

    def connect(self, endpoints: Sequence[str]) -> Generator[object, None, tuple[Device, ...]]:
        """Connect to the workers; returns their devices."""
        # ggml has it in another library than llama.cpp; the pointer is kept by both.
        set_callback = ggml_function("ggml_set_abort_callback", ctypes.c_void_p, _ABORT_CALLBACK)
        set_callback(self._abort)
        yield from ()
        return register_workers(endpoints)

    def load(self, options: EngineOptions) -> Generator[object, None, LoadedFacts]:
        """Load the model, split over the devices of `connect`."""
        self._engine = engine = Engine(options, self._cancel)
        yield from engine.load()
        loaded = engine.loaded
        assert loaded is not None  # noqa: S101  `load` raises where it is not
        return LoadedFacts(loaded.context.size, loaded.model.shape)

    def generate(
        self, *arguments: Any, ends_with_grammar: bool | None = None, **options: Any
    ) -> Iterator[object]:
        """As `Engine.generate`; ``ends_with_grammar`` is that of `ToolReplies`, None without."""
        tools = None
        if ends_with_grammar is not None:
            reader = partial(RemoteReader, self._ask_reader)
            tools = ToolReplies(reader, ends_with_grammar=ends_with_grammar)
        return self._loaded.generate(*arguments, tools=tools, **options)

    def candidates(self, *arguments: Any, **options: Any) -> Iterator[object]:
        """As `Engine.candidates`."""
        return self._loaded.candidates(*arguments, stopped=self._ended, **options)

    def score_labels(self, *arguments: Any, **options: Any) -> Iterator[object]:
        """As `Engine.score_labels`."""
        return self._loaded.score_labels(*arguments, **options)

    def map(self, tasks: Sequence[BatchTask], options: BatchOptions) -> Iterator[object]:
        """As `Engine.map`."""
        return self._loaded.map(tasks, options)

    @property
    def _loaded(self) -> Engine:
        assert self._engine is not None  # noqa: S101  the parent loads first
        return self._engine


def main(descriptor: int, *, is_protected: bool = False) -> None:
    """Serve the connection on ``descriptor``; does not return."""
    if is_protected:
        from tchat.encryption.hardening import protect_process

        protect_process()
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is foreseen here
    on_large_stack(EngineChild(Connection(descriptor)).run)


if __name__ == "__main__":
    main(int(sys.argv[1]), is_protected=sys.argv[2:] == [PROTECTED])
