"""A model, loaded, with what it needs to chat."""

from __future__ import annotations

from dataclasses import dataclass

from tchat.engine.context import Context
from tchat.engine.encoder import PromptEncoder
from tchat.engine.kv import KVCache
from tchat.engine.model import Model
from tchat.engine.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its context, ready to read and write.

    Args:
        model: The weights and the vocabulary.
        context: Where they decode.
        kv: What sequence 0 of the context holds.
        template: How a chat becomes a prompt.
    """

    model: Model
    context: Context
    kv: KVCache
    template: ChatTemplate

    @property
    def encoder(self) -> PromptEncoder:
        """Makes prompts of chats."""
        return PromptEncoder(self.model, self.template, self.context.size)
