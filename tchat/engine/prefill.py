"""Prefill: bring a prompt, or a draft that is still being typed, into the KV cache."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from tchat.engine.cancel import Cancel
from tchat.engine.events import CacheRestored, Event, Notice, PromptProgress, TokenUsage
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.encoder import EncodedPrompt, refuse_unfit
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.template import Think

# A draft is prefilled in small batches, so that what was typed meanwhile is looked at.
BATCH_SECONDS = 0.15
BATCH_TOKENS = (24, 128)  # at least and at most; fewer are no faster, see `threads.FEW`
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
        prompt: What is prefilled.
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
        self._restored, self._on_progress = restored, on_progress
        reused = self._kv.reuse_tokens(prompt.tokens)
        self.tokens = reused if len(reused) < self._context.size else prompt.tokens
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

    def refuse_unfit(self, more: int = 0) -> None:
        """As `encoder.refuse_unfit`, for this prompt and context."""
        refuse_unfit(self.tokens, self._context.size, more)

    def usage(self, written: int, reasoned: int) -> TokenUsage:
        """The counts of a reply of ``written`` tokens, ``reasoned`` of them reasoning."""
        restored = self._restored.tokens if self._restored else 0
        return TokenUsage(
            prompt=len(self.tokens),
            reused=self.reused,
            read=len(self.tokens) - self.reused,
            completion=written,
            reasoning=reasoned,
            restored=min(restored, self.reused),
        )

    def run(self, *, reserve: int = 1, leave: int = 0) -> Generator[Event, None, bool]:
        """Prefill; returns False when it was stopped.

        Args:
            reserve: Tokens of capacity to reserve behind the prompt.
            leave: Tokens at its end to leave out.
        """
        started = time.perf_counter()
        self.done = yield from self._run(reserve, leave)
        self.seconds = time.perf_counter() - started
        return self.done

    def _run(self, reserve: int, leave: int) -> Generator[Event, None, bool]:
        total = len(self.tokens)
        if not self._kv.reserve(min(total + reserve, self._context.size)):
            return False
        self.reused = self._kv.reuse(self.tokens)
        if self._kv.lost:
            text = (
                f"{self._kv.lost:,} tokens are processed again: "
                "this model's KV cache cannot be truncated"
            )
            yield Notice("reread", text)
        yield PromptProgress(self.reused, total, self.reused)
        end = total - leave
        self._on_progress(end - self.reused)
        while (cached := len(self._kv.tokens)) < end:
            for done in self._kv.prefill(self.tokens[cached:end]):
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
        DoesNotFit: There is no room for it beside the chat.
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
        """Drop what the cache holds of another chat, where there is no room beside it."""
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
