"""What the layers of a model make of a reply: hidden states, averaged over its tokens.

The states of middle layers come through llama.cpp's evaluation callback (``cb_eval`` of
``llama_context_params``), which calls Python some 600 times a decode: fine for reading a reply,
too dear for writing one. So this is a context of its own beside the one that chats.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tchat.engine.binding import Tensors, backend
from tchat.engine.cancel import Cancel
from tchat.engine.context import BatchToken, Context
from tchat.engine.kv_cache import common_prefix
from tchat.engine.model import Model
from tchat.errors import DoesNotFit, ModelInvalid

if TYPE_CHECKING:
    import numpy

    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]

BATCH = 128  # tokens at once; each takes a row of logits, 4 bytes for each word of the vocabulary
_NAME = "l_out-"  # llama.cpp's name of a block's output, with its control vector added


@dataclass(frozen=True, slots=True)
class LayerStates:
    """What a model made of one reply.

    Args:
        states: Layer to its hidden state averaged over the reply's tokens, shape (width,). Layer
            N from 1 on is the output of block N, counted from 0, as in a control vector; the one
            after the last is the state behind the final norm, which comes with the logits.
        log_probability: Mean natural logarithm of the probability of the reply's tokens.
        tokens: Tokens of the reply.
    """

    states: Mapping[int, Floats]
    log_probability: float
    tokens: int


class HiddenStateReader:
    """Reads replies and reports hidden states. Not thread-safe; close it before its model.

    Args:
        model: Whose layers are watched.
        layers: Which, from 1 to the number of blocks less one; the final state always comes.
        size: Tokens of the longest prompt with its reply.
        threads: For reading.
        cancel: Seen inside a decode.

    Raises:
        DoesNotFit: There is not enough memory for the context.
    """

    def __init__(
        self,
        model: Model,
        *,
        layers: Sequence[int],
        size: int,
        threads: int,
        cancel: Cancel,
    ) -> None:
        self._model = model
        self._watch = _Watch(layers, model.shape.n_embd) if layers else None
        self._context = Context(
            model,
            size=size,
            batch=min(BATCH, size),
            threads=threads,
            cancel=cancel,
            shape=self._shape,
        )
        self._held: list[int] = []

    def _shape(self, params: Any) -> None:
        params.embeddings = True
        params.n_outputs_max = params.n_batch
        params.pooling_type = 0  # LLAMA_POOLING_TYPE_NONE: a state for each token
        if self._watch is not None:
            params.cb_eval = self._watch.callback

    @property
    def size(self) -> int:
        """Tokens of a prompt with its reply that are read at the most."""
        return self._context.size

    def close(self) -> None:
        """Free the context. Closing twice is harmless."""
        self._context.close()

    def observe(self, prompt: Sequence[int], reply: Sequence[int]) -> LayerStates | None:
        """Read ``reply`` behind ``prompt``; both are tokens, neither empty.

        What the last call's prompt had in common is not read again.

        Returns:
            None when the cancel flag was set meanwhile.

        Raises:
            DoesNotFit: They exceed the context.
            ModelInvalid: The model makes no numbers of them, or does not tell of a layer.
        """
        import numpy

        tokens = [*prompt, *reply]
        if len(tokens) > self._context.size:
            raise DoesNotFit(
                f"a reply with its prompt of {len(tokens):,} tokens exceeds "
                f"the {self._context.size:,} that are read at once",
                "leave it out, or shorten it",
            )
        first = len(prompt) - 1  # its logits are those of the reply's first token
        start = self._kept(tokens, first)
        self._held = tokens[:start]
        sums: dict[int, Floats] = {}
        total = 0.0
        for begin in range(start, len(tokens), self._context.batch_size):
            end = min(begin + self._context.batch_size, len(tokens))
            slots = [BatchToken(tokens[at], at, logits=at >= first) for at in range(begin, end)]
            if not self._context.decode(slots):
                return None  # what it left in the cache is cut off before the next
            self._held = tokens[:end]
            rows = range(max(first, begin), min(end, len(tokens) - 1))
            total += sum(self._log_probability(at - begin, tokens[at + 1]) for at in rows)
            self._add(sums, begin, end, first + 1)
        count = len(reply)
        states = {layer: (state / count).astype(numpy.float32) for layer, state in sums.items()}
        _require_numbers(total, states)
        return LayerStates(states, total / count, count)

    def _kept(self, tokens: Sequence[int], most: int) -> int:
        """Cut the cache down to what it shares with ``tokens``, ``most`` tokens at the most."""
        shared = min(common_prefix(self._held, tokens), most)
        if not self._context.trim(shared):
            self._context.clear()
            return 0
        return shared

    def _add(self, sums: dict[int, Floats], begin: int, end: int, reply: int) -> None:
        """Add the states of the reply's tokens within ``begin``..``end`` of the prompt."""
        import numpy

        inside = range(max(reply, begin), end)
        if not inside:
            return
        shape = (self._model.shape.n_embd,)
        last = [
            numpy.ctypeslib.as_array(self._context.state(at - begin), shape=shape) for at in inside
        ]
        found = {self._model.shape.n_layer: numpy.sum(last, axis=0)}
        if self._watch is not None:
            for layer in self._watch.layers:
                found[layer] = self._watch.rows_of(layer)[inside.start - begin :].sum(axis=0)
        for layer, state in found.items():
            sums[layer] = sums[layer] + state if layer in sums else state

    def _log_probability(self, row: int, token: int) -> float:
        import numpy

        logits = self._context.logits(row)
        values = numpy.ctypeslib.as_array(logits, shape=(self._model.shape.n_vocab,))
        highest = values.max()
        return float(values[token] - highest - numpy.log(numpy.exp(values - highest).sum()))


def _require_numbers(total: float, states: Mapping[int, Floats]) -> None:
    import numpy

    if not numpy.isfinite(numpy.concatenate([[total], *states.values()])).all():
        raise ModelInvalid(
            "what this model makes of a reply are no numbers",
            "its file may be damaged: tchat models check",
        )


class _Watch:
    """The evaluation callback: copies the outputs of some blocks, of the last decode."""

    def __init__(self, layers: Sequence[int], width: int) -> None:
        self.layers = layers
        self._rows: dict[int, Floats] = {}
        self._wanted = {f"{_NAME}{layer}".encode(): layer for layer in layers}
        self._width = width
        self._tensors = Tensors()
        self.callback = backend().lib.ggml_backend_sched_eval_callback(self._called)

    def rows_of(self, layer: int) -> Floats:
        """The states of a layer, shape (tokens of the batch, width)."""
        rows = self._rows.get(layer)
        if rows is None:
            raise ModelInvalid(
                f"llama.cpp does not tell what layer {layer} of this model makes",
                "take a model of another architecture",
            )
        return rows

    def _called(self, tensor: int, asked: bool, _: object) -> bool:
        layer = self._wanted.get(self._tensors.name(tensor))
        if asked or layer is None:
            return layer is not None or not asked
        import numpy

        size = self._tensors.size(tensor)
        rows = numpy.empty((size // 4 // self._width, self._width), dtype=numpy.float32)
        self._tensors.get(tensor, rows.ctypes.data_as(ctypes.c_void_p), 0, size)
        self._rows[layer] = rows
        return True
