"""Generate from one prompt: a reply, several candidates in one batch, or the scores of labels.

Each generator prefills the prompt, decodes, and ends in `Finished`.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from tchat.engine.cancel import Cancel
from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    LabelScores,
    Reason,
    Timings,
    TokenUsage,
)
from tchat.engine.label_scoring import score_labels
from tchat.engine.loading import LoadedModel
from tchat.engine.parallel import Piece, ReplyJob, SequencePool
from tchat.engine.prefill import Prefill
from tchat.engine.reply_state import ReplyState
from tchat.engine.sampling import is_greedy
from tchat.engine.speculative.decoding import SpeculativeSteps
from tchat.settings import Sampling

CANDIDATE_CAPACITY = 256  # tokens of each candidate that the KV cache reserves at first


def generate_reply(  # noqa: PLR0917  one for each step
    loaded: LoadedModel,
    prefill: Prefill,
    sampling: Sampling,
    seed: int,
    cancel: Cancel,
    load_seconds: float = 0.0,
) -> Iterator[Event]:
    """Write one reply.

    Raises:
        UsageError, DoesNotFit: The prompt does not fit, or the sampling cannot be carried out.
    """
    prefill.refuse_unfit()
    # Made before the prefill, which may take a minute: a bad grammar is refused at once.
    reply = ReplyState(loaded, prefill.prompt, prefill.tokens, sampling, seed)
    try:
        done = yield from prefill.run()
        started = time.perf_counter()
        steps = _speculative_steps(loaded, prefill, sampling)
        drafted: Sequence[int] | None = () if done else None
        while drafted is not None and reply.reason is None:
            for place, expected in enumerate((*drafted, None)):
                token = reply.draw(loaded.context, steps.row + place)
                yield from reply.append(token)
                if reply.reason is not None or token != expected:
                    break
            steps.accept(place)
            if reply.reason is None:
                drafted = None if cancel.is_set() else steps.decode(token, reply.tokens_left)
        yield from reply.flush()
        yield from reply.notices
    finally:
        reply.close()
    usage = prefill.usage(reply.written, reply.reasoned)
    yield Finished(
        (reply.reason if done else None) or Reason.CANCELLED,
        reply.text,
        reply.reasoning,
        reply.seed,
        replace(usage, guessed=steps.drafted, right=steps.accepted),
        _timings(load_seconds, prefill, started),
        unfinished=reply.unfinished,
    )


def generate_label(
    loaded: LoadedModel, prefill: Prefill, labels: Sequence[str], load_seconds: float
) -> Iterator[Event]:
    """Score ``labels`` as the reply; `Finished` has the likeliest as its text."""
    longest = max(len(loaded.model.tokenize(label, special=False)) for label in labels)
    prefill.refuse_unfit(longest)
    done = yield from prefill.run(reserve=longest)
    started = time.perf_counter()
    scores = score_labels(loaded.model, loaded.context, loaded.kv, labels) if done else None
    timings = _timings(load_seconds, prefill, started)
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

    Raises:
        UsageError, DoesNotFit: As of `generate_reply`.
    """
    prefill.refuse_unfit()
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
        pieces = _decode(loaded, jobs, cancel, stopped) if done else _undecoded(jobs)
        for job, piece in pieces:
            timings = _timings(load_seconds, prefill, started)
            yield CandidateEvent(job.index, piece or _finished(job.reply, prefill, timings))
    finally:
        loaded.context.enable_hidden_states(False)
        for job in jobs:
            job.close()


def empty_reply(seed: int = 0) -> Finished:
    """The end of a reply that was stopped before it began."""
    return Finished(Reason.CANCELLED, "", "", seed, TokenUsage(0, 0, 0, 0), Timings(0.0, 0.0, 0.0))


def _timings(load_seconds: float, prefill: Prefill, started: float) -> Timings:
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
) -> Iterator[tuple[ReplyJob, Piece | None]]:
    """Decode all of them to their ends; None ends each."""
    try:
        pool: SequencePool[ReplyJob] = SequencePool(loaded, len(jobs), keep=True)
    except InterruptedError:
        yield from _undecoded(jobs)
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


def _undecoded(jobs: Sequence[ReplyJob]) -> Iterator[tuple[ReplyJob, None]]:
    """The ends of replies that were stopped before they began."""
    for job in jobs:
        yield job, None


def _finished(reply: ReplyState, prefill: Prefill, timings: Timings) -> Finished:
    return Finished(
        reply.reason or Reason.CANCELLED,
        reply.text,
        reply.reasoning,
        reply.seed,
        prefill.usage(reply.written, reply.reasoned),
        timings,
        reply.log_probability,
        reply.hidden_states,
        reply.unfinished,
    )
