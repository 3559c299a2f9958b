"""The engine: one model in this process; messages in, frozen events out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.events import CacheRestored, Event, LoadProgress, Notice, empty_reply
from tchat.engine.generation import (
    Prefill,
    generate_candidates,
    generate_label,
    generate_reply,
)
from tchat.engine.loading import (
    Adapters,
    BackgroundLoad,
    ControlVector,
    EngineOptions,
    LoadedModel,
    ModelLoader,
    context_notices,
)
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt, PromptEncoder
from tchat.engine.prompt.template import ChatTemplate, Diagnosis, Think, diagnose
from tchat.engine.sampling import fresh_seed, several_seeds
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.errors import DoesNotFit
from tchat.settings import Sampling

if TYPE_CHECKING:
    from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
    from tchat.engine.capabilities import Capabilities
    from tchat.engine.prompt.tools import PromptTools
    from tchat.engine.scoring import HiddenStateReader
    from tchat.engine.tool_reply import ToolReplies

READER_CONTEXT = 2048  # tokens of a reply with its prompt whose hidden states can be read


class Engine:
    """One model with one context.

    All calls but `counting` and `unbind_session` belong on one thread. The first that needs the
    model loads it, unless ``background`` already does. Setting ``cancel`` ends the call in progress
    early and keeps the state; clear it before the next call.

    Attributes:
        in_process: Whether the KV cache is in this process, where work of one's own can use it.
        loaded: The model with its context; None before it is loaded.
    """

    in_process = True

    def __init__(
        self,
        options: EngineOptions,
        cancel: Cancel | None = None,
        background: BackgroundLoad | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.options = options
        self.snapshots = snapshots
        self.cancel = cancel or Cancel()
        self.loaded: LoadedModel | None = None
        self._loader = ModelLoader(options, self.cancel, background)
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything; not while a generator of this engine is running."""
        self._loader.close()
        if self.snapshots is not None:
            self.snapshots.close()
        with self._counting:
            if self.loaded is not None:
                self.loaded.close()
                self.loaded = None

    # Facts

    @property
    def context_size(self) -> int:
        """Tokens of context. The model must be loaded."""
        return self._ready.context.size

    @property
    def trained_context_size(self) -> int:
        """Tokens of context that the model was trained for; 0 if unknown. It must be loaded."""
        return self._ready.model.shape.n_ctx_train

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        from tchat.engine.capabilities import Capabilities

        return Capabilities(
            exact_tokens=True,
            kv_reuse=True,
            prefill_ahead=True,
            logprobs=True,
            grammar=True,
            json_schema=True,
            candidates=True,
            hidden_states=True,
            tools=True,
        )

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded."""
        return self.loaded is not None

    @property
    def local_engine(self) -> Engine:
        """This engine; see `Backend`."""
        return self

    @property
    def template_hash(self) -> str:
        """SHA-256 of the chat template in use. The model must be loaded."""
        return self.template.sha256

    @property
    def template(self) -> ChatTemplate:
        """The chat template in use. The model must be loaded."""
        return self._ready.template

    @property
    def n_layer(self) -> int:
        """Layers of the model, which must be loaded."""
        return self._ready.model.shape.n_layer

    @property
    def n_embd(self) -> int:
        """Length of a hidden state of the model, which must be loaded."""
        return self._ready.model.shape.n_embd

    @property
    def encoder(self) -> PromptEncoder:
        """Encodes prompts until ``cancel`` is set. The model must be loaded."""
        return replace(self._ready.encoder, stopped=self.cancel.is_set)

    @contextmanager
    def counting(self) -> Iterator[PromptEncoder | None]:
        """Encode prompts on any thread, to count them, also while a reply is written.

        None when the model is not loaded. It is not freed meanwhile.
        """
        with self._counting:
            yield self.loaded.encoder if self.loaded is not None else None

    def prompt_tokens(self, messages: Sequence[ChatMessage], think: Think = "auto") -> list[int]:
        """The tokens of the prompt of ``messages``. The model must be loaded.

        Raises:
            DoesNotFit: The text is so long that it cannot fit; it is not tokenized.
            InterruptedError: ``cancel`` was set while the template rendered.
        """
        return self.encoder.prompt(messages, think, quiet=True).tokens

    @property
    def end_texts(self) -> tuple[str, ...]:
        """Texts of the tokens that end a reply. The model must be loaded."""
        model = self._ready.model
        return tuple(model.piece(token).decode("utf-8", "replace") for token in model.end_tokens)

    def offer_tools(self, tools: PromptTools | None) -> None:
        """Offer ``tools`` in every prompt from now on. The model must be loaded."""
        if self._ready.tools != tools:
            with self._counting:
                self.loaded = replace(self._ready, tools=tools)

    def prompt_behind_call(
        self, messages: Sequence[ChatMessage], think: Think = "auto"
    ) -> EncodedPrompt | None:
        """The prompt of ``messages``, which end in the results of the call written last.

        None where it has to be encoded as a whole: see `tool_steps`.

        Raises:
            InterruptedError: ``cancel`` was set while the template rendered.
        """
        from tchat.engine.prompt.tool_steps import prompt_behind_call

        return prompt_behind_call(self.encoder, self._ready.kv.tokens, messages, think)

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of a text without control tokens. The model must be loaded."""
        return on_large_stack(lambda: self._ready.model.tokenize(text, special=False))

    def diagnose(self) -> Iterator[Diagnosis]:
        """Check the chat template. The model must be loaded."""
        return diagnose(self.options.template, self._ready.model)

    # Loading and generating

    def load(self) -> Iterator[LoadProgress | Notice]:
        """Load the model, unless it is loaded.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: ``cancel`` was set.
        """
        if self.loaded is not None:
            return
        self._loader.start()
        if self.snapshots is not None:
            self.snapshots.open()
        self.loaded = yield from self._loader.load()
        yield LoadProgress(self.options.path.name, 1.0)
        template = self.loaded.template
        yield from (*context_notices(self.options, self.loaded.model), *template.notices)

    def prepare(self, messages: Sequence[ChatMessage], think: Think = "auto") -> Iterator[Event]:
        """Load the model and restore the chat from disk, before its next prompt comes.

        Setting ``cancel`` ends it; once the model is loaded, without an error.
        """
        yield from self.load()
        if messages and self.snapshots is not None:
            with suppress(DoesNotFit, InterruptedError):
                prompt = self.encoder.prompt(messages, think, quiet=True)
                yield from self._restore(prompt.tokens, messages)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        think: Think = "auto",
        continue_final: bool = False,
        prompt: EncodedPrompt | None = None,
        tools: ToolReplies | None = None,
    ) -> Iterator[Event]:
        """Write the next reply, or continue the last message when ``continue_final``.

        Only the tokens that the KV cache does not hold are prefilled. The generator may be closed
        at any event. ``prompt`` is what `PromptEncoder.for_reply` makes of the arguments, where
        that is known already. With ``tools``, the reply may call those that were offered.

        Raises:
            DoesNotFit: The prompt and one token of reply exceed the context.
            UsageError: The sampling cannot be carried out.
            ModelError: The model cannot be loaded.
        """
        seed = sampling.seed if sampling.seed >= 0 else fresh_seed()
        prefill = yield from self._start_reply(messages, sampling, think, continue_final, prompt)
        if prefill is None:
            yield empty_reply(seed)
            return
        load = self._loader.pop_seconds()
        yield from generate_reply(
            self._ready,
            prefill,
            sampling,
            seed,
            self.cancel,
            load,
            tools=tools,
            continues=continue_final,
        )
        self._record(prefill)

    def candidates(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        count: int,
        *,
        think: Think = "auto",
        continue_final: bool = False,
        stopped: Container[int] = (),
        states: bool = False,
        prompt: EncodedPrompt | None = None,
    ) -> Iterator[Event]:
        """Write ``count`` replies in one batch; otherwise as `generate`.

        The sampling's seed is the first one's; each other has the next. Ends in one `Finished` in a
        `CandidateEvent` for each; or in a plain `Finished` when loading was stopped.

        Args:
            messages: As of `generate`, like ``sampling``, ``think``, ``continue_final`` and
                ``prompt``.
            count: Replies.
            stopped: Indexes of replies to end early; may grow meanwhile, from any thread.
            states: Whether each `Finished` is to have `HiddenStates`; next to free.
        """
        seeds = several_seeds(sampling.seed, count)
        prefill = yield from self._start_reply(messages, sampling, think, continue_final, prompt)
        if prefill is None:
            yield empty_reply(seeds[0])
            return
        yield from generate_candidates(
            self._ready,
            prefill,
            sampling,
            seeds,
            self.cancel,
            self._loader.pop_seconds(),
            stopped=stopped,
            states=states,
        )
        self._record(prefill)

    def score_labels(
        self,
        messages: Sequence[ChatMessage],
        labels: Sequence[str],
        prompt: EncodedPrompt | None = None,
    ) -> Iterator[Event]:
        """Choose one of ``labels`` as the reply, by their exact probabilities.

        Ends in `LabelScores`, the likeliest first, and `Finished` with the likeliest as its text.
        ``prompt`` is what `PromptEncoder.for_answer` makes of the messages, where that is known.
        """
        prefill = yield from self._start(
            messages, lambda encoder: prompt or encoder.for_answer(messages)
        )
        if prefill is None:
            yield empty_reply()
            return
        yield from generate_label(self._ready, prefill, labels, self._loader.pop_seconds())
        self._record(prefill)

    def map(self, tasks: Iterable[BatchTask], options: BatchOptions) -> Iterator[BatchResult]:
        """Answer many prompts in parallel; their common prefix is prefilled once.

        Setting ``cancel`` ends it; unfinished tasks then have no result.

        Raises:
            DoesNotFit: There is not enough memory for the sequences.
            UsageError: The sampling cannot be carried out.
            ModelError: The model cannot be loaded.
        """
        from tchat.engine.batch import REPLY_CAPACITY, BatchRunner, prepare_tasks

        with suppress(InterruptedError):
            for _ in self.load():
                pass
            prefix, entries = prepare_tasks(self._ready, options, tasks, self.cancel.is_set)
            for _ in self._restore(prefix):
                pass
            if self._ready.kv.ensure_tokens(prefix, reserve=options.slots * REPLY_CAPACITY):
                yield from BatchRunner(self._ready, options, self.cancel).results(entries)

    def _start_reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        think: Think,
        continues: bool,
        prompt: EncodedPrompt | None,
    ) -> Generator[Event, None, Prefill | None]:
        def encode(encoder: PromptEncoder) -> EncodedPrompt:
            return encoder.for_reply(messages, sampling, think, continue_final=continues)

        return self._start(messages, (lambda _: prompt) if prompt else encode)

    def _start(
        self, messages: Sequence[ChatMessage], encode: Callable[[PromptEncoder], EncodedPrompt]
    ) -> Generator[Event, None, Prefill | None]:
        """Load the model, encode the prompt, restore from disk; returns None when stopped."""
        try:
            yield from self.load()
            prompt = encode(self.encoder)
        except InterruptedError:
            return None
        yield from prompt.notices
        restored = yield from self._restore(prompt.tokens, messages)
        return Prefill(self._ready, prompt, self.cancel, restored, self._on_prefill_progress)

    def _restore(
        self, tokens: Sequence[int], messages: Sequence[ChatMessage] = ()
    ) -> Generator[Event, None, CacheRestored | None]:
        """Restore from disk what it holds of the prompt of ``messages``."""
        self._ready.kv.switch_branch(tokens)
        if self.snapshots is None:
            return None
        return (yield from self.snapshots.restore(self._ready, tokens, messages))

    @property
    def _ready(self) -> LoadedModel:
        if self.loaded is None:
            raise RuntimeError("the model is not loaded: iterate load() first")
        return self.loaded

    # Snapshots

    def bind_session(self, session: str) -> None:
        """Save what is prefilled from now on for ``session``; for an empty one, save nothing."""
        if self.snapshots is not None:
            self.snapshots.bind_session(session)

    def unbind_session(self, session: str) -> None:
        """Save nothing more for ``session`` until it is bound again; from any thread."""
        if self.snapshots is not None:
            self.snapshots.unbind_session(session)

    def prefill_time(self, tokens: int) -> float:
        """Seconds that prefilling ``tokens`` takes, as measured before; 0 when unknown."""
        return self.snapshots.prefill_time(tokens) if self.snapshots else 0.0

    def save(
        self, should_continue: Callable[[], bool] = lambda: True, *, at_exit: bool = False
    ) -> int:
        """Save the KV cache on disk, as `Snapshots.save` does; returns the saved tokens.

        Does nothing when no model is loaded, and no harm when it fails.
        """
        if self.loaded is None or self.snapshots is None:
            return 0
        return self.snapshots.save(self.loaded, should_continue, at_exit=at_exit)

    def close_snapshots(self) -> None:
        """Close the files of the snapshots; the next use opens them again."""
        if self.snapshots is not None:
            self.snapshots.close()

    def _on_prefill_progress(self, left: int) -> None:
        if self.snapshots is not None:
            self.snapshots.on_prefill_progress(self._ready, left, lambda: not self.cancel.is_set())

    def _record(self, prefill: Prefill) -> None:
        if self.snapshots is not None:
            self.snapshots.record_prefill(*prefill.measured)

    # Hidden states and control vectors

    def hidden_state_reader(self, layers: Sequence[int]) -> HiddenStateReader:
        """Reads hidden states of this model without control vectors; close it before the engine."""
        from tchat.engine.scoring import HiddenStateReader

        ready = self._ready
        return HiddenStateReader(
            ready.model,
            layers=layers,
            size=min(READER_CONTEXT, self.context_size),
            threads=self.options.threads,
            cancel=self.cancel,
        )

    def steer(self, control: Sequence[ControlVector]) -> None:
        """Replace the control vectors. The model must be loaded."""
        ready = self._ready
        # LoRA adapters stay on the context; loading them once more would keep them twice.
        adapters = Adapters(ready.model, (), control)
        if self.snapshots is not None:  # they belong to the model as it was
            self.snapshots.close()
            self.snapshots = None
        try:
            ready.context.adapt(adapters.apply)
        finally:
            ready.kv.clear()

    @contextmanager
    def steered(self, control: Sequence[ControlVector]) -> Iterator[None]:
        """Use other control vectors in the block, then those of the options again."""
        if tuple(control) == tuple(self.options.control):
            yield
            return
        try:
            self.steer(control)
            yield
        finally:
            if self.loaded is not None:
                self.steer(self.options.control)
