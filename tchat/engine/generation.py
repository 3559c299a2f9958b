"""Prefill a prompt, and generate from it: a reply, several candidates, or the scores of labels.

Each generator prefills the prompt, decodes, and ends in `Finished`. A draft that is still being
typed is prefilled too (`DraftPrefill`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.engine.binding import Cancel
from tchat.engine.events import (
    CacheRestored,
    CandidateEvent,
    Event,
    Finished,
    LabelScores,
    Notice,
    PromptProgress,
    Reason,
    ReplyDelta,
    Timings,
    TokenUsage,
)
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt, require_fit
from tchat.engine.prompt.template import Think
from tchat.engine.reply_state import ReplyState
from tchat.engine.sampling import is_greedy
from tchat.engine.speculative_decoding import SpeculativeSteps
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.parallel import ReplyJob, SequencePool
    from tchat.engine.tool_reply import ToolReplies

CANDIDATE_CAPACITY = 256  # tokens of each candidate that the KV cache reserves at first


def generate_reply(  # noqa: PLR0917  one for each step
    loaded: LoadedModel,
    prefill: Prefill,
    sampling: Sampling,
    seed: int,
    cancel: Cancel,
    load_seconds: float = 0.0,
    *,
    tools: ToolReplies | None = None,
    continues: bool = False,
) -> Iterator[Event]:
    """Write one reply; with ``tools``, one that may call them.

    Raises:
        UsageError, DoesNotFit: The prompt does not fit, or the sampling cannot be carried out.
    """
    prefill.require_fit()
    # Made before the prefill, which may take a minute: a bad grammar is refused at once.
    reply = ReplyState(
        loaded, prefill.prompt, prefill.tokens, sampling, seed, tools=tools, continues=continues
    )
    try:
        done = yield from prefill.run(alone=sampling.seed >= 0)
        started = time.perf_counter()
        steps = _speculative_steps(loaded, prefill, sampling)
        drafted: Sequence[int] | None = () if done else None
        while drafted is not None and reply.reason is None:
            for index, expected in enumerate((*drafted, None)):
                token = reply.draw(loaded.context, steps.row + index)
                yield from reply.append(token)
                if tools is not None:
                    yield from reply.take_calls()
                if reply.reason is not None or token != expected:
                    break
            if drafted:
                steps.accept(index)
            if reply.reason is None:
                drafted = None if cancel.is_set() else steps.decode(token, reply.tokens_left)
        yield from reply.output.close()
        yield from reply.take_calls()
        yield from reply.notices
    finally:
        reply.close()
    if not done:
        reply.reason = Reason.CANCELLED
    end = _make_finished(reply, prefill, _make_timings(load_seconds, prefill, started))
    usage = replace(end.usage, drafted=steps.drafted, accepted=steps.accepted)
    yield replace(end, usage=usage)


def generate_label(
    loaded: LoadedModel, prefill: Prefill, labels: Sequence[str], load_seconds: float
) -> Iterator[Event]:
    """Score ``labels`` as the reply; `Finished` has the likeliest as its text."""
    from tchat.engine.scoring import score_labels

    longest = max(len(loaded.model.tokenize(label, special=False)) for label in labels)
    prefill.require_fit(longest)
    done = yield from prefill.run(reserve=longest)
    started = time.perf_counter()
    scores = score_labels(loaded.model, loaded.context, loaded.kv, labels) if done else None
    timings = _make_timings(load_seconds, prefill, started)
    if scores is not None:
        yield LabelScores(scores)
    reason = Reason.STOP if scores else Reason.CANCELLED
    text = scores[0][0] if scores else ""
    yield Finished(reason, text, "", 0, prefill.usage(0, 0), timings)


def generate_candidates(  # noqa: PLR0917  as `generate_reply`
    loaded: LoadedModel,
    prefill: Prefill,
    sampling: Sampling,
    seeds: Sequence[int],
    cancel: Cancel,
    load_seconds: float = 0.0,
    *,
    stopped: Container[int] = (),
    states: bool = False,
) -> Iterator[Event]:
    """Write one reply for each seed, in one batch; a `Finished` in a `CandidateEvent` ends each.

    Args:
        loaded: The model.
        prefill: Of the prompt, which is prefilled once.
        sampling: How tokens are drawn.
        seeds: One for each candidate.
        cancel: Stops all of them.
        load_seconds: Seconds that loading took.
        stopped: Indexes of candidates to end early; may grow meanwhile, from any thread.
        states: Whether each `Finished` is to have `HiddenStates`.
    """
    from tchat.engine.parallel import ReplyJob

    prefill.require_fit()
    jobs: list[ReplyJob] = []
    try:
        for index, seed in enumerate(seeds):
            reply = ReplyState(
                loaded, prefill.prompt, prefill.tokens, sampling, seed, scored=True, states=states
            )
            jobs.append(ReplyJob(prefill.tokens, reply, index=index))
        done = yield from prefill.run(reserve=CANDIDATE_CAPACITY * len(jobs), leave=1)
        loaded.context.enable_hidden_states(states)
        started = time.perf_counter()
        pieces = _decode(loaded, jobs, cancel, stopped) if done else ((job, None) for job in jobs)
        for job, piece in pieces:
            timings = _make_timings(load_seconds, prefill, started)
            yield CandidateEvent(job.index, piece or _make_finished(job.reply, prefill, timings))
    finally:
        loaded.context.enable_hidden_states(False)
        for job in jobs:
            job.close()


def _make_timings(load_seconds: float, prefill: Prefill, started: float) -> Timings:
    decode = time.perf_counter() - started
    return Timings(load_seconds, prefill.seconds, decode, prefill.restore_seconds)


def _speculative_steps(
    loaded: LoadedModel, prefill: Prefill, sampling: Sampling
) -> SpeculativeSteps:
    if loaded.speculation is not None:
        loaded.speculation.times.record_prefill(*prefill.measured)
    greedy = is_greedy(sampling)
    return SpeculativeSteps(loaded.speculation, loaded.kv, prefill.tokens, greedy=greedy)


def _decode(
    loaded: LoadedModel, jobs: Sequence[ReplyJob], cancel: Cancel, stopped: Container[int]
) -> Iterator[tuple[ReplyJob, ReplyDelta | None]]:
    """Decode all of them to their ends; None ends each."""
    from tchat.engine.parallel import SequencePool

    try:
        pool: SequencePool[ReplyJob] = SequencePool(loaded, len(jobs), keep=True)
    except InterruptedError:
        yield from ((job, None) for job in jobs)
        return
    try:
        for job in jobs:
            pool.start(job)
        with suppress(InterruptedError):
            while pool.running and not cancel.is_set():
                for job in jobs:
                    if job.index in stopped:
                        job.stop(Reason.CANCELLED)
                yield from pool.step()
        yield from pool.stop()
    finally:
        pool.close()


def _make_finished(reply: ReplyState, prefill: Prefill, timings: Timings) -> Finished:
    return Finished(
        reply.reason or Reason.CANCELLED,
        reply.output.text,
        reply.output.reasoning,
        reply.seed,
        prefill.usage(reply.written, reply.reasoned),
        timings,
        reply.log_probability,
        reply.hidden_states,
        reply.output.unfinished,
    )


# A draft is prefilled in small batches, so that what was typed meanwhile is looked at.
BATCH_SECONDS = 0.15
BATCH_TOKENS = (24, 128)  # at least and at most; fewer are no faster, see `threads.FEW_TOKENS`
OPEN_WORD = 48  # characters without white space that may yet become other tokens

OnProgress = Callable[[int], object]
ShouldContinue = Callable[[], bool]

_LAST_WORD = re.compile(r"\S(?=\s+\S*\s*\Z)")


class Prefill:
    """Prefills the part of a prompt that the KV cache does not hold.

    Args:
        loaded: The model and its KV cache.
        prompt: What is prefilled.
        cancel: Stops it.
        restored: What was restored from disk for it.
        on_progress: Called before the first batch and after each with the number of tokens left;
            the KV cache may hold less of the prompt afterwards.

    Attributes:
        tokens: The prompt in the cache's own tokens, see `KVCache.reuse_tokens`.
        reused: Tokens that the cache held.
        seconds: Seconds that it took.
        done: Whether all of it was prefilled.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        cancel: Cancel,
        restored: CacheRestored | None = None,
        on_progress: OnProgress = lambda _left: None,
    ) -> None:
        self.prompt = prompt
        self._context, self._kv, self._cancel = loaded.context, loaded.kv, cancel
        self._trained = loaded.model.shape.n_ctx_train
        self._restored, self._on_progress = restored, on_progress
        tokens = self._kv.reuse_tokens(prompt.tokens)
        self.tokens = tokens if len(tokens) < self._context.size else prompt.tokens
        self.reused = 0
        self.seconds = 0.0
        self.done = False

    @property
    def measured(self) -> tuple[int, float]:
        """Tokens that were prefilled, and the seconds that took; 0 tokens when it was stopped."""
        return (len(self.tokens) - self.reused if self.done else 0, self.seconds)

    @property
    def restore_seconds(self) -> float:
        """Seconds that restoring a part from disk took."""
        return self._restored.seconds if self._restored else 0.0

    def require_fit(self, more: int = 0) -> None:
        """As `encoder.require_fit`, for this prompt and context."""
        require_fit(self.tokens, self._context.size, self._trained, more)

    def usage(self, written: int, reasoned: int) -> TokenUsage:
        """The counts of a reply of ``written`` tokens, ``reasoned`` of them reasoning."""
        restored = self._restored.tokens if self._restored else 0
        return TokenUsage(
            prompt=len(self.tokens),
            reused=self.reused,
            prefilled=len(self.tokens) - self.reused,
            completion=written,
            reasoning=reasoned,
            restored=min(restored, self.reused),
        )

    def run(
        self, *, reserve: int = 1, leave: int = 0, alone: bool = False
    ) -> Generator[Event, None, bool]:
        """Prefill; returns False when it was stopped.

        Args:
            reserve: The capacity to reserve behind the prompt.
            leave: The tokens at its end to leave out.
            alone: Whether its last token is decoded by itself, as it is where the KV cache holds
                all others. Kernels round differently for many tokens, so that a seed would not
                repeat its reply.
        """
        started = time.perf_counter()
        self.done = yield from self._run(reserve, leave, alone=alone)
        self.seconds = time.perf_counter() - started
        return self.done

    def _run(self, reserve: int, leave: int, *, alone: bool) -> Generator[Event, None, bool]:
        total = len(self.tokens)
        if not self._kv.reserve(min(total + reserve, self._context.size)):
            return False
        self.reused = self._kv.reuse(self.tokens)
        if self._kv.lost:
            text = tr(
                "{lost:,} tokens are processed again: this model's KV cache cannot be truncated",
                lost=self._kv.lost,
            )
            yield Notice("reread", text)
        yield PromptProgress(self.reused, total, self.reused)
        end = total - leave
        self._on_progress(end - self.reused)
        while (cached := len(self._kv.tokens)) < end:
            stop = end - 1 if alone and cached < end - 1 else end
            for done in self._kv.prefill(self.tokens[cached:stop]):
                cached = len(self._kv.tokens)
                if not done or (self._cancel.is_set() and cached < end):
                    return False
                self._on_progress(end - cached)
                yield PromptProgress(cached + leave, total, self.reused)
                if len(self._kv.tokens) < cached:
                    break
        return True


class DraftPrefill:
    """Prefills the part of a draft that more typing will not change.

    It goes into a sequence of its own, which shares the cells of what the chat has in common with
    it. So the chat's own state stays as it is, and as it is saved. The prompt that is sent
    continues it: see `KVCache.switch_branch`.

    Args:
        loaded: The model.
        messages: The chat; the last message is the draft.
        think: As of `Engine.generate`.
        limit: Tokens that a prompt may have; a longer draft is not prefilled.
        should_continue: Whether to go on; asked often.

    Attributes:
        prefilled: Tokens prefilled so far.
        seconds: Seconds that took.

    Raises:
        DoesNotFit: It does not fit beside the chat.
        InterruptedError: ``should_continue`` was False while the template rendered.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        messages: Sequence[ChatMessage],
        think: Think,
        limit: int,
        should_continue: ShouldContinue = lambda: True,
    ) -> None:
        self._loaded, self._messages, self._think = loaded, messages, think
        self._should_continue = should_continue
        self._encoder = replace(loaded.encoder, stopped=lambda: not should_continue())
        self._tokens = self._stable_tokens(limit)
        self.prefilled = 0
        self.seconds = 0.0

    def events(self) -> Iterator[PromptProgress]:
        """Prefill in small batches while ``should_continue``, until the cancel flag is set."""
        tokens, kv = self._tokens, self._loaded.kv
        if not tokens:
            return
        self._make_room()
        done = reused = kv.prepare_draft(tokens)
        yield PromptProgress(done, len(tokens), reused)
        least, most = BATCH_TOKENS
        most = min(most, self._loaded.context.batch_size)
        size = min(least, most)
        while done < len(tokens) and self._should_continue():
            started = time.perf_counter()
            if not kv.prefill_draft(tokens[done : done + size]):
                return
            took = time.perf_counter() - started
            self.prefilled += len(kv.draft_tokens) - done
            self.seconds += took
            size = min(most, max(least, round(BATCH_SECONDS * size / took)))
            done = len(kv.draft_tokens)
            yield PromptProgress(done, len(tokens), reused)

    def _stable_tokens(self, limit: int) -> list[int]:
        """The common prefix of the prompt as it is, and without its last word."""
        *before, draft = self._messages
        stable = stable_prefix(draft.content)
        if not stable:
            return []
        tokens = self._encode(self._messages)
        if len(tokens) > limit:
            return []
        shorter = self._encode([*before, replace(draft, content=stable)])
        kv = self._loaded.kv
        if kv.branches:  # one of the candidates was chosen
            kv.switch_branch(tokens)
        return kv.reuse_tokens(tokens[: common_prefix(tokens, shorter)])

    def _make_room(self) -> None:
        """Drop what the cache holds of another chat, where it does not fit beside it."""
        kv, size = self._loaded.kv, self._loaded.context.size
        if len(kv.tokens) + len(self._tokens) > size:
            before = self._messages[:-1]
            own, _ = kv.match_prefix(kv.tokens, self._encode(before)) if before else (0, 0)
            kv.truncate(own)

    def _encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        return self._encoder.prompt(messages, self._think, quiet=True).tokens


def stable_prefix(text: str) -> str:
    """A text without its last word and the white space before it, which may still change.

    A text without a space near its end, as in some languages, loses its last characters instead.
    """
    match = _LAST_WORD.search(text, max(0, len(text) - OPEN_WORD))
    return text[: match.end()] if match else text[:-OPEN_WORD]
