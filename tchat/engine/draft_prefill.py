"""Reading a prompt while it is still being typed.

What is read goes into a sequence of its own, which shares the cells of what the chat has in common
with it. So the chat's own state stays as it is, and as it is saved, whatever becomes of the draft.
The prompt that is sent goes on with it: see `KVCache.switch_branch`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tchat.engine.events import PromptProgress
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.template import Think

AT_ONCE = 0.15  # seconds of reading until what was typed meanwhile is looked at
FEWEST, MOST = 24, 128  # tokens of that; fewer are not read faster, see `governor.FEW`
OPEN = 48  # characters without white space that may yet become other tokens

ShouldContinue = Callable[[], bool]

_SETTLED = re.compile(r"\S(?=\s+\S*\s*\Z)")


class DraftPrefill:
    """Reads what a prompt is sure to begin with, whatever is typed behind it.

    Args:
        loaded: The model.
        messages: The chat; the last message is the draft.
        think: As of `Engine.generate`.
        room: Tokens that a prompt may have; of one that has more nothing is read.
        going: Whether to go on; asked many times.

    Raises:
        DoesNotFit: There is no room for it beside what the cache holds of the chat.
        InterruptedError: ``going`` said no while the template rendered.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        messages: Sequence[ChatMessage],
        think: Think,
        room: int,
        going: ShouldContinue = lambda: True,
    ) -> None:
        self._loaded, self._messages, self._think = loaded, messages, think
        self._going = going
        self._encoder = replace(loaded.encoder, stopped=lambda: not going())
        self._tokens = self._sure_tokens(room)
        self.read = 0
        self.seconds = 0.0

    def events(self) -> Iterator[PromptProgress]:
        """Read in small pieces for as long as ``going`` says so, and nobody stops it."""
        tokens, kv = self._tokens, self._loaded.kv
        if not tokens:
            return
        self._make_way()
        done = reused = kv.prepare_draft(tokens)
        yield PromptProgress(done, len(tokens), reused)
        most = min(MOST, self._loaded.context.batch_size)
        size = min(FEWEST, most)
        while done < len(tokens) and self._going():
            started = time.perf_counter()
            if not kv.prefill_draft(tokens[done : done + size]):
                return
            took = time.perf_counter() - started
            self.read, self.seconds = self.read + len(kv.draft_tokens) - done, self.seconds + took
            size = min(most, max(FEWEST, round(AT_ONCE * size / took)))
            done = len(kv.draft_tokens)
            yield PromptProgress(done, len(tokens), reused)

    def _sure_tokens(self, room: int) -> list[int]:
        """The tokens in common of the prompt as it is, and without its last word."""
        *before, draft = self._messages
        sure = stable_prefix(draft.content)
        if not sure:
            return []
        tokens = self._encoded(self._messages)
        if len(tokens) > room:
            return []
        shorter = self._encoded([*before, replace(draft, content=sure)])
        kv = self._loaded.kv
        if kv.branches:  # one of the replies that were written side by side was chosen
            kv.switch_branch(tokens)
        return kv.reuse_tokens(tokens[: common_prefix(tokens, shorter)])

    def _make_way(self) -> None:
        """Give up what the cache holds of another chat, where there is no room beside it."""
        kv, size = self._loaded.kv, self._loaded.context.size
        if len(kv.tokens) + len(self._tokens) > size:
            before = self._messages[:-1]
            own, _ = kv.match_prefix(kv.tokens, self._encoded(before)) if before else (0, 0)
            kv.truncate(own)

    def _encoded(self, messages: Sequence[ChatMessage]) -> list[int]:
        return self._encoder.prompt(messages, self._think, quiet=True).tokens


def stable_prefix(text: str) -> str:
    """A text without its last word and the white space before it: those may yet change.

    Of a text with no space near its end, as in some languages, without its last characters.
    """
    match = _SETTLED.search(text, max(0, len(text) - OPEN))
    return text[: match.end()] if match else text[:-OPEN]
