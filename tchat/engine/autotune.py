"""Autotune: find the fastest threads, batch size, flash attention and KV type by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TypeAlias

from tchat.engine.cancel import Cancel
from tchat.engine.context import Context, context_size
from tchat.engine.kv_cache import KVCache
from tchat.engine.loading import EngineOptions, open_context, open_model
from tchat.engine.model import Model
from tchat.engine.threads import default_threads
from tchat.errors import TchatError

TEXT = "The keeper of the lighthouse counts the ships and writes them down in a long list. "
SECONDS = 1.2  # of one run; half of it is prefill
MAX_PREFILL, MAX_DECODE = 1024, 96  # tokens of one run
ROUNDS = 2  # runs of each value in a comparison
FINAL_ROUNDS = 3  # of the result against the options before
BETTER = 0.95  # share of the time that a better value must stay below
WORTH = 0.97  # and all better values together

NAMES = ("flash_attn", "kv_type", "batch_size", "threads")

Value: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A value compared with the best so far; ``gain`` is its speed-up."""

    name: str
    value: Value
    gain: float
    better: bool


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The result: the better values, and the speed-up of all of them together."""

    values: dict[str, Value]
    gain: float


class Autotuner:
    """Tries one option after the other, each against the best so far.

    A machine's speed drifts by more than most options change it, so the two runs alternate, and
    only what is clearly faster stays.

    Args:
        options: How the model is loaded now.
        cancel: Stops it.
    """

    def __init__(self, options: EngineOptions, cancel: Cancel) -> None:
        self._options, self._cancel = options, cancel
        self._prefill, self._decode = 64, 8

    def run(self) -> Iterator[TrialResult | TuneResult]:
        """Try everything; ends in `TuneResult`.

        Raises:
            ModelError, DoesNotFit: The model cannot be loaded.
            InterruptedError: The cancel flag was set.
        """
        options = self._options
        model = open_model(options, self._cancel)
        try:
            self._size_runs(model)
            best = options
            for name, value in self._candidates():
                other = replace(best, **{name: value})  # type: ignore[arg-type]
                impossible = other.kv_type != "f16" and other.flash_attn == "off"
                if impossible or other == best:
                    continue
                gain = self._gain(model, best, other, ROUNDS)
                better = gain > 1 / BETTER
                yield TrialResult(name, value, gain, better)
                best = other if better else best
            yield self._result(model, best)
        finally:
            model.close()

    def _candidates(self) -> Iterator[tuple[str, Value]]:
        """Names and values, those that change most first."""
        most = default_threads()
        yield "flash_attn", "off"
        yield "flash_attn", "on"
        yield "kv_type", "q8_0"
        yield from (("batch_size", size) for size in (128, 256, 1024))
        yield from (("threads", count) for count in sorted({most, most - 1, most // 2, 1} - {0}))

    def _result(self, model: Model, best: EngineOptions) -> TuneResult:
        """Compare the result with the options before once more, since the best of many is lucky."""
        if best == self._options:
            return TuneResult({}, 1.0)
        gain = self._gain(model, self._options, best, FINAL_ROUNDS)
        if gain < 1 / WORTH:
            return TuneResult({}, gain)
        values = {name: getattr(best, name) for name in NAMES}
        before = {name: getattr(self._options, name) for name in NAMES}
        return TuneResult({n: value for n, value in values.items() if value != before[n]}, gain)

    def _gain(self, model: Model, one: EngineOptions, other: EngineOptions, rounds: int) -> float:
        """The speed-up of ``other``; 0 when the model cannot be loaded with it."""
        with ExitStack() as stack:
            now = stack.enter_context(closing(self._open(model, one)))
            try:
                then = stack.enter_context(closing(self._open(model, other)))
            except TchatError:  # no kernels for it, or no memory
                return 0.0
            pairs = [(self._seconds(model, now), self._seconds(model, then)) for _ in range(rounds)]
        return statistics.median(before / after for before, after in pairs)

    def _open(self, model: Model, options: EngineOptions) -> Context:
        size = min(2048, context_size(options.ctx_size, model.shape.n_ctx_train))
        return open_context(options, model, self._cancel, size=size, capacity=size)

    def _seconds(self, model: Model, context: Context) -> float:
        """Seconds of one run."""
        started = time.perf_counter()
        self._run(model, context)
        return time.perf_counter() - started

    def _run(self, model: Model, context: Context) -> tuple[float, float]:
        """Prefill and decode; returns the seconds of each."""
        text = model.tokenize(TEXT * MAX_PREFILL, special=False)[: context.size - MAX_DECODE]
        kv = KVCache(context, model)
        kv.clear()
        started = time.perf_counter()
        done = all(kv.prefill(text[: self._prefill]))
        prefilled = time.perf_counter()
        done = done and all(kv.step(token) for token in text[: self._decode])
        if not done:
            raise InterruptedError
        return prefilled - started, time.perf_counter() - prefilled

    def _size_runs(self, model: Model) -> None:
        """Choose the tokens of a run, so that it takes `SECONDS`."""
        context = self._open(model, self._options)
        try:
            self._run(model, context)
            prefill, decode = self._run(model, context)
        finally:
            context.close()
        half = SECONDS / 2
        room = context.size - MAX_DECODE
        self._prefill = min(max(64, round(self._prefill * half / prefill)), MAX_PREFILL, room)
        self._decode = min(max(8, round(self._decode * half / decode)), MAX_DECODE)
