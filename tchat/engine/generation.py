"""One reply of a loaded engine: read, write, finish."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from tchat.engine.cancel import Cancel
from tchat.engine.events import (
    CacheRestored,
    Event,
    Finished,
    LabelScores,
    Reason,
    Timings,
    Usage,
)
from tchat.engine.label_scoring import score_labels
from tchat.engine.loading import LoadedModel
from tchat.engine.prefill import OnProgress, Prefill
from tchat.engine.prompt.tokenization import EncodedPrompt
from tchat.engine.reply_state import ReplyState
from tchat.engine.sampling import is_greedy
from tchat.engine.speculative.decoding import SpeculativeSteps
from tchat.settings import Sampling


class Generation:
    """One reply of a loaded engine."""

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        sampling: Sampling,
        seed: int,
        cancel: Cancel,
        *,
        restored: CacheRestored | None = None,
        note: OnProgress = lambda _left: None,
    ) -> None:
        self._loaded, self._prompt, self._cancel = loaded, prompt, cancel
        self._sampling, self._seed = sampling, seed
        self._reader = Prefill(loaded, prompt, cancel, restored, note)

    @property
    def reading(self) -> tuple[int, float]:
        """Tokens that were read, and the seconds that took."""
        return self._reader.measured

    def events(self, load: float) -> Iterator[Event]:
        """Read the prompt, write the reply, finish."""
        reader = self._reader
        reader.refuse_unfit()
        # Made before the prompt is read, which may take a minute: a bad grammar is told at once.
        writing = ReplyState(self._loaded, self._prompt, reader.tokens, self._sampling, self._seed)
        try:
            done = yield from reader.read()
            started = time.perf_counter()
            steps = self._steps()
            reason = (yield from self._write(writing, steps)) if done else Reason.CANCELLED
            yield from writing.end()
            yield from writing.notices
        finally:
            writing.close()
        write = time.perf_counter() - started
        usage = reader.usage(writing.written, writing.reasoned)
        yield Finished(
            reason,
            writing.text,
            writing.reasoning,
            writing.seed,
            replace(usage, guessed=steps.guessed, right=steps.right),
            Timings(load, reader.seconds, write, reader.restore_seconds),
            unfinished=writing.unfinished,
        )

    def choice(self, labels: Sequence[str], load: float) -> Iterator[Event]:
        """Read the prompt, weigh the labels, finish."""
        reader, model, kv = self._reader, self._loaded.model, self._loaded.kv
        longest = max(len(model.tokenize(label, special=False)) for label in labels)
        reader.refuse_unfit(longest)
        done = yield from reader.read(room=longest)
        started = time.perf_counter()
        weighed = score_labels(model, self._loaded.context, kv, labels) if done else None
        write = time.perf_counter() - started
        if weighed is not None:
            yield LabelScores(weighed)
        yield Finished(
            Reason.STOP if weighed else Reason.CANCELLED,
            weighed[0][0] if weighed else "",
            "",
            self._seed,
            reader.usage(0, 0),
            Timings(load, reader.seconds, write, reader.restore_seconds),
        )

    def _steps(self) -> SpeculativeSteps:
        speculation = self._loaded.speculation
        if speculation is not None:
            speculation.times.note_reading(*self._reader.measured)
        greedy = is_greedy(self._sampling)
        return SpeculativeSteps(speculation, self._loaded.kv, self._reader.tokens, greedy=greedy)

    def _write(
        self, writing: ReplyState, steps: SpeculativeSteps
    ) -> Generator[Event, None, Reason]:
        """Draw and decode until the reply ends; returns why it did."""
        context = self._loaded.context
        guesses: Sequence[int] = ()
        while writing.reason is None:
            for place, guess in enumerate((*guesses, None)):
                token = writing.draw(context, steps.row + place)
                yield from writing.take(token)
                if writing.reason is not None or token != guess:
                    break
            steps.keep(place)
            if writing.reason is None:
                decoded = None if self._cancel.is_set() else steps.decode(token, writing.left)
                if decoded is None:
                    return Reason.CANCELLED
                guesses = decoded
        return writing.reason


def empty_reply(seed: int = 0) -> Finished:
    """The end of a reply that was stopped before it began."""
    return Finished(Reason.CANCELLED, "", "", seed, Usage(0, 0, 0, 0), Timings(0.0, 0.0, 0.0))
