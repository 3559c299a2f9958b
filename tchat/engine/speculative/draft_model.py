"""A draft model: a smaller one with the same vocabulary, whose tokens are the guesses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.engine.cancel import Cancel
from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache
from tchat.engine.model import Model
from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.engine.speculative.decoding import DecodeTimes

ROOM = 512  # tokens of its KV cache to begin with
LARGEST = 8  # tokens of a decode with its guesses
MOST_ODD = 128  # tokens that one vocabulary may have more than the other, as llama.cpp allows
SURE = 0.4  # probability below which a token is no guess, nor what would follow it
PRIOR = (3.5, 5.0)  # right guesses, of so many, to begin with
MEMORY = 0.99  # of what was noted, with each guess


class DraftModel:
    """The model, loaded, and how it did so far. Close it.

    Args:
        path: Its file, checked before.
        main: The model that it guesses for.
        size: Tokens of context of that.
        threads: As of `Context`.
        cancel: Stops its decodes.

    Raises:
        UsageError: It has another vocabulary, or its cache cannot be cut back.
        ModelError, DoesNotFit, InterruptedError: It cannot be loaded.
    """

    def __init__(self, path: Path, main: Model, *, size: int, threads: int, cancel: Cancel) -> None:
        self.model = Model(path, cancel=cancel)
        try:
            self._refuse_unlike(main)
            context = Context(
                self.model, size=size, room=ROOM, batch=512, threads=threads, cancel=cancel
            )
        except BaseException:
            self.model.close()
            raise
        self.context, self.kv = context, KVCache(context, self.model)
        self._right, self._tried = PRIOR
        self._seconds = 0.0  # of one guess
        self._failed = False

    def close(self) -> None:
        """Free it. Closing twice is harmless."""
        self.context.close()
        self.model.close()

    def _refuse_unlike(self, main: Model) -> None:
        name, other = (single_line(model.path.name) for model in (self.model, main))
        if self.model.shape.recurrent:
            raise UsageError(
                f"{name} cannot draft: its cache cannot be cut back", "choose a plain Transformer"
            )
        here, there = self.model.shape.n_vocab, main.shape.n_vocab
        same = abs(here - there) <= MOST_ODD and all(
            self.model.piece(token) == main.piece(token) for token in range(min(here, there))
        )
        if not same:
            raise UsageError(
                f"{name} cannot draft for {other}: their vocabularies differ",
                "choose a smaller model of the same family",
            )

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if size > LARGEST or self._failed:
            return 0.0
        share = self._right / self._tried
        expected = sum(share**count for count in range(size))
        each = self._seconds or times.of(1) / 4  # or it would never be tried
        return expected * times.of(1) / (times.of(size) + (size - 1) * each)

    def guess(self, tokens: Sequence[int], count: int) -> list[int]:
        """Up to ``count`` tokens that may come behind ``tokens``; none when it was stopped.

        Once llama.cpp failed there are none any more: the reply goes on without.
        """
        try:
            return self._guessed(tokens, count)
        except TchatError:
            self._failed = True
            return []

    def _guessed(self, tokens: Sequence[int], count: int) -> list[int]:
        if len(tokens) + count > self.context.size or not self.kv.reserve(len(tokens) + count):
            return []
        if not all(self.kv.read(tokens[self.kv.reuse(tokens) :])):
            return []
        guessed: list[int] = []
        started = time.perf_counter()
        for _ in range(count):
            token, probability = self._likeliest()
            if probability < SURE:
                break
            guessed.append(token)
            if len(guessed) < count and not self.kv.step(token):
                break
        if guessed:
            each = (time.perf_counter() - started) / len(guessed)
            self._seconds += (each - self._seconds) * (0.3 if self._seconds else 1.0)
        return guessed

    def judge(self, guessed: int, right: int) -> None:
        """As of `Drafter`."""
        for place in range(min(right + 1, guessed)):
            self._right = PRIOR[0] + (self._right - PRIOR[0]) * MEMORY + (place < right)
            self._tried = PRIOR[1] + (self._tried - PRIOR[1]) * MEMORY + 1

    def _likeliest(self) -> tuple[int, float]:
        """The likeliest next token, and its probability."""
        import numpy

        logits = self.context.output()
        token = int(logits.argmax())
        return token, 1 / float(numpy.exp(logits - logits[token]).sum())


class ModelDrafter:
    """The guesses of a `DraftModel` in one reply.

    Args:
        draft: The model.
        tokens: The prompt.
    """

    def __init__(self, draft: DraftModel, tokens: Sequence[int]) -> None:
        self._draft, self._tokens = draft, list(tokens)
        self.gain, self.judge = draft.gain, draft.judge

    @property
    def has_draft(self) -> bool:
        """As of `Drafter`; a draft model always has one."""
        return True

    def append(self, token: int) -> None:
        """Go on by one token of the reply."""
        self._tokens.append(token)

    def guess(self, count: int) -> Sequence[int]:
        """What the draft model would write."""
        return self._draft.guess(self._tokens, count)
