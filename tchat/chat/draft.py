"""Count and prefill a prompt while it is a draft."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tchat.chat.context_window import reply_reserve
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.generation import DraftPrefill
from tchat.errors import DoesNotFit

if TYPE_CHECKING:
    from tchat.chat.prompt_builder import PreparedPrompt
    from tchat.engine.engine import Engine
    from tchat.engine.events import PromptProgress
    from tchat.engine.prompt.encoder import PromptEncoder
    from tchat.engine.prompt.template import Think
    from tchat.settings import Settings

    Prepare = Callable[[PromptEncoder], PreparedPrompt]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Token counts of a draft.

    Args:
        draft: Tokens of its text.
        used: Tokens of the context once it is sent.
        context: Tokens that the context holds; `draft` and `used` are no more than that.
    """

    draft: int
    used: int
    context: int


def count_draft(engine: Engine, draft: str, prepare: Prepare) -> TokenCount | None:
    """Count the tokens of a draft exactly, on any thread; None if the model is not loaded.

    Args:
        engine: The model.
        draft: The text.
        prepare: Makes the prompt that it would be.
    """
    with engine.counting() as encoder:
        if encoder is None:
            return None
        return on_large_stack(partial(_count, encoder, draft, prepare))


def _count(encoder: PromptEncoder, draft: str, prepare: Prepare) -> TokenCount:
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
    engine: Engine, prepare: Prepare, settings: Settings, going: Callable[[], bool]
) -> Iterator[PromptProgress]:
    """Prefill the stable part of a draft; nothing if turns would have to leave for it.

    Args:
        engine: The model; nothing is read where it is not loaded.
        prepare: Makes the prompt that it would be.
        settings: In force.
        going: Whether to go on; asked many times.
    """
    loaded = engine.loaded
    if loaded is None:
        return
    size = loaded.context.size
    room = size - reply_reserve(size, settings.sampling.max_tokens)
    think: Think = settings.think  # type: ignore[assignment]  # checked by its choices
    with suppress(DoesNotFit, InterruptedError):
        prepared = prepare(replace(loaded.encoder, stopped=lambda: not going()))
        if prepared.turns_left:
            return
        ahead = DraftPrefill(loaded, prepared.messages, think, room, going)
        yield from ahead.events()
        snapshots = engine.snapshots
        if snapshots is not None and not snapshots.prefill_rate:
            snapshots.record_prefill(ahead.prefilled, ahead.seconds)
