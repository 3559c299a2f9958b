"""Several replies to one prompt, written side by side."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress

from tchat.engine.cancel import Cancel
from tchat.engine.events import CacheRestored, CandidateEvent, Event, Finished, Reason, Timings
from tchat.engine.jobs import Piece, ReplyJob
from tchat.engine.loading import LoadedModel
from tchat.engine.parallel import SequencePool
from tchat.engine.prefill import OnProgress, Prefill
from tchat.engine.prompt.tokenization import EncodedPrompt
from tchat.engine.reply_state import ReplyState
from tchat.settings import Sampling

ROOM = 256  # tokens of each reply that the KV cache makes room for at once


class _Reply(ReplyJob):
    """One candidate."""

    def __init__(self, index: int, tokens: Sequence[int], writing: ReplyState) -> None:
        super().__init__(tokens, writing)
        self.index = index


class CandidateGeneration:
    """Replies to one prompt, which is read once.

    Args:
        loaded: The model.
        prompt: What they answer.
        sampling: How their tokens are drawn.
        seeds: One for each.
        cancel: Stops all of them.
        stopped: Indexes of those that shall end; may grow meanwhile, from any thread.
        restored: What was brought from disk for the prompt.
        note: As of `Prefill`.
        states: Whether each `Finished` is to have an `HiddenStates`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        sampling: Sampling,
        seeds: Sequence[int],
        cancel: Cancel,
        *,
        stopped: Container[int] = (),
        restored: CacheRestored | None = None,
        note: OnProgress = lambda _left: None,
        states: bool = False,
    ) -> None:
        self._loaded, self._prompt, self._sampling = loaded, prompt, sampling
        self._seeds, self._cancel, self._stopped = seeds, cancel, stopped
        self._states = states
        self._reader = Prefill(loaded, prompt, cancel, restored, note)

    @property
    def reading(self) -> tuple[int, float]:
        """Tokens that were read, and the seconds that took."""
        return self._reader.measured

    def events(self, load: float) -> Iterator[Event]:
        """Read the prompt, write the replies; a `Finished` within a `CandidateEvent` ends each."""
        reader = self._reader
        reader.refuse_unfit()
        replies: list[_Reply] = []
        try:
            for index, seed in enumerate(self._seeds):
                replies.append(_Reply(index, reader.tokens, self._writing(seed)))
            done = yield from reader.read(room=ROOM * len(self._seeds), but=1)
            self._loaded.context.enable_hidden_states(self._states)
            started = time.perf_counter()
            pieces = self._pieces(replies) if done else _unwritten(replies)
            for reply, piece in pieces:
                write = time.perf_counter() - started
                timings = Timings(load, reader.seconds, write, reader.restore_seconds)
                yield CandidateEvent(reply.index, piece or self._finished(reply.writing, timings))
        finally:
            self._loaded.context.enable_hidden_states(False)
            for reply in replies:
                reply.writing.close()

    def _writing(self, seed: int) -> ReplyState:
        tokens = self._reader.tokens
        return ReplyState(
            self._loaded,
            self._prompt,
            tokens,
            self._sampling,
            seed,
            scored=True,
            states=self._states,
        )

    def _pieces(self, replies: Sequence[_Reply]) -> Iterator[tuple[_Reply, Piece | None]]:
        """Write all of them to their ends."""
        try:
            slots: SequencePool[_Reply] = SequencePool(self._loaded, len(replies), keep=True)
        except InterruptedError:
            yield from _unwritten(replies)
            return
        try:
            for reply in replies:
                slots.start(reply)
            with suppress(InterruptedError):
                while slots.busy and not self._cancel.is_set():
                    for reply in replies:
                        if reply.index in self._stopped:
                            reply.stop(Reason.CANCELLED)
                    yield from slots.step()
            yield from slots.stop()
        finally:
            slots.close()

    def _finished(self, writing: ReplyState, timings: Timings) -> Finished:
        return Finished(
            writing.reason or Reason.CANCELLED,
            writing.text,
            writing.reasoning,
            writing.seed,
            self._reader.usage(writing.written, writing.reasoned),
            timings,
            writing.log_probability,
            writing.observed,
            writing.unfinished,
        )


def _unwritten(replies: Sequence[_Reply]) -> Iterator[tuple[_Reply, None]]:
    """The ends of replies that were stopped before they began."""
    for reply in replies:
        yield reply, None
