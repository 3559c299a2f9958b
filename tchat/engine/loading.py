"""A model, loaded, with what it needs to chat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tchat.engine.cancel import Cancel
from tchat.engine.context import Context
from tchat.engine.events import Notice
from tchat.engine.kv_cache import KVCache
from tchat.engine.model import Model
from tchat.engine.options import EngineOptions
from tchat.engine.prompt.encoder import PromptEncoder
from tchat.engine.prompt.template import ChatTemplate
from tchat.engine.prompt.template_adapter import TemplateFailure, compile_program
from tchat.engine.speculative.decoding import Speculation


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its context, ready to read and write.

    Args:
        model: The weights and the vocabulary.
        context: Where they decode.
        kv: What sequence 0 of the context holds.
        template: How a chat becomes a prompt.
        speculation: Guesses ahead; None to decode token by token.
    """

    model: Model
    context: Context
    kv: KVCache
    template: ChatTemplate
    speculation: Speculation | None = None

    def close(self) -> None:
        """Free all of it. Closing twice is harmless."""
        if self.speculation is not None:
            self.speculation.close()
        self.context.close()
        self.model.close()

    @property
    def encoder(self) -> PromptEncoder:
        """Makes prompts of chats."""
        return PromptEncoder(self.model, self.template, self.context.size)


def precompile_template(options: EngineOptions) -> None:
    """Compile the chat template of ``options``, while the model is still being loaded."""
    with suppress(TemplateFailure):  # `template_of` will say it
        compile_program(options.template or "")


def assemble(
    options: EngineOptions,
    model: Model,
    context: Context,
    template: ChatTemplate,
    cancel: Cancel,
) -> LoadedModel:
    """A model and its context with all that goes with them.

    Raises:
        UsageError, ModelError, DoesNotFit, InterruptedError: As of `DraftModel`.
    """
    loaded = LoadedModel(model, context, KVCache(context, model), template)
    if not _trims(options, model) or not (options.prompt_lookup or options.draft):
        return loaded
    draft = None
    if options.draft is not None:
        from tchat.engine.speculative.draft_model import DraftModel

        size, threads = context.size, options.threads
        try:
            draft = DraftModel(options.draft, model, size=size, threads=threads, cancel=cancel)
        except BaseException:
            loaded.close()
            raise
    return replace(
        loaded, speculation=Speculation(context, loaded.kv, options.prompt_lookup, draft)
    )


def _trims(options: EngineOptions, model: Model) -> bool:
    """Whether the KV cache can be cut back by any number of tokens."""
    return not model.shape.recurrent and (options.swa_full or not model.shape.n_swa)


def template_of(options: EngineOptions, model: Model, cancel: Cancel) -> ChatTemplate:
    """The chat template that ``options`` name for a model.

    Raises:
        InterruptedError: ``cancel`` was set while it was tried.
    """
    return ChatTemplate.compile(
        options.template or None,
        bos=model.bos_text,
        eos=model.eos_text,
        specials=model.special_strings() | model.user_defined_strings(),
        stopped=cancel.is_set,
    )


def context_notices(options: EngineOptions, model: Model) -> Iterator[Notice]:
    """What is to be said of a context as ``options`` ask for it."""
    asked, trained = options.ctx_size, model.shape.n_ctx_train
    if asked > trained > 0:
        text = (
            f"a context of {asked:,} tokens was asked for; "
            f"this model was trained for {trained:,}, which is used"
        )
        yield Notice("context", text)
    if options.draft is not None and not _trims(options, model):
        yield Notice("model", "this model's cache cannot be cut back, so nothing is guessed ahead")
