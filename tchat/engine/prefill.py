"""Bringing a prompt into the KV cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from tchat.engine.cancel import Cancel
from tchat.engine.events import CacheRestored, Event, Notice, PromptProgress, Usage
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.encoder import refuse_unfit
from tchat.engine.prompt.tokenization import EncodedPrompt

OnProgress = Callable[[int], object]


class Prefill:
    """Reads one prompt, as far as the KV cache does not hold it.

    Args:
        loaded: Where to.
        prompt: What is read.
        cancel: Stops it.
        restored: What was brought from disk for it.
        note: Called before the first batch and after each, with the number of tokens left; the KV
            cache may hold less of the prompt afterwards.

    Attributes:
        tokens: The prompt in the cache's own tokens.
        reused: Tokens that the cache held.
        seconds: What reading took.
        done: Whether all of it was read.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        prompt: EncodedPrompt,
        cancel: Cancel,
        restored: CacheRestored | None = None,
        note: OnProgress = lambda _left: None,
    ) -> None:
        self._context, self._kv, self._cancel = loaded.context, loaded.kv, cancel
        self._restored, self._note = restored, note
        self.tokens = self._shortest(prompt.tokens)
        self.reused = 0
        self.seconds = 0.0
        self.done = False

    @property
    def measured(self) -> tuple[int, float]:
        """Tokens that were read, and the seconds that took; none when it was stopped."""
        return (len(self.tokens) - self.reused if self.done else 0, self.seconds)

    def refuse_unfit(self, more: int = 0) -> None:
        """Refuse an empty prompt, and one that leaves no room for ``more`` tokens and one.

        Raises:
            UsageError, DoesNotFit: It is refused.
        """
        refuse_unfit(self.tokens, self._context.size, more)

    def read(self, *, room: int = 1, but: int = 0) -> Generator[Event, None, bool]:
        """Bring the prompt into the KV cache; returns False when it was stopped.

        Args:
            room: Tokens to make room for behind it.
            but: Tokens at its end to leave unread.
        """
        started = time.perf_counter()
        self.done = yield from self._read(room, but)
        self.seconds = time.perf_counter() - started
        return self.done

    def usage(self, written: int, reasoned: int) -> Usage:
        """The counts of a reply of ``written`` tokens, ``reasoned`` of them reasoning."""
        restored = self._restored.tokens if self._restored else 0
        return Usage(
            prompt=len(self.tokens),
            reused=self.reused,
            read=len(self.tokens) - self.reused,
            completion=written,
            reasoning=reasoned,
            restored=min(restored, self.reused),
        )

    @property
    def restore_seconds(self) -> float:
        """What bringing a part of it from disk took."""
        return self._restored.seconds if self._restored else 0.0

    def _shortest(self, prompt: list[int]) -> list[int]:
        """``prompt`` in the cache's own tokens, unless only its plain spelling fits."""
        spliced = self._kv.reuse_tokens(prompt)
        return spliced if len(spliced) < self._context.size else prompt

    def _read(self, room: int, but: int) -> Generator[Event, None, bool]:
        total = len(self.tokens)
        if not self._kv.reserve(min(total + room, self._context.size)):
            return False
        self.reused = self._kv.reuse(self.tokens)
        if self._kv.reread:
            text = (
                f"this model's cache cannot be cut back: {self._kv.reread:,} tokens are read again"
            )
            yield Notice("reread", text)
        yield PromptProgress(self.reused, total, self.reused)
        end = total - but
        self._note(end - self.reused)
        while (held := len(self._kv.tokens)) < end:
            for done in self._kv.read(self.tokens[held:end]):
                held = len(self._kv.tokens)
                if not done or (self._cancel.is_set() and held < end):
                    return False
                self._note(end - held)
                yield PromptProgress(held + but, total, self.reused)
                if len(self._kv.tokens) < held:
                    break
        return True
