"""Finding out by trying how a model is loaded best: threads, batch, flash attention, KV type."""

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
from tchat.engine.model import Model
from tchat.engine.options import EngineOptions
from tchat.engine.threads import default_threads
from tchat.errors import TchatError

TEXT = "The keeper of the lighthouse counts the ships and writes them down in a long list. "
SECONDS = 1.2  # of one run; half of it is reading
MOST_READ, MOST_WRITTEN = 1024, 96  # tokens of one run
ROUNDS = 2  # runs of each of two that are compared
LAST_ROUNDS = 3  # of what came out, against what was
BETTER = 0.95  # share of the time that another value must stay below
WORTH = 0.97  # and all of them together

NAMES = ("flash_attn", "kv_type", "batch_size", "threads")

Value: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A value was compared with the one so far; ``gain`` is how many times as fast it is."""

    name: str
    value: Value
    gain: float
    better: bool


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The end: what is better, and how many times as fast all of it together is."""

    values: dict[str, Value]
    gain: float


class Autotuner:
    """Tries one setting after the other, each against the best so far, in turn.

    A machine's speed drifts by more than most settings change it, so what is compared runs
    alternately, and only what is clearly faster stays.

    Args:
        options: How the model is loaded now.
        cancel: Stops it.
    """

    def __init__(self, options: EngineOptions, cancel: Cancel) -> None:
        self._options, self._cancel = options, cancel
        self._read, self._written = 64, 8

    def run(self) -> Iterator[TrialResult | TuneResult]:
        """Try everything; ends in `TuneResult`.

        Raises:
            ModelError, DoesNotFit: The model cannot be loaded.
            InterruptedError: The cancel flag was set.
        """
        options = self._options
        model = Model(
            options.path,
            gpu_layers=options.gpu_layers,
            tensor_split=options.tensor_split,
            mmap=options.mmap,
            mlock=options.mlock,
            cancel=self._cancel,
        )
        try:
            self._size_runs(model)
            best = options
            for name, value in self._candidates():
                other = replace(best, **{name: value})  # type: ignore[arg-type]
                never = other.kv_type != "f16" and other.flash_attn == "off"  # it needs it
                if never or other == best:
                    continue
                gain = self._gain(model, best, other, ROUNDS)
                better = gain > 1 / BETTER
                yield TrialResult(name, value, gain, better)
                best = other if better else best
            yield self._judged(model, best)
        finally:
            model.close()

    def _candidates(self) -> Iterator[tuple[str, Value]]:
        """Names and values, those first that change most."""
        most = default_threads()
        yield "flash_attn", "off"
        yield "flash_attn", "on"
        yield "kv_type", "q8_0"
        yield from (("batch_size", size) for size in (128, 256, 1024))
        yield from (("threads", count) for count in sorted({most, most - 1, most // 2, 1} - {0}))

    def _judged(self, model: Model, best: EngineOptions) -> TuneResult:
        """What came out against what was, once more: the best of many trials flatters itself."""
        if best == self._options:
            return TuneResult({}, 1.0)
        gain = self._gain(model, self._options, best, LAST_ROUNDS)
        if gain < 1 / WORTH:
            return TuneResult({}, gain)
        values = {name: getattr(best, name) for name in NAMES}
        before = {name: getattr(self._options, name) for name in NAMES}
        return TuneResult({n: value for n, value in values.items() if value != before[n]}, gain)

    def _gain(self, model: Model, one: EngineOptions, other: EngineOptions, rounds: int) -> float:
        """How many times as fast ``other`` is; 0 when the model cannot be loaded so."""
        with ExitStack() as stack:
            now = stack.enter_context(closing(self._opened(model, one)))
            try:
                then = stack.enter_context(closing(self._opened(model, other)))
            except TchatError:  # no kernels for it, or no memory
                return 0.0
            pairs = [(self._seconds(model, now), self._seconds(model, then)) for _ in range(rounds)]
        return statistics.median(before / after for before, after in pairs)

    def _opened(self, model: Model, options: EngineOptions) -> Context:
        size = min(2048, context_size(options.ctx_size, model.shape.n_ctx_train))
        return Context(
            model,
            size=size,
            room=size,
            batch=min(options.batch_size, size),
            threads=options.threads,
            cancel=self._cancel,
            kv_type=options.kv_type,
            flash_attn=options.flash_attn,
            swa_full=options.swa_full,
        )

    def _seconds(self, model: Model, context: Context) -> float:
        """Seconds of reading a prompt and writing a reply; both as ever."""
        started = time.perf_counter()
        self._carried_out(model, context)
        return time.perf_counter() - started

    def _carried_out(self, model: Model, context: Context) -> tuple[float, float]:
        """Read and write; returns the seconds of each."""
        text = model.tokenize(TEXT * MOST_READ, special=False)[: context.size - MOST_WRITTEN]
        kv = KVCache(context, model)
        kv.clear()
        started = time.perf_counter()
        done = all(kv.read(text[: self._read]))
        read = time.perf_counter()
        done = done and all(kv.step(token) for token in text[: self._written])
        if not done:
            raise InterruptedError
        return read - started, time.perf_counter() - read

    def _size_runs(self, model: Model) -> None:
        """Choose how much one run reads and writes, so that it takes its time."""
        context = self._opened(model, self._options)
        try:
            self._carried_out(model, context)
            reading, writing = self._carried_out(model, context)
        finally:
            context.close()
        half = SECONDS / 2
        room = context.size - MOST_WRITTEN
        self._read = min(max(64, round(self._read * half / reading)), MOST_READ, room)
        self._written = min(max(8, round(self._written * half / writing)), MOST_WRITTEN)
