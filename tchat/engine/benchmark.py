"""Benchmark a model on this machine; the same decodes without tchat are the limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tchat.engine.binding import backend
from tchat.engine.cancel import Cancel
from tchat.engine.events import CandidateEvent, Event, Finished, Reasoning, Token
from tchat.engine.generation import generate_candidates, generate_reply
from tchat.engine.loading import BackgroundLoad, EngineOptions, LoadedModel, assemble, template_of
from tchat.engine.prefill import Prefill
from tchat.engine.prompt.encoder import EncodedPrompt, too_long
from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.engine.sampling import Sampler
from tchat.errors import TchatError
from tchat.settings import Sampling

TEXT = "The keeper of the lighthouse counts the ships and writes them down in a long list. "
PROMPT = 512  # tokens
SHORT_PROMPT = 32  # tokens, for the time to the first token
REPLY = 64  # tokens
CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Args:
        name: ``load``, ``read``, ``write``, ``bare``, ``first token``, ``candidates``, ``restore``.
        value: How much.
        unit: ``s`` or ``tok/s``.
        of: What to compare it with, in the same unit; 0 for nothing.
    """

    name: str
    value: float
    unit: str
    of: float = 0.0


class Benchmark:
    """Measures one model; each figure comes as soon as it is there.

    Args:
        options: How the model is loaded.
        cancel: Stops it.
    """

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
                raise too_long(PROMPT + REPLY * CANDIDATES, context.size)
            yield Figure("load", loading, "s")
            yield from self._measured(loaded)
        finally:
            loaded.close()

    def _measured(self, loaded: LoadedModel) -> Iterator[Figure]:
        text = loaded.model.tokenize(TEXT * PROMPT, special=False)
        long, short = (
            EncodedPrompt(text[:n], "", ReplyPhase.ANSWER, (), ()) for n in (PROMPT, SHORT_PROMPT)
        )
        ends = tuple(f"{token}=-inf" for token in loaded.model.end_tokens)
        sampling = Sampling(seed=1, max_tokens=REPLY, logit_bias=ends)
        self._finished(self._reply(loaded, short, sampling))  # warm up
        loaded.kv.clear()
        reply = self._finished(self._reply(loaded, long, sampling))
        prefill = reply.timings.read
        yield Figure("read", PROMPT / prefill, "tok/s")
        bare = self._bare(loaded, sampling)
        yield Figure("write", REPLY / reply.timings.write, "tok/s", bare)
        loaded.kv.clear()
        yield Figure("first token", self._first(loaded, short, sampling), "s")
        yield Figure(f"{CANDIDATES} candidates", self._together(loaded, long, sampling), "tok/s")
        yield Figure(f"restore {PROMPT} tokens", self._restored(loaded, long), "s", prefill)

    def _bare(self, loaded: LoadedModel, sampling: Sampling) -> float:
        """Tokens a second of a loop over llama.cpp with the same sampler chain."""
        lib, context = backend().lib, loaded.context
        held = len(loaded.kv.tokens)
        batch = lib.llama_batch_init(1, 0, 1)
        batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
        sampler = Sampler(loaded.model, sampling, seed=1, prompt=())
        try:
            loaded.kv.reserve(held + REPLY)
            loaded.kv.step(loaded.kv.tokens[-1])
            handle, chain = context.handle, sampler.chain
            started = time.perf_counter()
            for written in range(REPLY):
                batch.token[0] = lib.llama_sampler_sample(chain, handle, -1)
                batch.pos[0] = held + 1 + written
                if status := lib.llama_decode(handle, batch):
                    if self._cancel.is_set():
                        raise InterruptedError
                    raise TchatError(f"llama.cpp failed while decoding ({status})", "try again")
            return REPLY / (time.perf_counter() - started)
        finally:
            sampler.close()
            lib.llama_batch_free(batch)
            loaded.kv.clear()

    def _first(self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling) -> float:
        """Seconds to the first piece of a reply to a short prompt."""
        started = time.perf_counter()
        events = self._reply(loaded, prompt, sampling)
        for event in events:
            if isinstance(event, Token | Reasoning):
                break
        seconds = time.perf_counter() - started
        self._finished(events)
        return seconds

    def _together(self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling) -> float:
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
        return sum(e.usage.completion for e in ends) / max(e.timings.write for e in ends)

    def _restored(self, loaded: LoadedModel, prompt: EncodedPrompt) -> float:
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

    def _reply(
        self, loaded: LoadedModel, prompt: EncodedPrompt, sampling: Sampling
    ) -> Iterator[Event]:
        return generate_reply(
            loaded, Prefill(loaded, prompt, self._cancel), sampling, 1, self._cancel
        )

    def _finished(self, events: Iterator[Event]) -> Finished:
        *_, last = events
        if self._cancel.is_set() or not isinstance(last, Finished):
            raise InterruptedError
        return last
