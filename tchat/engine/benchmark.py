"""Benchmark a model on this machine, and find its fastest options by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TypeAlias

from tchat.engine.binding import Cancel, backend
from tchat.engine.context import Context, context_size
from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    ReplyDelta,
)
from tchat.engine.generation import Prefill, generate_candidates, generate_reply
from tchat.engine.kv_cache import KVCache
from tchat.engine.loading import (
    BackgroundLoad,
    EngineOptions,
    LoadedModel,
    assemble,
    load_weights,
    open_context,
    template_of,
)
from tchat.engine.model import Model
from tchat.engine.prompt.encoder import EncodedPrompt, too_long
from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.engine.sampling import Sampler
from tchat.engine.threads import default_threads
from tchat.errors import TchatError
from tchat.settings import Sampling
from tchat.translation import tr

TEXT = "The keeper of the lighthouse counts the ships and writes them down in a long list. "
PROMPT = 512  # tokens
SHORT_PROMPT = 32  # tokens, for the time to the first token
REPLY = 64  # tokens
CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; ``of`` is what to compare it with, in the same unit, 0 for nothing."""

    name: str
    value: float
    unit: str
    of: float = 0.0


class Benchmark:
    """Measures one model; each figure comes as soon as it is there."""

    def __init__(self, options: EngineOptions, cancel: Cancel) -> None:
        # Drafted tokens would depend on the text.
        self._options = replace(options, prompt_lookup=False, draft=None)
        self._cancel = cancel

    def figures(self) -> Iterator[Figure]:
        """Load, prefill, decode, and so on.

        Raises:
            ModelError, DoesNotFit: The model cannot be loaded, or its context is too small.
            InterruptedError: The cancel flag was set.
        """
        started = time.perf_counter()
        background = BackgroundLoad(self._options, self._cancel)
        model, context = background.model(), background.context()
        loading = time.perf_counter() - started
        template = template_of(self._options, model, self._cancel)
        loaded = assemble(self._options, model, context, template, self._cancel)
        try:
            if context.size < PROMPT + REPLY * CANDIDATES:
                needed, trained = PROMPT + REPLY * CANDIDATES, model.shape.n_ctx_train
                raise too_long(needed, context.size, trained)
            yield Figure(tr("load"), loading, "s")
            yield from self._measure(loaded)
        finally:
            loaded.close()

    def _measure(self, loaded: LoadedModel) -> Iterator[Figure]:
        text = loaded.model.tokenize(TEXT * PROMPT, special=False)
        long, short = (
            EncodedPrompt(text[:n], "", ReplyPhase.ANSWER, (), ()) for n in (PROMPT, SHORT_PROMPT)
        )
        ends = tuple(f"{token}=-inf" for token in loaded.model.end_tokens)
        sampling = Sampling(seed=1, max_tokens=REPLY, logit_bias=ends)
        self._last(self._generate(loaded, short, sampling))  # warm up
        loaded.kv.clear()
        reply = self._last(self._generate(loaded, long, sampling))
        prefill = reply.timings.prefill
        yield Figure(tr("read"), PROMPT / prefill, "tok/s")
        bare = self._bare_loop_rate(loaded, sampling)
        yield Figure(tr("write"), REPLY / reply.timings.decode, "tok/s", bare)
        loaded.kv.clear()
        yield Figure(tr("first token"), self._first_token_seconds(loaded, short, sampling), "s")
        yield Figure(
            tr("{candidates} candidates", candidates=CANDIDATES),
            self._candidates_rate(loaded, long, sampling),
            "tok/s",
        )
        yield Figure(
            tr("restore {prompt} tokens", prompt=PROMPT),
            self._restore_seconds(loaded, long),
            "s",
            prefill,
        )

    def _bare_loop_rate(self, loaded: LoadedModel, sampling: Sampling) -> float:
        """Tokens a second of a loop over llama.cpp with the same sampler chain."""
        lib, context = backend().lib, loaded.context
        cached = len(loaded.kv.tokens)
        batch = lib.llama_batch_init(1, 0, 1)
        batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
        sampler = Sampler(loaded.model, sampling, seed=1, prompt=())
        try:
            loaded.kv.reserve(cached + REPLY)
            loaded.kv.step(loaded.kv.tokens[-1])
            handle, chain = context.handle, sampler.chain
            started = time.perf_counter()
            for written in range(REPLY):
                batch.token[0] = lib.llama_sampler_sample(chain, handle, -1)
                batch.pos[0] = cached + 1 + written
                if status := lib.llama_decode(handle, batch):
                    if self._cancel.is_set():
                        raise InterruptedError
                    raise TchatError(
                        tr("llama.cpp failed while decoding ({status})", status=status),
                        tr("try again"),
                    )
            return REPLY / (time.perf_counter() - started)
        finally:
            sampler.close()
            lib.llama_batch_free(batch)
            loaded.kv.clear()

    def _first_token_seconds(
        self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling
    ) -> float:
        """Seconds to the first piece of a reply to a short prompt."""
        started = time.perf_counter()
        events = self._generate(loaded, prompt, sampling)
        for event in events:
            if isinstance(event, ReplyDelta):
                break
        seconds = time.perf_counter() - started
        self._last(events)
        return seconds

    def _candidates_rate(
        self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling
    ) -> float:
        """Tokens a second of several replies in one batch, all together."""
        prefill = Prefill(loaded, prompt, self._cancel)
        events = generate_candidates(loaded, prefill, sampling, range(CANDIDATES), self._cancel)
        ends = [
            each.event
            for each in events
            if isinstance(each, CandidateEvent) and isinstance(each.event, Finished)
        ]
        if self._cancel.is_set():
            raise InterruptedError
        return sum(e.usage.completion for e in ends) / max(e.timings.decode for e in ends)

    def _restore_seconds(self, loaded: LoadedModel, prompt: EncodedPrompt) -> float:
        """Seconds to load a saved state from memory."""
        kv, buffer = loaded.kv, bytearray()
        kv.drop_branches()
        if not kv.ensure_tokens(prompt.tokens):
            raise InterruptedError
        size = loaded.context.save_state(None, buffer)
        kv.clear()
        started = time.perf_counter()
        if not kv.load(prompt.tokens, buffer, size, part=False):
            return 0.0
        return time.perf_counter() - started

    def _generate(
        self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling
    ) -> Iterator[Event]:
        return generate_reply(
            loaded, Prefill(loaded, prompt, self._cancel), sampling, 1, self._cancel
        )

    def _last(self, events: Iterator[Event]) -> Finished:
        *_, last = events
        if self._cancel.is_set() or not isinstance(last, Finished):
            raise InterruptedError
        return last


RUN_SECONDS = 1.2  # of one run; half of it is prefill
MAX_PREFILL, MAX_DECODE = 1024, 96  # tokens of one run
TRIAL_ROUNDS = 2  # runs of each value in a comparison
FINAL_ROUNDS = 3  # of the result against the options before
MAX_TIME_SHARE = 0.95  # share of the time that a better value must stay below
MAX_TOTAL_SHARE = 0.97  # and all better values together

TUNED_OPTIONS = ("flash_attn", "kv_type", "batch_size", "threads")

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
        model = load_weights(options, self._cancel)
        try:
            self._size_runs(model)
            best = options
            for name, value in self._candidates():
                other = replace(best, **{name: value})  # type: ignore[arg-type]
                impossible = other.kv_type != "f16" and other.flash_attn == "off"
                if impossible or other == best:
                    continue
                gain = self._gain(model, best, other, TRIAL_ROUNDS)
                better = gain > 1 / MAX_TIME_SHARE
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
        if gain < 1 / MAX_TOTAL_SHARE:
            return TuneResult({}, gain)
        values = {name: getattr(best, name) for name in TUNED_OPTIONS}
        before = {name: getattr(self._options, name) for name in TUNED_OPTIONS}
        return TuneResult({n: value for n, value in values.items() if value != before[n]}, gain)

    def _gain(self, model: Model, one: EngineOptions, other: EngineOptions, rounds: int) -> float:
        """The speed-up of ``other``; 0 when the model cannot be loaded with it."""
        with ExitStack() as stack:
            now = stack.enter_context(closing(self._open(model, one)))
            try:
                then = stack.enter_context(closing(self._open(model, other)))
            except TchatError:  # no kernels for it, or no memory
                return 0.0
            pairs = [(self._run(model, now), self._run(model, then)) for _ in range(rounds)]
        return statistics.median(sum(before) / sum(after) for before, after in pairs)

    def _open(self, model: Model, options: EngineOptions) -> Context:
        size = min(2048, context_size(options.ctx_size, model.shape.n_ctx_train))
        return open_context(options, model, self._cancel, size=size, capacity=size)

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
        """Choose the tokens of a run, so that it takes `RUN_SECONDS`."""
        context = self._open(model, self._options)
        try:
            self._run(model, context)
            prefill, decode = self._run(model, context)
        finally:
            context.close()
        half = RUN_SECONDS / 2
        limit = context.size - MAX_DECODE
        self._prefill = min(max(64, round(self._prefill * half / prefill)), MAX_PREFILL, limit)
        self._decode = min(max(8, round(self._decode * half / decode)), MAX_DECODE)
