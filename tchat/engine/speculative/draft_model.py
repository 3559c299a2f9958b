"""A draft model: a smaller model with the same vocabulary drafts the tokens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tchat.engine.cancel import Cancel
from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache
from tchat.engine.model import Model
from tchat.engine.speculative.acceptance import DecodeTimes
from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line

INITIAL_CAPACITY = 512  # tokens of its KV cache at first
MAX_BATCH = 8  # tokens of a decode with its drafted tokens
MAX_VOCAB_DIFFERENCE = 128  # tokens that one vocabulary may have more, as llama.cpp allows
MIN_PROBABILITY = 0.4  # a less likely token ends the draft
PRIOR = (3.5, 5.0)  # accepted tokens, of so many, to begin with
DECAY = 0.99  # of what was recorded, with each drafted token


class DraftModel:
    """The loaded model, and its acceptance rate so far. Close it.

    Args:
        path: Its file, already verified.
        main: The model that it drafts for.
        size: Context size of that model.
        threads: As of `Context`.
        cancel: Stops its decodes.

    Raises:
        UsageError: It has another vocabulary, or its cache cannot be cut back.
        ModelError, DoesNotFit, InterruptedError: It cannot be loaded.
    """

    def __init__(self, path: Path, main: Model, *, size: int, threads: int, cancel: Cancel) -> None:
        self.model = Model(path, cancel=cancel)
        try:
            self._require_same_vocabulary(main)
            self.context = Context(
                self.model,
                size=size,
                capacity=INITIAL_CAPACITY,
                batch=512,
                threads=threads,
                cancel=cancel,
            )
        except BaseException:
            self.model.close()
            raise
        self.kv = KVCache(self.context, self.model)
        self._accepted, self._drafted = PRIOR
        self._seconds = 0.0  # of one drafted token
        self._failed = False

    def close(self) -> None:
        """Free it. Closing twice is harmless."""
        self.context.close()
        self.model.close()

    def _require_same_vocabulary(self, main: Model) -> None:
        name, other = (single_line(model.path.name) for model in (self.model, main))
        if self.model.shape.recurrent:
            raise UsageError(
                f"{name} cannot draft: its KV cache cannot be truncated",
                "choose a plain Transformer",
            )
        here, there = self.model.shape.n_vocab, main.shape.n_vocab
        same = abs(here - there) <= MAX_VOCAB_DIFFERENCE and all(
            self.model.piece(token) == main.piece(token) for token in range(min(here, there))
        )
        if not same:
            raise UsageError(
                f"{name} cannot draft for {other}: their vocabularies differ",
                "choose a smaller model of the same family",
            )

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if size > MAX_BATCH or self._failed:
            return 0.0
        rate = self._accepted / self._drafted
        expected = sum(rate**count for count in range(size))
        each = self._seconds or times.of(1) / 4  # or it would never be tried
        return expected * times.of(1) / (times.of(size) + (size - 1) * each)

    def draft(self, tokens: Sequence[int], count: int) -> list[int]:
        """Up to ``count`` tokens that may follow ``tokens``; none when it was stopped.

        After llama.cpp failed there are none any more: the reply goes on without drafts.
        """
        try:
            return self._draft(tokens, count)
        except TchatError:
            self._failed = True
            return []

    def _draft(self, tokens: Sequence[int], count: int) -> list[int]:
        if len(tokens) + count > self.context.size or not self.kv.reserve(len(tokens) + count):
            return []
        if not all(self.kv.prefill(tokens[self.kv.reuse(tokens) :])):
            return []
        drafted: list[int] = []
        started = time.perf_counter()
        for _ in range(count):
            token, probability = self._likeliest()
            if probability < MIN_PROBABILITY:
                break
            drafted.append(token)
            if len(drafted) < count and not self.kv.step(token):
                break
        if drafted:
            each = (time.perf_counter() - started) / len(drafted)
            self._seconds += (each - self._seconds) * (0.3 if self._seconds else 1.0)
        return drafted

    def record(self, drafted: int, accepted: int) -> None:
        """As of `Drafter`."""
        for place in range(min(accepted + 1, drafted)):
            self._accepted = PRIOR[0] + (self._accepted - PRIOR[0]) * DECAY + (place < accepted)
            self._drafted = PRIOR[1] + (self._drafted - PRIOR[1]) * DECAY + 1

    def _likeliest(self) -> tuple[int, float]:
        """The likeliest next token, and its probability."""
        import numpy

        logits = self.context.logits_array()
        token = int(logits.argmax())
        return token, 1 / float(numpy.exp(logits - logits[token]).sum())


class ModelDrafter:
    """A `Drafter` by a `DraftModel`.

    Args:
        model: The model.
        tokens: The prompt.
    """

    def __init__(self, model: DraftModel, tokens: Sequence[int]) -> None:
        self._model, self._tokens = model, list(tokens)
        self.gain, self.record = model.gain, model.record

    @property
    def has_draft(self) -> bool:
        """As of `Drafter`; a draft model always has one."""
        return True

    def append(self, token: int) -> None:
        """Add a token of the reply."""
        self._tokens.append(token)

    def draft(self, count: int) -> Sequence[int]:
        """What the draft model would write."""
        return self._model.draft(self._tokens, count)
