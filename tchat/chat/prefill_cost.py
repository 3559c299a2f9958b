"""Prefill cost: tokens to process again, why, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tchat.engine.events import PREFILL_TIME, CacheRestored, Event, Notice, PromptProgress
from tchat.humanize import duration_text, measured_text
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.chat.backend import Backend
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.encoder import EncodedPrompt

UNCOUNTED_TOKENS = 64  # that are prefilled anyway: marks between messages, end of a reply
NOT_IN_MEMORY = N_("no longer in memory")
WORTH_SECONDS = 1.0  # the least prefill time that is shown
WORTH_TOKENS = 256  # the fewest tokens that are shown where the prefill speed is not known


@dataclass(frozen=True, slots=True)
class PrefillCost:
    """Tokens of a prompt to process again, beyond its new message.

    Attributes:
        tokens: Of the chat so far, to be read again.
        seconds: That takes, by what was measured with this model here; 0 where it never was.
        why: Why it must be; empty where that is not known.
        new: Tokens of the new message, which are read in any case.
    """

    tokens: int
    seconds: float
    why: str
    new: int = 0

    @property
    def is_notable(self) -> bool:
        """Whether it is large enough to be shown."""
        if self.seconds:
            return self.tokens > UNCOUNTED_TOKENS and self.seconds >= WORTH_SECONDS
        return self.tokens >= WORTH_TOKENS

    @property
    def short(self) -> str:
        """``Reloading 7,912 tokens (about 31 s)``."""
        if not self.seconds:
            return trn("Reloading {count:,} token", "Reloading {count:,} tokens", self.tokens)
        return trn(
            "Reloading {count:,} token (about {time})",
            "Reloading {count:,} tokens (about {time})",
            self.tokens,
            time=_about(self.seconds),
        )

    def left(self, unread: int) -> PrefillCost | None:
        """What is left of it while ``unread`` tokens are; None where that is not notable."""
        tokens = max(0, min(self.tokens, unread - self.new))
        seconds = self.seconds * tokens / self.tokens if self.tokens else 0.0
        cost = replace(self, tokens=tokens, seconds=seconds)
        return cost if cost.is_notable else None

    def __str__(self) -> str:
        return self.with_reason(self.short)

    def with_reason(self, text: str) -> str:
        """Append the reason to ``text``, if it is known."""
        return tr("{cost}: {reason}", cost=text, reason=self.why) if self.why else text


def _about(seconds: float) -> str:
    """An estimate has no digits behind its seconds."""
    return duration_text(seconds) if seconds >= 1 else measured_text(seconds)


@dataclass(slots=True)
class PromptRead:
    """The last prompt that the model read.

    Attributes:
        messages: The prompt.
        path: Ids of the session's messages up to its question.
        tools: Names of the tools that it offered.
        replies: Ids of the replies that were written to it.
    """

    messages: Sequence[ChatMessage]
    path: list[int]
    tools: tuple[str, ...] = ()
    replies: set[int] = field(default_factory=set)

    def leads_to(self, path: Sequence[int]) -> bool:
        """Whether ``path`` goes on from one of the replies."""
        count = len(self.path)
        return [*path[:count]] == self.path and not self.replies.isdisjoint(path[count:])


def prefill_cost_of(
    backend: Backend, prompt: EncodedPrompt, new: Sequence[ChatMessage], why: str
) -> PrefillCost | None:
    """Tokens of a chat that neither the KV cache nor a snapshot holds, without the turn ``new``.

    On the engine's thread; None without a model. ``why`` is the reason that the session knows.
    """
    engine = backend.local_engine
    loaded = engine.loaded if engine is not None else None
    if engine is None or loaded is None:
        return None
    tokens = prompt.tokens
    saved = engine.snapshots.count_saved(loaded, tokens) if engine.snapshots else 0
    cached = max(saved, loaded.kv.cached_prefix(tokens))
    history = _history_tokens(prompt, new, loaded.model.piece)
    unread = max(0, history - cached)
    if not why and not loaded.kv.tokens:
        why = tr(NOT_IN_MEMORY)
    elif not why and not loaded.model.shape.divisible:
        why = tr("this model can only continue where it stopped")
    return PrefillCost(unread, engine.prefill_time(unread), why, len(tokens) - history)


def _history_tokens(
    prompt: EncodedPrompt, new: Sequence[ChatMessage], piece: Callable[[int], bytes]
) -> int:
    """How many tokens of a prompt come before the text of its new turn."""
    end = len(prompt.text)
    for message in reversed(new):
        end = prompt.text.rfind(message.content.strip(), 0, end)
        if end < 0:  # the template writes it in another way
            return len(prompt.tokens)
    left = len(prompt.text[end:].encode("utf-8", "replace")) + len(prompt.unfinished)
    count = len(prompt.tokens)
    while left > 0 and count:
        count -= 1
        left -= len(piece(prompt.tokens[count]))
    return count


def prefill_reason(
    before: PromptRead | None,
    now: Sequence[ChatMessage],
    path: Sequence[int],
    *,
    tools: tuple[str, ...] = (),
    other_model: bool,
    is_reduced: bool,
) -> str:
    """Why a chat must be processed again, as far as the session tells; else empty.

    Args:
        before: The last prompt that was read here; None when there was none.
        now: The chat as it goes into the next one.
        path: Ids of the messages that the next prompt follows.
        tools: Names of the tools that it offers.
        other_model: Whether another model wrote its last reply.
        is_reduced: Whether old turns or results are dropped from the context.
    """
    if before is None:
        return tr("model changed") if other_model else tr(NOT_IN_MEMORY)
    if before.tools != tools:
        return tr("other tools are on")
    if _system(before.messages) != _system(now):
        return tr("system prompt changed")
    if is_reduced:
        return tr("context full, old messages dropped")
    if [*path] == before.path[: len(path)]:
        return tr("chat goes back to an earlier message")
    return "" if before.leads_to(path) else tr("branch changed")


def _system(messages: Sequence[ChatMessage]) -> str:
    return messages[0].content if messages and messages[0].role == "system" else ""


class PrefillReport:
    """Report, after prefill, what a shown prefill cost came to: the tokens read and the time."""

    def __init__(self, cost: PrefillCost | None) -> None:
        self._due = cost if cost is not None and cost.is_notable else None
        self._started = 0.0

    def record(self, event: Event) -> Notice | None:
        """Record an event of the turn; return a notice at the end of prefill."""
        if self._due is None or not isinstance(event, PromptProgress):
            return None
        self._started = self._started or time.perf_counter()
        if event.done < event.total:
            return None
        cost, self._due = self._due, None
        text = trn(
            "Reloaded {count:,} token in {time}",
            "Reloaded {count:,} tokens in {time}",
            max(0, event.total - event.reused - cost.new),
            time=measured_text(time.perf_counter() - self._started),
        )
        return Notice(PREFILL_TIME, cost.with_reason(text))


def restored_text(event: CacheRestored) -> str:
    """``restored 12,410 tokens of the KV cache in 0.4 s (saved 38 s)``."""
    took = measured_text(event.seconds)
    text = trn(
        "restored {count:,} token of the KV cache in {took}",
        "restored {count:,} tokens of the KV cache in {took}",
        event.tokens,
        took=took,
    )
    return (
        tr("{text} (saved {saved})", text=text, saved=measured_text(event.saved))
        if event.saved
        else text
    )
