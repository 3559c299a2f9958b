"""Load a model: its options, the background thread, and the model with all that it needs to chat.

Loading begins before most of the program is imported, so this module imports little at the top.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from array import array
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.engine.binding import Cancel, backend, has_gpu
from tchat.engine.context import CTX_STEP, Context, context_size
from tchat.engine.engine_thread import Call
from tchat.engine.events import LoadProgress, Notice
from tchat.engine.model import Model
from tchat.errors import ModelInvalid
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.kv_cache import KVCache
    from tchat.engine.prompt.encoder import PrefixCache, PromptEncoder
    from tchat.engine.prompt.template import ChatTemplate
    from tchat.engine.prompt.tools import PromptTools
    from tchat.engine.speculative_decoding import Speculation

POLL_SECONDS = 0.02  # between two looks at the cancel flag
INITIAL_CAPACITY = 512  # tokens of KV cache at first, on the CPU: each 1,000 take 12 ms to clear


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a model is loaded.

    Args:
        path: The model file, already verified.
        template: The chat template in its header; None or empty when it has none.
        ctx_size: Context size in tokens; 0 for the model's own, up to 8192.
        threads: CPU threads; 0 adapts to idle cores.
        gpu_layers: Layers on the GPU; -1 for all.
        tensor_split: Share of the model for each GPU; empty to split by free memory.
        batch_size: Tokens prefilled in one decode; stops and progress come between two.
        kv_type: Type of the KV cache: ``f16``, ``q8_0`` or ``q4_0``.
        flash_attn: ``auto``, ``on`` or ``off``; a quantized KV cache needs it.
        swa_full: Whether layers with a sliding window keep all of the context.
        mmap: Whether the file is memory-mapped instead of read.
        mlock: Whether the weights are locked in memory.
        prompt_lookup: Whether to draft tokens from the text so far, where it pays.
        draft: A draft model, which has the same vocabulary.
        loras: LoRA adapters.
        control: Control vectors.
        rpc: Addresses of the workers that the model is split over; it runs in a child process then.
        rpc_timeout: Seconds without progress after which a worker has failed.
    """

    path: Path
    template: str | None = None
    ctx_size: int = 0
    threads: int = 0
    gpu_layers: int = -1
    tensor_split: tuple[float, ...] = ()
    batch_size: int = 512
    kv_type: str = "f16"
    flash_attn: str = "auto"
    swa_full: bool = True
    mmap: bool = True
    mlock: bool = False
    prompt_lookup: bool = True
    draft: Path | None = None
    loras: tuple[Lora, ...] = ()
    control: tuple[ControlVector, ...] = ()
    rpc: tuple[str, ...] = ()
    rpc_timeout: int = 0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its context, ready to prefill and decode.

    ``kv`` is what sequence 0 of the context holds; without ``speculation``, each decode is of one
    token; ``prefixes`` are the last prompts, so that only what is new of one is tokenized;
    ``tools`` is what prompts offer.
    """

    model: Model
    context: Context
    kv: KVCache
    template: ChatTemplate
    prefixes: PrefixCache
    speculation: Speculation | None = None
    tools: PromptTools | None = None

    def close(self) -> None:
        """Free all of it. Closing twice is harmless."""
        if self.speculation is not None:
            self.speculation.close()
        self.context.close()
        self.model.close()

    @property
    def encoder(self) -> PromptEncoder:
        """Makes prompts of chats."""
        from tchat.engine.prompt.encoder import PromptEncoder

        size = self.context.size
        return PromptEncoder(self.model, self.template, size, self.prefixes, tools=self.tools)


def load_weights(options: EngineOptions, cancel: Cancel) -> Model:
    """Load the weights, as `Model` does."""
    return Model(
        options.path,
        gpu_layers=options.gpu_layers,
        tensor_split=options.tensor_split,
        mmap=options.mmap,
        mlock=options.mlock,
        cancel=cancel,
    )


def open_context(
    options: EngineOptions,
    model: Model,
    cancel: Cancel,
    *,
    size: int,
    capacity: int,
    adapt: Callable[[Any], None] | None = None,
) -> Context:
    """Make a `Context` of ``size`` tokens."""
    return Context(
        model,
        size=size,
        capacity=capacity,
        batch=min(options.batch_size, size),
        threads=options.threads,
        cancel=cancel,
        kv_type=options.kv_type,
        flash_attn=options.flash_attn,
        swa_full=options.swa_full,
        adapt=adapt,
    )


class BackgroundLoad:
    """Loads a model and its context on a thread: llama.cpp needs a core for it, but not the GIL.

    The model is ready before its context, so work that needs only the vocabulary can begin.

    Attributes:
        started: When it began, on the clock of `time.perf_counter`.
    """

    def __init__(self, options: EngineOptions, cancel: Cancel) -> None:
        self.started = time.perf_counter()
        self._options = options
        self._cancel = cancel
        self._model = Call(lambda: load_weights(options, cancel))
        self._context = Call(self._open_context)
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        # While it loads, llama.cpp calls back into Python, which must not have ended.
        atexit.register(self._stop)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether nothing is loading any more."""
        return not self._thread.is_alive()

    def wait_for_model(self) -> bool:
        """Wait until `model` answers at once; False when the cancel flag was set before.

        llama.cpp sees the flag between tensors only: reading the vocabulary takes half a second.
        """
        return self._wait(self._model)

    def wait_for_context(self) -> bool:
        """As `wait_for_model`, for `context`."""
        return self._wait(self._context)

    def model(self) -> Model:
        """Wait for the model; raises what loading it raised."""
        return self._model.result()

    def context(self) -> Context:
        """Wait for the context; where there is none, frees the model and raises why."""
        model = self.model()
        try:
            return self._context.result()
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

    def _wait(self, call: Call[Any]) -> bool:
        while not call.wait(POLL_SECONDS):
            if self._cancel.is_set():
                return False
        return True

    def _stop(self) -> None:
        self._cancel.set()
        self._thread.join()

    def _run(self) -> None:
        self._model()
        self._context()
        atexit.unregister(self._stop)

    def _open_context(self) -> Context:
        model, options = self._model.result(), self._options
        size = context_size(options.ctx_size, model.shape.n_ctx_train)
        adapters = Adapters(model, options.loras, options.control or None)
        # A GPU clears its memory in no time, and growing would need twice as much of it.
        on_gpu = options.gpu_layers and has_gpu()
        capacity = size if on_gpu else INITIAL_CAPACITY
        return open_context(
            options, model, self._cancel, size=size, capacity=capacity, adapt=adapters.apply
        )


class ModelLoader:
    """Loads one model, unless ``background`` does; a load that was stopped can be repeated."""

    def __init__(
        self, options: EngineOptions, cancel: Cancel, background: BackgroundLoad | None
    ) -> None:
        self._options = options
        self._cancel = cancel
        self._background = background
        self._seconds = 0.0

    def close(self) -> None:
        """Stop and free a load that is running."""
        if self._background is not None:
            self._cancel.set()
            self._abandon(self._background)

    def start(self) -> BackgroundLoad:
        """Begin to load, unless it has begun."""
        self._background = self._background or BackgroundLoad(self._options, self._cancel)
        return self._background

    def load(self) -> Generator[LoadProgress, None, LoadedModel]:
        """Wait for the load; returns the model with all that goes with it.

        Raises:
            ModelError, DoesNotFit, UsageError: It cannot be loaded.
            InterruptedError: It was stopped.
        """
        yield LoadProgress(self._options.path.name, 0.0)
        _precompile_template(self._options)
        background, model = self._wait_for_model()
        try:
            template = template_of(self._options, model, self._cancel)
        except BaseException:
            self._abandon(background)
            raise
        if not background.wait_for_context():
            raise InterruptedError
        self._background = None
        context = background.context()
        self._seconds = time.perf_counter() - background.started
        return assemble(self._options, model, context, template, self._cancel)

    def pop_seconds(self) -> float:
        """Seconds that loading took, at the first call; then 0."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _wait_for_model(self) -> tuple[BackgroundLoad, Model]:
        """The running load, once its model is there.

        When the user stops the wait, the load stays in ``_background``: `close` frees it, and the
        next `load` finds it done, or begins again if the stop had reached it.
        """
        while True:
            background = self.start()
            if not background.wait_for_model():
                raise InterruptedError
            try:
                return background, background.model()
            except InterruptedError:
                self._background = None
                if self._cancel.is_set():
                    raise
            except BaseException:
                self._background = None
                raise

    def _abandon(self, background: BackgroundLoad) -> None:
        self._background = None
        background.abandon()


def _precompile_template(options: EngineOptions) -> None:
    """Compile the chat template while the model is still loading."""
    from tchat.engine.prompt import TemplateFailure
    from tchat.engine.prompt.template_adapter import compile_program

    with suppress(TemplateFailure):  # `template_of` reports it
        compile_program(options.template or "")


def assemble(
    options: EngineOptions,
    model: Model,
    context: Context,
    template: ChatTemplate,
    cancel: Cancel,
) -> LoadedModel:
    """A model and its context with all that goes with them; raises as `DraftModel` does."""
    from tchat.engine.drafters import DraftModel
    from tchat.engine.kv_cache import KVCache
    from tchat.engine.prompt.encoder import PrefixCache
    from tchat.engine.speculative_decoding import Speculation

    kv, prefixes = KVCache(context, model), PrefixCache(model)
    loaded = LoadedModel(model, context, kv, template, prefixes)
    if not _can_truncate(options, model) or not (options.prompt_lookup or options.draft):
        return loaded
    draft = None
    if options.draft is not None:
        size, threads = context.size, options.threads
        try:
            draft = DraftModel(options.draft, model, size=size, threads=threads, cancel=cancel)
        except BaseException:
            loaded.close()
            raise
    return replace(
        loaded, speculation=Speculation(context, loaded.kv, options.prompt_lookup, draft)
    )


def _can_truncate(options: EngineOptions, model: Model) -> bool:
    """Whether the KV cache can be cut back by any number of tokens."""
    return not model.shape.recurrent and (options.swa_full or not model.shape.n_swa)


def template_of(options: EngineOptions, model: Model, cancel: Cancel) -> ChatTemplate:
    """The chat template of a model; InterruptedError when ``cancel`` was set while it was tried."""
    from tchat.engine.prompt.template import ChatTemplate

    return ChatTemplate.compile(
        options.template or None,
        bos=model.bos_text,
        eos=model.eos_text,
        specials=model.special_strings() | model.user_defined_strings(),
        stopped=cancel.is_set,
    )


def context_notices(options: EngineOptions, model: Model) -> Iterator[Notice]:
    """What the user should know about the context that ``options`` ask for."""
    requested, trained = options.ctx_size, model.shape.n_ctx_train
    size = context_size(requested, trained)
    if requested > trained > 0:
        text = tr(
            "a context of {requested:,} tokens was asked for; this model was trained for "
            "{trained:,}, which is used",
            requested=requested,
            trained=trained,
        )
        yield Notice("context", text)
    elif requested and size != requested:
        text = tr(
            "a context of {requested:,} tokens was asked for; its size is a multiple of "
            "{ctx_step}, so {size:,} are used",
            requested=requested,
            ctx_step=CTX_STEP,
            size=size,
        )
        yield Notice("context", text)
    if options.draft is not None and not _can_truncate(options, model):
        yield Notice(
            "model", tr("this model's KV cache cannot be truncated, so the draft model is not used")
        )


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter file, already verified, and its scale."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class ControlVector:
    """A control vector: directions added to the hidden states after some layers, times ``scale``.

    ``directions`` are ``width`` floats by layer, from 1 on; ``width`` is the model's ``n_embd``.
    """

    path: Path
    width: int
    directions: Mapping[int, Sequence[float]]
    scale: float = 1.0


class Adapters:
    """The adapters of one model, loaded once and applied to each of its contexts.

    An empty sequence of ``vectors`` removes those of a context, None keeps them.

    Raises:
        ModelInvalid: llama.cpp refuses one, for example because it was made for another model.
    """

    def __init__(
        self, model: Model, loras: Sequence[Lora], vectors: Sequence[ControlVector] | None
    ) -> None:
        self._lib = backend().lib
        self._model = model
        self._scales = [lora.scale for lora in loras]
        self._loras = [self._loaded(lora) for lora in loras]  # they live as long as the model
        self._control = None if vectors is None else _sum_vectors(model, vectors)

    def apply(self, context: Any) -> None:
        """Apply the adapters to a ``llama_context *``; raises `ModelInvalid` as above."""
        if self._loras:
            count = len(self._loras)
            handles = (self._lib.llama_adapter_lora_p_ctypes * count)(*self._loras)
            scales = (ctypes.c_float * count)(*self._scales)
            if self._lib.llama_set_adapters_lora(context, handles, count, scales):
                raise ModelInvalid(
                    tr(
                        "llama.cpp does not take the LoRA adapters: {reason}",
                        reason=backend().log.reason(),
                    ),
                    tr("use adapters that were made for this model"),
                )
        if self._control is not None:
            self._set_control(context, self._control)

    def _loaded(self, lora: Lora) -> Any:
        backend().log.clear()
        handle = self._lib.llama_adapter_lora_init(self._model.handle, os.fsencode(lora.path))
        if not handle:
            raise ModelInvalid(
                tr(
                    "the LoRA adapter {name} does not fit this model: {reason}",
                    name=single_line(lora.path.name),
                    reason=backend().log.reason(),
                ),
                tr("use an adapter that was made for it"),
            )
        return handle

    def _set_control(self, context: Any, control: array[float]) -> None:
        shape = self._model.shape
        buffer = (ctypes.c_float * len(control)).from_buffer(control)
        status = self._lib.llama_set_adapter_cvec(
            context, buffer, len(control), shape.n_embd, 1, shape.n_layer
        )
        if status:
            raise ModelInvalid(
                tr(
                    "llama.cpp does not take the control vector: {reason}",
                    reason=backend().log.reason(),
                ),
                tr("use a vector that was made for this model"),
            )


def _sum_vectors(model: Model, vectors: Sequence[ControlVector]) -> array[float]:
    """The vectors added up, ``width`` floats for each layer from 1 on."""
    width, layers = model.shape.n_embd, model.shape.n_layer
    total = array("f", bytes(4 * width * layers))
    for vector in vectors:
        if vector.width != width:
            raise ModelInvalid(
                tr(
                    "the control vector {name} is {width} wide, this model's hidden states are "
                    "{expected}",
                    name=single_line(vector.path.name),
                    width=vector.width,
                    expected=width,
                ),
                tr("use a vector that was made for this model"),
            )
        for layer, direction in vector.directions.items():
            if 1 <= layer <= layers:
                start = (layer - 1) * width
                for index, value in enumerate(direction):
                    total[start + index] += vector.scale * value
    return total
