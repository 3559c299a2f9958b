"""Build the prompts of a session: choose the messages, encode them once, tell the cost.

A draft is a prompt that is being typed: it is counted and prefilled, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from tchat.chat.branch import Branch, BranchReader, excerpted_text, left_out_text, shortened_text
from tchat.chat.context_window import (
    ALL_WHOLE,
    ContextWindow,
    Count,
    Cut,
    Encode,
    Excerpts,
    Turn,
    WindowFitter,
    reply_reserve,
)
from tchat.chat.prefill_cost import PrefillCost, PromptRead, prefill_cost_of, prefill_reason
from tchat.engine.events import Notice
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.chat.backend import Backend, Encoder
    from tchat.chat.model import ChatModel
    from tchat.engine.events import PromptProgress
    from tchat.engine.prompt.encoder import EncodedPrompt
    from tchat.engine.prompt.template import Think
    from tchat.sessions.store import Store

T = TypeVar("T")
Prepare: TypeAlias = "Callable[[Encoder], PreparedPrompt]"

MARKS = 4  # tokens that a template writes around a message, about
MAX_COUNTS = 1 << 16  # messages whose tokens are remembered


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """An encoded prompt, of a turn or of a draft.

    Attributes:
        branch: What it follows.
        new: Its own turn: a question, perhaps with the beginning of the reply.
        has_dropped_turns: Whether turns were dropped from the context for it.
        has_shortened_results: Whether results of tools were shortened for it.
    """

    branch: Branch
    new: Turn
    window: ContextWindow
    has_dropped_turns: bool
    has_shortened_results: bool = False

    @property
    def is_reduced(self) -> bool:
        """Whether anything of the last prompt left the context for it."""
        return self.has_dropped_turns or self.has_shortened_results

    def with_prompt(self, prompt: EncodedPrompt | None) -> PreparedPrompt:
        """The same messages, encoded in another way."""
        return replace(self, window=replace(self.window, prompt=prompt))

    def notices(self, context_size: int) -> Iterator[Notice]:
        """What left the context for it, told."""
        window = self.window
        if self.has_shortened_results and window.shortened:
            yield Notice("window", shortened_text(window.shortened, context_size))
        if window.excerpts:
            names = [whole.tool_name for whole, _ in window.excerpts]
            yield Notice("window", excerpted_text(names, context_size))
        if self.has_dropped_turns and window.left_out:
            text = left_out_text(self.branch.messages, window.left_out, context_size)
            yield Notice("window", text)

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """All messages of it."""
        return self.window.messages

    @property
    def history(self) -> tuple[ChatMessage, ...]:
        """The messages before its own turn."""
        return self.window.messages[: -len(self.new)]

    @property
    def prompt(self) -> EncodedPrompt | None:
        """The tokens; None where it is too long to be encoded."""
        return self.window.prompt


class PromptBuilder:
    """Build the prompts of one chat. Drafts may be prepared on any thread.

    Attributes:
        tools: Names of the tools that prompts offer.
    """

    def __init__(self, store: Store) -> None:
        self.branches = BranchReader(store)
        self.tools: tuple[str, ...] = ()
        self._window_start: int | None = None  # the question that the last prompt began with
        self._excerpts: Excerpts = ()  # results of which the prompts so far had only the ends
        self._cut: tuple[int, int] | None = None  # a question, and results behind it: see `Cut`
        self._read: PromptRead | None = None  # the last prompt
        self._counters: _Recent[Count] = _Recent()
        self._fitters: _Recent[WindowFitter] = _Recent()
        self._drafts: _Recent[PreparedPrompt] = _Recent()

    def prepare(
        self,
        encoder: Encoder,
        branch: Branch,
        new: Turn,
        *,
        system: str,
        settings: Settings,
        labels: bool = False,
        question_id: int | None = None,
    ) -> PreparedPrompt:
        """Prepare the prompt of a turn: system prompt, the turns of ``branch`` that fit, ``new``.

        ``new`` may hold the beginning of the reply. With ``labels``, one of them is the reply.
        ``question_id`` is the question of the turn: a step of it keeps what the last one left out.

        Raises:
            InterruptedError: The encoder was stopped.
        """
        fitter = self._fitter_of(encoder, branch, system, settings, question_id)
        encode = _encoding(encoder, new, settings, labels=labels)
        return self._with_window(branch, new, fitter.fit(new, encode), question_id)

    def prepare_draft(
        self, encoder: Encoder, branch: Branch, draft: str, *, system: str, settings: Settings
    ) -> PreparedPrompt:
        """Prepare the prompt of a draft; it takes time by the draft, not by the session.

        Raises:
            InterruptedError: The encoder was stopped.
        """
        key = *self._key(encoder, branch, system, settings), draft
        if (known := self._drafts.get(key)) is not None:
            return known
        new = (ChatMessage("user", draft),)
        encode = _encoding(encoder, new, settings)
        fitter = self._fitter_of(encoder, branch, system, settings)
        return self._drafts.add(key, self._with_window(branch, new, fitter.fit(new, encode)))

    def cost(self, model: ChatModel, prepared: PreparedPrompt, name: str) -> PrefillCost | None:
        """The prefill cost of a prompt with the model called ``name``; on the engine thread.

        None for a chat without a reply, and for a prompt that is too long to be encoded.
        """
        answered = any(message.role == "assistant" for message in prepared.history)
        if prepared.prompt is None or not answered:
            return None
        last = prepared.branch.last_written
        same = {name, model.metadata.sha256 or name}  # one file may go by two names
        why = prefill_reason(
            self._read,
            prepared.history,
            prepared.branch.ids,
            tools=self.tools,
            other_model=last is not None and same.isdisjoint({last.model, last.model_sha256}),
            is_reduced=prepared.is_reduced,
        )
        return prefill_cost_of(model.engine, prepared.prompt, prepared.new, why)

    def record_sent(self, prepared: PreparedPrompt, question_id: int) -> None:
        """Remember the window of a prompt that is sent now, for the next one.

        ``question_id`` is the question of its turn.
        """
        starts = [*prepared.branch.starts, question_id]
        window = prepared.window
        self._window_start = starts[window.first]
        self._cut = (
            (starts[window.cut.turn], window.cut.results) if window.cut > ALL_WHOLE else None
        )
        self._excerpts += window.excerpts
        path = [*prepared.branch.ids, question_id]
        self._read = PromptRead(prepared.messages, path, self.tools)

    def record_replies(self, *message_ids: int) -> None:
        """Remember the replies to the last prompt."""
        if self._read is not None:
            self._read.replies.update(message_ids)

    def _with_window(
        self, branch: Branch, new: Turn, window: ContextWindow, question_id: int | None = None
    ) -> PreparedPrompt:
        first, cut = self._last_window(branch, question_id)
        return PreparedPrompt(branch, new, window, window.first > first, window.cut > cut)

    def _last_window(self, branch: Branch, question_id: int | None) -> tuple[int, Cut]:
        """The turn of ``branch`` that the window of the last prompt began with, and its cut.

        The first on another branch, which need not be as long: there the window begins afresh.
        """
        starts = branch.starts if question_id is None else [*branch.starts, question_id]
        first = starts.index(self._window_start) if self._window_start in starts else 0
        if self._cut is None or self._cut[0] not in starts:
            return first, ALL_WHOLE
        return first, Cut(starts.index(self._cut[0]), self._cut[1])

    def _key(
        self,
        encoder: Encoder,
        branch: Branch,
        system: str,
        settings: Settings,
        question_id: int | None = None,
    ) -> tuple[object, ...]:
        """Everything that the prompt of a draft depends on besides its text."""
        model = encoder.model, encoder.template, encoder.size, encoder.tools
        sampling = settings.sampling
        options = system, settings.think, sampling.max_tokens, sampling.grammar
        return branch, *model, *options, self._window_start, self._cut, self._excerpts, question_id

    def _fitter_of(
        self,
        encoder: Encoder,
        branch: Branch,
        system: str,
        settings: Settings,
        question_id: int | None = None,
    ) -> WindowFitter:
        key = self._key(encoder, branch, system, settings, question_id)
        if (known := self._fitters.get(key)) is not None:
            return known
        model = encoder.model, encoder.template
        counter = self._counters.get(model) or self._counters.add(model, _token_counter(encoder))
        first, cut = self._last_window(branch, question_id)
        fitter = WindowFitter(
            [ChatMessage("system", system)] if system else [],
            branch.turns,
            limit=encoder.size - reply_reserve(encoder.size, settings.sampling.max_tokens),
            count=counter,
            first=first,
            pinned=branch.pinned,
            cut=cut,
            excerpts=self._excerpts,
        )
        return self._fitters.add(key, fitter)


class _Recent(Generic[T]):
    """A cache of the last two values, by key. Threads may share it."""

    def __init__(self) -> None:
        self._known: tuple[tuple[object, T], ...] = ()

    def get(self, key: object) -> T | None:
        return next((value for known, value in self._known if known == key), None)

    def add(self, key: object, value: T) -> T:
        self._known = ((key, value), *self._known[:1])
        return value


def _token_counter(encoder: Encoder) -> Count:
    """A function that estimates the tokens of a message in prompts of one model."""

    @lru_cache(MAX_COUNTS)
    def count(message: ChatMessage) -> int:
        try:
            calls = (text for call in message.tool_calls for text in (call.name, call.arguments))
            return sum(map(encoder.count, (message.content, *calls))) + MARKS
        except DoesNotFit:
            return encoder.size

    return count


def _encoding(encoder: Encoder, new: Turn, settings: Settings, *, labels: bool = False) -> Encode:
    """How the engine encodes the prompt of a turn."""
    think: Think = settings.think  # type: ignore[assignment]  # checked by its choices

    def encode(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        if encoder.stopped():
            raise InterruptedError
        if labels:
            return encoder.for_answer(messages)
        begun = new[-1].role == "assistant"
        return encoder.for_reply(messages, settings.sampling, think, continue_final=begun)

    return encode


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of a draft, of the context once it is sent, and the size of the context at most."""

    draft: int
    used: int
    context_size: int


def count_draft(engine: Backend, draft: str, prepare: Prepare) -> TokenCount | None:
    """Count the tokens of a draft exactly, on any thread; None if the model is not loaded."""
    from tchat.engine.engine_thread import on_large_stack

    with engine.counting() as encoder:
        if encoder is None:
            return None
        return on_large_stack(partial(_count, encoder, draft, prepare))


def _count(encoder: Encoder, draft: str, prepare: Prepare) -> TokenCount:
    size = encoder.size
    try:
        tokens = encoder.count(draft)
    except DoesNotFit:
        tokens = size
    if tokens >= size:
        return TokenCount(size, size, size)
    prompt = prepare(encoder).prompt
    return TokenCount(tokens, size if prompt is None else min(len(prompt.tokens), size), size)


def prefill_draft(
    engine: Backend, prepare: Prepare, settings: Settings, should_continue: Callable[[], bool]
) -> Iterator[PromptProgress]:
    """Prefill the stable part of a draft, while ``should_continue``.

    Nothing if turns would have to leave for it, or the model is not loaded.
    """
    from tchat.engine.generation import DraftPrefill

    own = engine.local_engine
    loaded = own.loaded if own is not None else None
    if own is None or loaded is None or not own.in_process:
        return
    size = loaded.context.size
    limit = size - reply_reserve(size, settings.sampling.max_tokens)
    think: Think = settings.think  # type: ignore[assignment]  # checked by its choices
    with suppress(DoesNotFit, InterruptedError):
        prepared = prepare(replace(loaded.encoder, stopped=lambda: not should_continue()))
        if prepared.is_reduced:
            return
        ahead = DraftPrefill(loaded, prepared.messages, think, limit, should_continue)
        yield from ahead.events()
        snapshots = own.snapshots
        if snapshots is not None and not snapshots.prefill_rate:
            snapshots.record_prefill(ahead.prefilled, ahead.seconds)
