"""One ``llama_context``: the KV cache of a model, and decoding into it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tchat.engine.binding import Cancel, backend
from tchat.engine.model import Model
from tchat.engine.threads import AdaptiveThreads, default_threads
from tchat.errors import DoesNotFit, ModelInvalid, TchatError, UsageError
from tchat.translation import N_, tr

if TYPE_CHECKING:
    import numpy

    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]
    Row = numpy.ndarray[Any, numpy.dtype[numpy.float64]]

CTX_STEP = 256  # llama.cpp's padding of the KV cache; other sizes break
DEFAULT_CTX = 8192
KV_TYPES = MappingProxyType({"f16": 1, "q8_0": 8, "q4_0": 2})  # enum ggml_type
FLASH_ATTN = MappingProxyType({"auto": -1, "off": 0, "on": 1})  # enum llama_flash_attn_type
MAX_OUTPUTS = 64  # rows of logits with buffers from the start; at least one a sequence
# Sequences: 0 holds the chat.
SCRATCH = 1  # a part of sequence 0 passes through it, into a buffer and back
DRAFT_SEQUENCE = 2  # the part of a draft that is prefilled before it is sent
FIRST_PARALLEL = 3  # from here on, replies decoded in one batch

Span = tuple[int, int]  # positions: the first is included, the second is not


@dataclass(frozen=True, slots=True)
class BatchToken:
    """A token of a batch: where it goes, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int = 0
    logits: bool = False


def context_size(requested: int, trained: int) -> int:
    """Tokens of context to ask for, a multiple of 256.

    Args:
        requested: What the user asks for; 0 for the training length up to 8192.
        trained: The training length, which is the ceiling; 0 where it is unknown.
    """
    ceiling = trained if trained > 0 else DEFAULT_CTX
    size = min(requested or DEFAULT_CTX, ceiling)
    return -(-size // CTX_STEP) * CTX_STEP


def can_grow(size: int, trained: int) -> bool:
    """Whether a model trained for ``trained`` tokens can have more context than ``size``."""
    return size < context_size(sys.maxsize, trained)


class Context:
    """A KV cache of up to ``size`` tokens, and decoding into it. Close it before its model.

    llama.cpp clears a new KV cache: 12 ms and 23 MB for every 1,000 tokens of the starter model. So
    the cache begins with ``capacity`` tokens and grows with the chat. Not thread-safe.

    Args:
        model: Whose weights it decodes with.
        size: Tokens that it can hold in the end.
        batch: Tokens decoded at once.
        threads: For every decode; 0 adapts to idle cores, see `AdaptiveThreads`.
        cancel: Stops a decode.
        capacity: Tokens that it can hold at first; 0 for ``size``.
        kv_type: One of `KV_TYPES`.
        flash_attn: One of `FLASH_ATTN`.
        swa_full: Keep the whole context in sliding-window layers too; then `truncate` always works.
        adapt: Sets the adapters of each ``llama_context *`` that is made.
        set_params: Changes the ``llama_context_params`` of each.

    Attributes:
        decodes: Calls of llama.cpp's decode so far; another thread sees by it that work goes on.

    Raises:
        DoesNotFit: There is not enough memory for the KV cache.
        UsageError: The model cannot have a KV cache of this type.
    """

    def __init__(
        self,
        model: Model,
        *,
        size: int,
        batch: int,
        threads: int,
        cancel: Cancel,
        capacity: int = 0,
        kv_type: str = "f16",
        flash_attn: str = "auto",
        swa_full: bool = True,
        adapt: Callable[[Any], None] | None = None,
        set_params: Callable[[Any], None] | None = None,
    ) -> None:
        self._lib, self._log = backend().lib, backend().log
        self._model = model  # keeps the weights alive
        self._cancel = cancel
        self._abort = cancel.callback(self._lib.ggml_abort_callback)
        self._adaptive = AdaptiveThreads(threads or default_threads(), pinned=threads > 0)
        self._kv_type = kv_type
        self._flash_attn = flash_attn
        self._swa_full = swa_full
        self._adapts = [adapt, None]  # what it was made with, and what was set later
        self._set_params = set_params
        self.size = size
        self.batch_size = batch
        self.decodes = 0
        self._handle: Any = None
        self._memory: Any = None
        self._capacity = min(capacity or size, size)
        self._sequences = SCRATCH + 1
        self._fixed_threads = 0  # 0 to adapt
        self._hidden_states_enabled = False
        self._batches: list[Any] = []
        self._closed = False
        self._open(self._capacity, self._sequences)
        self._batch, self._single = self._new_batch(batch), self._new_batch(1)
        single = self._single
        single.n_tokens = single.n_seq_id[0] = single.logits[0] = 1
        single.seq_id[0][0] = 0
        # Looked up once: ctypes makes new pointer objects at each access.
        self._next_token, self._next_position = single.token, single.pos

    def _new_batch(self, size: int) -> Any:
        """A ``llama_batch`` of up to ``size`` tokens, freed by `close`."""
        batch = self._lib.llama_batch_init(size, 0, 1)
        if not (batch.token and batch.seq_id):
            self.close()
            raise DoesNotFit(
                tr("there is no memory for a batch of {size:,} tokens", size=size),
                tr("free some memory, or ask for a smaller batch_size"),
            )
        self._batches.append(batch)
        return batch

    def _new_handle(self, capacity: int, sequences: int) -> Any:
        """A new ``llama_context *`` for ``capacity`` tokens of ``sequences`` sequences."""
        params = self._lib.llama_context_default_params()
        params.n_ctx = capacity
        params.n_batch = params.n_ubatch = self.batch_size
        self._threads = self._adaptive.maximum
        params.n_threads = params.n_threads_batch = self._threads
        params.n_seq_max, params.kv_unified = sequences, True
        params.type_k = params.type_v = KV_TYPES[self._kv_type]
        params.flash_attn_type = FLASH_ATTN[self._flash_attn]
        params.swa_full = self._swa_full
        params.n_outputs_max = max(MAX_OUTPUTS, sequences)
        params.embeddings = self._hidden_states_enabled
        params.no_perf = True
        params.abort_callback = self._abort
        params.abort_callback_data = self._cancel.address
        if self._set_params is not None:
            self._set_params(params)
        handle = backend().make_quietly(
            lambda: self._lib.llama_init_from_model(self._model.handle, params), self._cancel
        )
        if not handle:
            raise self._refusal(capacity, backend().log.reason())
        try:
            for adapt in filter(None, self._adapts):
                adapt(handle)
        except BaseException:
            self._lib.llama_free(handle)
            raise
        return handle

    def _refusal(self, capacity: int, reason: str) -> TchatError:
        """Why llama.cpp made no context: it lacks memory, or kernels for the KV cache's type."""
        if self._kv_type != "f16" and "cache" in reason and "allocate" not in reason:
            return UsageError(
                tr(
                    "this model cannot have a KV cache of type {kv_type}: {reason}",
                    kv_type=self._kv_type,
                    reason=reason,
                ),
                tr("leave cache_type at f16"),
            )
        return DoesNotFit(
            tr(
                "no context of {capacity:,} tokens can be made: {reason}",
                capacity=capacity,
                reason=reason,
            ),
            tr("ask for a smaller one with --ctx-size"),
        )

    def reserve(self, count: int, *, all_sequences: bool = False) -> bool:
        """Have capacity for ``count`` tokens, up to ``size``; False when the cache was lost.

        Keeps sequence 0, or ``all_sequences``.

        Raises:
            DoesNotFit: There is not enough memory. The cache may be lost: see `cached_tokens`.
        """
        if self._handle is not None and (count <= self._capacity or self._capacity == self.size):
            return True
        capacity = max(self._capacity, CTX_STEP)
        while capacity < min(count, self.size):
            capacity = min(2 * capacity, self.size)
        return self._resize(capacity, self._sequences, all_sequences=all_sequences)

    def set_parallel(self, count: int) -> bool:
        """Have sequences for ``count`` parallel replies; False when the cache was lost.

        With them, or for 0 alone, comes `DRAFT_SEQUENCE`. Until it is called there are none: those
        of a recurrent model take memory.

        Raises:
            DoesNotFit: There is not enough memory. The cache may be lost: see `cached_tokens`.
        """
        sequences = FIRST_PARALLEL + count
        if self._handle is not None and sequences <= self._sequences:
            return True
        return self._resize(self._capacity, max(sequences, self._sequences))

    @property
    def capacity(self) -> int:
        """Tokens that it can hold now; 0 while there is no context."""
        return self._capacity if self._handle is not None else 0

    @property
    def cached_tokens(self) -> int:
        """Tokens in sequence 0."""
        if self._handle is None:
            return 0
        return int(self._lib.llama_memory_seq_pos_max(self._memory, 0)) + 1

    def _resize(self, capacity: int, sequences: int, *, all_sequences: bool = False) -> bool:
        """Move to a cache of ``capacity`` tokens; False when the content was lost.

        The old one is freed first, since both together would take half as much memory again. Where
        llama.cpp refuses the new one, the old one is made again; where it refuses that too, there
        is no context until a later `reserve` or `set_parallel` makes one.
        """
        if self._handle is None:
            self._open(capacity, sequences)
            return False
        if all_sequences:
            return self._resize_all(capacity, sequences)
        state = bytearray()
        length = self.save_state(None, state)
        self._free()
        before = self._capacity, self._sequences
        try:
            self._open(capacity, sequences)
        except TchatError:
            with suppress(TchatError):  # the first error is reported
                self._open(*before)
                self.load_state(None, state, length)
            raise
        return self.load_state(None, state, length)

    def _resize_all(self, capacity: int, sequences: int) -> bool:
        """`_resize` with every sequence, which takes the state of the whole context."""
        size = self._lib.llama_state_get_size(self._handle)
        data = (ctypes.c_uint8 * size)()
        length = size and self._lib.llama_state_get_data(self._handle, data, size)
        old = self._handle
        self._open(capacity, sequences)  # where it raises, the old one is still there
        self._lib.llama_free(old)
        return bool(length and self._lib.llama_state_set_data(self._handle, data, length))

    def _open(self, capacity: int, sequences: int) -> None:
        """Make an empty cache of ``capacity`` tokens of ``sequences`` sequences."""
        if self._closed:
            raise ValueError("the context is closed")
        handle = self._new_handle(capacity, sequences)
        memory = self._lib.llama_get_memory(handle)
        if not memory:
            self._lib.llama_free(handle)
            raise ModelInvalid(
                tr("this model keeps no KV cache"), tr("choose a model that can chat")
            )
        self._handle, self._memory = handle, memory
        self._capacity, self._sequences = capacity, sequences

    def _free(self) -> None:
        if self._handle is not None:
            self._lib.llama_free(self._handle)
            self._handle = self._memory = None

    def adapt(self, apply: Callable[[Any], None]) -> None:
        """Set more adapters, now and whenever the cache grows; the cache is stale then: `clear`.

        Where llama.cpp refuses them, there is no context until `reserve` makes one with them.
        """
        self._adapts[1] = apply
        if self._handle is None:
            return
        try:
            apply(self._handle)
        except BaseException:
            self._free()
            raise

    def enable_hidden_states(self, enabled: bool) -> None:
        """Compute hidden states from the next decode on, or stop; each token has logits then."""
        self._hidden_states_enabled = enabled
        if self._handle is not None:
            self._lib.llama_set_embeddings(self._handle, enabled)

    def close(self) -> None:
        """Free the KV cache. Closing twice is harmless."""
        self._closed = True
        while self._batches:
            self._lib.llama_batch_free(self._batches.pop())
        self._free()

    @property
    def handle(self) -> Any:
        """``llama_context *``.

        Raises:
            DoesNotFit: There is none, see `reserve`.
        """
        if self._handle is None:
            raise DoesNotFit(
                tr("there is no context any more: llama.cpp could not make a larger one"),
                tr("free some memory and try again"),
            )
        return self._handle

    def threads(self, tokens: int) -> int:
        """Threads that a decode of ``tokens`` tokens takes now."""
        return self._adaptive.threads(tokens)

    @contextmanager
    def fixed_threads(self) -> Iterator[None]:
        """Use the same number of threads for all decodes in the block, so that they round alike."""
        self._fixed_threads = self._threads
        try:
            yield
        finally:
            self._fixed_threads = 0

    def decode(self, tokens: Sequence[BatchToken]) -> bool:
        """Decode up to ``batch_size`` tokens; False when the cancel flag stopped it.

        Call `reserve` first. After a stop the cache may hold a part of the batch: truncate or clear
        it before the next call.

        Raises:
            DoesNotFit: The KV cache is full.
            TchatError: llama.cpp failed.
        """
        if len(tokens) > self.batch_size:  # llama.cpp's arrays end there
            raise ValueError(f"{len(tokens)} tokens for a batch of {self.batch_size}")
        handle, batch = self.handle, self._batch
        batch.n_tokens = len(tokens)
        token, position, count = batch.token, batch.pos, batch.n_seq_id
        sequence, logits = batch.seq_id, batch.logits
        for index, each in enumerate(tokens):
            token[index] = each.token
            position[index] = each.position
            count[index] = 1
            sequence[index][0] = each.sequence
            logits[index] = each.logits
        return self._run(handle, batch, len(tokens))

    def step(self, token: int, position: int) -> bool:
        """`decode` of one token of sequence 0, with logits: the hot path of a reply."""
        handle = self.handle
        self._next_token[0], self._next_position[0] = token, position
        return self._run(handle, self._single, 1)

    def _run(self, handle: Any, batch: Any, tokens: int) -> bool:
        threads = self._fixed_threads or self._adaptive.threads(tokens)
        if threads != self._threads:
            self._threads = threads
            self._lib.llama_set_n_threads(handle, threads, threads)
        self._log.clear()
        started = time.perf_counter()
        status = self._lib.llama_decode(handle, batch)
        self.decodes += 1
        if status == 0:
            if not self._fixed_threads:
                self._adaptive.record(tokens, time.perf_counter() - started)
            return True
        if self._cancel.is_set():
            return False
        if status == 1:
            raise DoesNotFit(
                tr("the context of {size:,} tokens is full", size=self.size),
                tr("start a new session or ask for a larger one with --ctx-size")
                if can_grow(self.size, self._model.shape.n_ctx_train)
                else tr("start a new session, or use a model with a longer context"),
            )
        raise TchatError(
            tr(
                "llama.cpp failed while decoding ({status}): {reason}",
                status=status,
                reason=self._log.reason(),
            ),
            tr("try again; if it persists, the model file may be damaged"),
        )

    def truncate(self, keep: int, sequence: int = 0) -> bool:
        """Cut a sequence down to its first ``keep`` tokens; False when its model cannot.

        After False the sequence has no usable state: `clear` it.
        """
        if self._handle is None:
            return keep == 0
        if not self._lib.llama_memory_seq_rm(self._memory, sequence, keep, -1):
            return False
        first = self._lib.llama_memory_seq_pos_min(self._memory, sequence)
        last = self._lib.llama_memory_seq_pos_max(self._memory, sequence)
        window = self._model.shape.n_swa
        oldest_needed = max(0, keep - window) if window else 0
        return keep == 0 or (last == keep - 1 and first <= oldest_needed)

    @property
    def state_size(self) -> int:
        """Bytes that `save_state` needs for the whole of sequence 0."""
        if self._handle is None:
            return 0
        return int(self._lib.llama_state_seq_get_size(self._handle, 0))

    def save_state(self, span: Span | None, buffer: bytearray) -> int:
        """Write the state of sequence 0 into ``buffer``, which grows; returns its length in bytes.

        0 where it cannot be saved. ``span`` selects a part, of a model whose state is divisible.
        """
        if self._handle is None:
            return 0
        sequence = 0
        if span is not None:
            sequence = SCRATCH
            self._lib.llama_memory_seq_cp(self._memory, 0, SCRATCH, *span)
        try:
            size = self._lib.llama_state_seq_get_size(self._handle, sequence)
            if not size:
                return 0
            if len(buffer) < size:
                buffer.extend(bytes(size - len(buffer)))
            data = (ctypes.c_uint8 * size).from_buffer(buffer)
            return int(self._lib.llama_state_seq_get_data(self._handle, data, size, sequence))
        except MemoryError:
            return 0
        finally:
            if span is not None:
                self.forget(SCRATCH)

    def load_state(self, span: Span | None, buffer: bytearray, size: int) -> bool:
        """Load what `save_state` wrote: append the part ``span``, or replace sequence 0.

        Call `reserve` first. Tokens of a longer part outside ``span`` are left out. llama.cpp
        trusts the buffer: give it only what `save_state` of the same model, build and parameters
        wrote. Returns whether llama.cpp took it; if not, nothing was added.
        """
        if self._handle is None or not size:
            return False
        sequence = 0 if span is None else SCRATCH
        data = (ctypes.c_uint8 * size).from_buffer(buffer)
        done = bool(self._lib.llama_state_seq_set_data(self._handle, data, size, sequence))
        if span is not None:
            if done:
                self._lib.llama_memory_seq_cp(self._memory, SCRATCH, 0, *span)
            self._lib.llama_memory_seq_rm(self._memory, SCRATCH, -1, -1)
        return done

    def copy(self, source: int, target: int, keep: int = -1) -> None:
        """Make sequence ``target`` share the cells of ``source``; its own are freed first.

        Args:
            source: What is shared.
            target: Who gets it.
            keep: How many tokens, of a model whose state is divisible; -1 for all.
        """
        self.forget(target)
        if self._handle is not None:
            self._lib.llama_memory_seq_cp(self._memory, source, target, -1, keep)

    def forget(self, sequence: int) -> None:
        """Free the cells that only ``sequence`` holds."""
        if self._handle is not None and sequence < self._sequences:
            self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Forget every sequence."""
        if self._handle is not None:
            # A recurrent state starts as the old one times zero, and NaN stays NaN.
            self._lib.llama_memory_clear(self._memory, self._model.shape.recurrent)

    def logits(self, index: int = -1) -> Any:
        """``float *``: the ``n_vocab`` logits of the last batch's ``index``-th output row."""
        return _require(self._lib.llama_get_logits_ith(self.handle, index), "logits")

    def logits_array(self, index: int = -1) -> Floats:
        """`logits` as an array, shape (n_vocab,), valid until the next decode."""
        import numpy

        return numpy.ctypeslib.as_array(self.logits(index), shape=(self._model.shape.n_vocab,))

    def log_probabilities(self, index: int = -1) -> Row:
        """The ``index``-th output row as natural log-probabilities, shape (n_vocab,)."""
        import numpy

        row = self.logits_array(index).astype(numpy.float64)
        row -= row.max()
        result: Row = row - numpy.log(numpy.exp(row).sum())
        return result

    def log_probability(self, index: int, token: int) -> float:
        """The natural log-probability of one token by the ``index``-th output row."""
        import numpy

        logits = self.logits_array(index)
        shifted = logits - logits.max()
        own = shifted[token]
        return float(own - numpy.log(numpy.exp(shifted, out=shifted).sum()))

    def hidden_state(self, index: int) -> Floats:
        """The final hidden state of the last batch's ``index``-th token, until the next decode.

        Shape (n_embd,). Only with `enable_hidden_states`, or where ``set_params`` set
        ``embeddings``.
        """
        import numpy

        pointer = self._lib.llama_get_embeddings_ith(self.handle, index)
        shape = (self._model.shape.n_embd,)
        return numpy.ctypeslib.as_array(_require(pointer, N_("hidden states")), shape=shape)


def _require(pointer: Any, what: str) -> Any:
    if not pointer:
        raise TchatError(
            tr(
                "llama.cpp gives no {what} of the last decode: {reason}",
                what=tr(what),
                reason=backend().log.reason(),
            ),
            tr("try again; if it persists, the model file may be damaged"),
        )
    return pointer
