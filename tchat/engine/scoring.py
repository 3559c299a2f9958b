"""What a model says of a reply: scores of labels, and hidden states.

The hidden states of middle layers come through llama.cpp's evaluation callback (``cb_eval`` of
``llama_context_params``), which calls Python some 600 times a decode: fine for scoring a reply, too
slow for writing one. So `HiddenStateReader` has a context of its own beside the one that chats. The
final state comes along with the logits; `FinalStates` collects it while a reply is written.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tchat.engine.binding import Cancel, backend, ggml_function
from tchat.engine.context import BatchToken, Context
from tchat.engine.events import HiddenStates
from tchat.engine.kv_cache import KVCache, common_prefix
from tchat.engine.model import Model
from tchat.errors import DoesNotFit, ModelInvalid
from tchat.translation import tr

if TYPE_CHECKING:
    import numpy

    Row = numpy.ndarray[Any, numpy.dtype[numpy.float64]]
    Floats = numpy.ndarray[Any, numpy.dtype[numpy.float32]]


class LabelScorer:
    """Scores labels as the reply to a prompt, output row by output row.

    A label's score is the product of its tokens' probabilities under the unmodified distribution
    (no temperature, no truncation); the scores are normalized to sum to 1. Where one label is a
    prefix of another, each is scored with the end of the reply after it, since the shorter could
    never lose otherwise.

    Args:
        model: Tokenizes the labels.
        labels: At least one; no duplicates.
    """

    def __init__(self, model: Model, labels: Sequence[str]) -> None:
        self._model, self._labels = model, labels
        self._tokens = [tuple(model.tokenize(label, special=False)) for label in labels]
        ordered = sorted(self._tokens)
        self._ended = any(a != b and b[: len(a)] == a for a, b in pairwise(ordered))
        self._scores = [0.0] * len(labels)
        # Labels share prefixes: a row serves all labels that continue the prefix before it.
        self._by_prefix: dict[tuple[int, ...], list[int]] = {}
        for index, tokens in enumerate(self._tokens):
            for count in range(len(tokens) + self._ended or 1):
                self._by_prefix.setdefault(tokens[:count], []).append(index)
        starts = sorted(self._by_prefix)
        ends = (
            start
            for start, following in zip(starts, [*starts[1:], ()], strict=True)
            if following[: len(start)] != start
        )
        self._runs = deque(start for start in ends if start)
        self._rows_taken = -1  # rows of this run so far; at first, the row after the prompt is due

    @property
    def longest(self) -> int:
        """Tokens of the longest label."""
        return max(map(len, self._tokens))

    @property
    def done(self) -> bool:
        """Whether every label is scored."""
        return self._rows_taken >= 0 and not self._runs

    @property
    def next_tokens(self) -> tuple[int, ...]:
        """The tokens to decode next, behind the prompt; `add_row` the row after each."""
        return self._runs[0] if self._runs else ()

    @property
    def is_known(self) -> bool:
        """Whether the row after the next token of `next_tokens` was taken before."""
        return self.next_tokens[: self._rows_taken + 1] not in self._by_prefix

    def add_row(self, row: Row | None) -> None:
        """Take the row after the prompt, and then those after each token of `next_tokens`.

        None stands for a row that `is_known`.
        """
        self._rows_taken += 1
        start = self.next_tokens[: self._rows_taken]
        for index in self._by_prefix.pop(start, ()):
            if row is not None:
                tokens = self._tokens[index]
                ends = len(start) == len(tokens)
                self._scores[index] += (
                    _end(self._model, row) if ends else float(row[tokens[len(start)]])
                )
        if self._runs and self._rows_taken == len(self.next_tokens):
            self._runs.popleft()
            self._rows_taken = 0

    @property
    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """Each label with its probability, the likeliest first; only when `done`."""
        import numpy

        weights = numpy.exp(numpy.array(self._scores) - max(self._scores))
        shares = weights / weights.sum()
        ranked = sorted(zip(self._labels, shares.tolist(), strict=True), key=lambda pair: -pair[1])
        return tuple(ranked)


def score_labels(
    model: Model, context: Context, kv: KVCache, labels: Sequence[str]
) -> tuple[tuple[str, float], ...] | None:
    """Each label with its probability as the reply to the prompt in the cache, likeliest first.

    ``context`` has just decoded the prompt, with the logits of its last token; ``kv`` holds the
    prompt, and afterwards a part of a label too. None when the cancel flag was set meanwhile.
    """
    prompt, scorer = list(kv.tokens), LabelScorer(model, labels)
    scorer.add_row(context.log_probabilities())
    while not scorer.done:
        tokens = scorer.next_tokens
        for count in range(1, len(tokens) + 1):
            if scorer.is_known:
                scorer.add_row(None)
                continue
            whole = [*prompt, *tokens[:count]]
            if not all(kv.prefill(whole[kv.reuse(whole) :])):
                return None
            scorer.add_row(context.log_probabilities())
    return scorer.probabilities


def _end(model: Model, row: Row) -> float:
    """Log-probability that the reply ends here."""
    import numpy

    return float(numpy.logaddexp.reduce(row[list(model.end_tokens)]))


BATCH = 128  # tokens at once; each takes a row of logits, 4 bytes for each token of the vocabulary
_NAME = "l_out-"  # llama.cpp's name of a block's output, with its control vector added


@dataclass(frozen=True, slots=True)
class LayerStates:
    """The hidden states of one reply by layer, and its log-probability.

    Args:
        states: Layer to its hidden state averaged over the reply's tokens, shape (n_embd,). Layer
            N from 1 on is the output of block N, counted from 0, as in a control vector; the one
            after the last is the state behind the final norm, which comes with the logits.
        log_probability: Mean log-probability (natural) of the reply's tokens.
        tokens: Tokens of the reply.
    """

    states: Mapping[int, Floats]
    log_probability: float
    tokens: int


class HiddenStateReader:
    """Reads the hidden states of replies. Not thread-safe; close it before its model.

    Args:
        model: The model.
        layers: Which, from 1 to ``n_layer - 1``; the final state always comes.
        size: Tokens of the longest prompt with its reply.
        threads: As of `Context`.
        cancel: Stops a decode.
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
        self.size = size
        self._model = model
        self._hook = _LayerHook(layers, model.shape.n_embd) if layers else None
        self._context = Context(
            model,
            size=size,
            batch=min(BATCH, size),
            threads=threads,
            cancel=cancel,
            set_params=self._set_params,
        )
        self._cached: list[int] = []

    def _set_params(self, params: Any) -> None:
        params.embeddings = True
        params.n_outputs_max = params.n_batch
        params.pooling_type = 0  # LLAMA_POOLING_TYPE_NONE: a state for each token
        if self._hook is not None:
            params.cb_eval = self._hook.callback

    def close(self) -> None:
        """Free the context. Closing twice is harmless."""
        self._context.close()

    def read(self, prompt: Sequence[int], reply: Sequence[int]) -> LayerStates | None:
        """The states of ``reply`` behind ``prompt``; None when the cancel flag was set meanwhile.

        Both are tokens, neither empty. The prefix shared with the last call is not decoded again.

        Raises:
            DoesNotFit: They exceed the context.
            ModelInvalid: The states are no finite numbers, or llama.cpp has none of a layer.
        """
        import numpy

        tokens = [*prompt, *reply]
        if len(tokens) > self._context.size:
            raise DoesNotFit(
                tr(
                    "a reply with its prompt of {tokens:,} tokens exceeds the {size:,} that are "
                    "read at once",
                    tokens=len(tokens),
                    size=self._context.size,
                ),
                tr("leave it out, or shorten it"),
            )
        first = len(prompt) - 1  # its logits belong to the reply's first token
        start = self._reuse(tokens, first)
        self._cached = tokens[:start]
        sums: dict[int, Floats] = {}
        total = 0.0
        for begin in range(start, len(tokens), self._context.batch_size):
            end = min(begin + self._context.batch_size, len(tokens))
            batch = [BatchToken(tokens[at], at, logits=at >= first) for at in range(begin, end)]
            if not self._context.decode(batch):
                return None  # the next call cuts off what this one left
            self._cached = tokens[:end]
            rows = range(max(first, begin), min(end, len(tokens) - 1))
            total += sum(self._context.log_probability(at - begin, tokens[at + 1]) for at in rows)
            self._add(sums, begin, end, first + 1)
        count = len(reply)
        states = {layer: (state / count).astype(numpy.float32) for layer, state in sums.items()}
        _require_finite(total, states)
        return LayerStates(states, total / count, count)

    def _reuse(self, tokens: Sequence[int], most: int) -> int:
        """Cut the cache down to what it shares with ``tokens``, at most ``most`` tokens."""
        shared = min(common_prefix(self._cached, tokens), most)
        if not self._context.truncate(shared):
            self._context.clear()
            return 0
        return shared

    def _add(self, sums: dict[int, Floats], begin: int, end: int, reply: int) -> None:
        """Add the states of the reply's tokens among the tokens ``begin`` to ``end``."""
        import numpy

        inside = range(max(reply, begin), end)
        if not inside:
            return
        last = [self._context.hidden_state(at - begin) for at in inside]
        found = {self._model.shape.n_layer: numpy.sum(last, axis=0)}
        if self._hook is not None:
            for layer in self._hook.layers:
                found[layer] = self._hook.rows_of(layer)[inside.start - begin :].sum(axis=0)
        for layer, state in found.items():
            sums[layer] = sums[layer] + state if layer in sums else state


def _require_finite(total: float, states: Mapping[int, Floats]) -> None:
    import numpy

    if not numpy.isfinite(numpy.concatenate([[total], *states.values()])).all():
        raise ModelInvalid(
            tr("the hidden states of this model are no finite numbers"),
            tr("its file may be damaged: tchat models check"),
        )


class _LayerHook:
    """The evaluation callback: copies the outputs of some layers in each decode."""

    def __init__(self, layers: Sequence[int], n_embd: int) -> None:
        self.layers = layers
        self._rows: dict[int, Floats] = {}
        self._wanted = {f"{_NAME}{layer}".encode(): layer for layer in layers}
        self._n_embd = n_embd
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._name_of = ggml_function("ggml_get_name", ctypes.c_char_p, pointer)
        self._size_of = ggml_function("ggml_nbytes", size, pointer)
        self._read = ggml_function("ggml_backend_tensor_get", None, pointer, pointer, size, size)
        self.callback = backend().lib.ggml_backend_sched_eval_callback(self._evaluate)

    def rows_of(self, layer: int) -> Floats:
        """The states of a layer, shape (tokens of the batch, width)."""
        rows = self._rows.get(layer)
        if rows is None:
            raise ModelInvalid(
                tr("llama.cpp has no hidden states of layer {layer} of this model", layer=layer),
                tr("choose a model of another architecture"),
            )
        return rows

    def _evaluate(self, tensor: int, ask: bool, _: object) -> bool:
        layer = self._wanted.get(self._name_of(tensor))
        if ask or layer is None:
            return layer is not None or not ask
        import numpy

        size = self._size_of(tensor)
        rows = numpy.empty((size // 4 // self._n_embd, self._n_embd), dtype=numpy.float32)
        self._read(tensor, rows.ctypes.data_as(ctypes.c_void_p), 0, size)
        self._rows[layer] = rows
        return True


class FinalStates:
    """Collects the final states of an answer's tokens, which come with the logits."""

    def __init__(self) -> None:
        self._sum: Floats | None = None
        self._count = 0
        self._tokens: list[int] = []

    def add(self, context: Context, row: int) -> None:
        """Add the state of the answer's last token, from the ``row``-th row of the last decode."""
        state = context.hidden_state(row)
        self._sum = state.copy() if self._sum is None else self._sum + state
        self._count += 1

    def add_token(self, token: int) -> None:
        """Add a token of the answer; its state comes when it is decoded."""
        self._tokens.append(token)

    @property
    def mean(self) -> HiddenStates | None:
        """The mean state; None while no token was decoded."""
        import numpy

        if self._sum is None:
            return None
        mean = (self._sum / self._count).astype(numpy.float32)
        return HiddenStates(mean, tuple(self._tokens))
