"""Loading a model beside other work: llama.cpp needs a core for it, and not the GIL."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from tchat.engine.adapters import Adapters
from tchat.engine.binding import backend
from tchat.engine.cancel import Cancel
from tchat.engine.context import Context, context_size
from tchat.engine.model import Model
from tchat.engine.options import EngineOptions

PATIENCE = 0.02  # seconds between two looks at the cancel flag
FIRST_ROOM = 512  # tokens of KV cache to begin with, on the CPU: each 1,000 take 12 ms to clear

T = TypeVar("T", Model, Context)


class _Result(Generic[T]):
    """What a thread will have made, or why it could not."""

    def __init__(self) -> None:
        self.made: list[T] = []
        self._there = threading.Event()
        self._error: BaseException | None = None

    def make(self, work: Callable[[], T]) -> None:
        try:
            self.made.append(work())
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            self._error = error
        self._there.set()

    def is_there(self, cancel: Cancel) -> bool:
        """Wait for the outcome; False when the user stopped that before."""
        while not self._there.wait(PATIENCE):
            if cancel.is_set():
                return False
        return True

    def wait(self) -> T:
        self._there.wait()
        if self._error is not None:
            raise self._error
        return self.made[0]


class BackgroundLoad:
    """A model and its context in the making, on a thread of their own.

    The model is there before its context, so that what needs only the vocabulary can go on.

    Attributes:
        started: When it began, on the clock of `time.perf_counter`.
    """

    def __init__(self, options: EngineOptions, cancel: Cancel) -> None:
        self.started = time.perf_counter()
        self._options = options
        self._cancel = cancel
        self._model: _Result[Model] = _Result()
        self._context: _Result[Context] = _Result()
        self._thread = threading.Thread(target=self._open, name="loader", daemon=True)
        # While it loads, llama.cpp calls back into Python, which must not have ended.
        atexit.register(self._stop)
        self._thread.start()

    def model_is_there(self) -> bool:
        """Wait until `model` answers at once; False when the user stopped that before.

        llama.cpp sees the flag between tensors only: reading the vocabulary takes half a second.
        """
        return self._model.is_there(self._cancel)

    def context_is_there(self) -> bool:
        """As `model_is_there`, for `context`."""
        return self._context.is_there(self._cancel)

    def model(self) -> Model:
        """Wait for the model.

        Raises:
            ModelError: It cannot be loaded.
            InterruptedError: The cancel flag was set.
        """
        return self._model.wait()

    def context(self) -> Context:
        """Wait for the context; the model is freed when there is none.

        Raises:
            ModelError, DoesNotFit, InterruptedError: As of `model`, or there is no memory for it.
        """
        model = self.model()
        try:
            return self._context.wait()
        except BaseException:
            model.close()
            raise

    def abandon(self) -> None:
        """Wait for the end, and free what was made."""
        self._thread.join()
        for context in self._context.made:
            context.close()
        for model in self._model.made:
            model.close()

    def _stop(self) -> None:
        self._cancel.set()
        self._thread.join()

    def _open(self) -> None:
        self._model.make(self._open_model)
        self._context.make(self._open_context)
        atexit.unregister(self._stop)

    def _open_model(self) -> Model:
        options = self._options
        return Model(
            options.path,
            gpu_layers=options.gpu_layers,
            tensor_split=options.tensor_split,
            mmap=options.mmap,
            mlock=options.mlock,
            cancel=self._cancel,
        )

    def _open_context(self) -> Context:
        model, options = self._model.wait(), self._options
        size = context_size(options.ctx_size, model.shape.n_ctx_train)
        adapters = Adapters(model, options.loras, options.control or None)
        # A GPU clears its memory in no time, and growing would need twice as much of it.
        on_gpu = options.gpu_layers and backend().lib.llama_supports_gpu_offload()
        return Context(
            model,
            size=size,
            room=size if on_gpu else FIRST_ROOM,
            batch=min(options.batch_size, size),
            threads=options.threads,
            cancel=self._cancel,
            kv_type=options.kv_type,
            flash_attn=options.flash_attn,
            swa_full=options.swa_full,
            adapt=adapters.apply,
        )
