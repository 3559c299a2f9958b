"""The prompt to come, while it is still a draft: counted, and read ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tchat.chat.context_window import reply_reserve
from tchat.engine.prefill import DraftPrefill
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit

if TYPE_CHECKING:
    from tchat.engine.engine import Engine
    from tchat.engine.events import PromptProgress
    from tchat.engine.prompt.template import Think
    from tchat.settings import Settings


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


class DraftPreview:
    """A draft behind the history that it would be sent with.

    Args:
        engine: With its model loaded.
        history: What the prompt begins with.
        draft: The text of the next message.
        settings: In force.
    """

    def __init__(
        self, engine: Engine, history: Sequence[ChatMessage], draft: str, settings: Settings
    ) -> None:
        self._engine, self._draft = engine, draft
        self._messages = [*history, ChatMessage("user", draft)]
        self._think: Think = settings.think  # type: ignore[assignment]  # checked by its choices
        self._max_tokens = settings.sampling.max_tokens

    def measure(self) -> TokenCount | None:
        """Exact tokens; None when the model is not there any more. Works on any thread."""
        counts = self._engine.measure(self._messages, self._draft, self._think)
        return TokenCount(*counts) if counts else None

    def read(self, going: Callable[[], bool]) -> Iterator[PromptProgress]:
        """Read what is sure of it; nothing where turns would have to leave for it."""
        loaded = self._engine.loaded
        if loaded is None:
            return
        size = loaded.context.size
        room = size - reply_reserve(size, self._max_tokens)
        with suppress(DoesNotFit, InterruptedError):
            ahead = DraftPrefill(loaded, self._messages, self._think, room, going)
            yield from ahead.events()
            snapshots = self._engine.snapshots
            if snapshots is not None and not snapshots.prefill_rate:
                snapshots.record_prefill(ahead.prefilled, ahead.seconds)
