"""A model, loaded, with what it needs to chat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tchat.engine.context import Context
from tchat.engine.encoder import PromptEncoder
from tchat.engine.events import Notice
from tchat.engine.form import TemplateFailure, compiled
from tchat.engine.kv import KVCache
from tchat.engine.model import Model
from tchat.engine.options import EngineOptions
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


def compile_ahead(options: EngineOptions) -> None:
    """Compile the chat template of ``options``, while the model is still being loaded."""
    with suppress(TemplateFailure):  # `template_of` will say it
        compiled(options.template or "")


def template_of(options: EngineOptions, model: Model) -> ChatTemplate:
    """The chat template that ``options`` name for a model."""
    return ChatTemplate.compile(
        options.template or None,
        bos=model.bos_text,
        eos=model.eos_text,
        specials=model.special_strings(),
    )


def context_notices(options: EngineOptions, model: Model) -> Iterator[Notice]:
    """What is to be said of the size of the context that ``options`` ask for."""
    asked, trained = options.ctx_size, model.facts.context
    if asked > trained > 0:
        text = (
            f"a context of {asked:,} tokens was asked for; "
            f"this model was trained for {trained:,}, which is used"
        )
        yield Notice("model", text)
