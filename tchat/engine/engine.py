"""The generator: messages in, frozen events out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from tchat.engine.adapters import Adapters, ControlVector
from tchat.engine.background_load import BackgroundLoad
from tchat.engine.cancel import Cancel
from tchat.engine.candidates import CandidateGeneration
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.events import CacheRestored, Event, LoadProgress, Notice
from tchat.engine.generation import Generation, empty_reply
from tchat.engine.hidden_states import HiddenStateReader
from tchat.engine.loader import ModelLoader
from tchat.engine.loading import LoadedModel, context_notices
from tchat.engine.options import EngineOptions
from tchat.engine.prompt.encoder import PromptEncoder
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.prompt.template import ChatTemplate, Think
from tchat.engine.prompt.template_lint import Diagnosis, diagnose
from tchat.engine.sampling import fresh_seed, several_seeds
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.errors import DoesNotFit
from tchat.settings import Sampling

if TYPE_CHECKING:
    from tchat.engine.batch import BatchOptions, BatchResult, BatchTask

OBSERVED = 2048  # tokens of a reply with its prompt that an observer reads at the most


class Engine:
    """One model with one context. All calls but `measure` belong on one thread.

    The model is loaded by the first call that needs it, unless ``opening`` loads it already.
    Setting ``cancel`` ends the call in progress early, with the state kept; clear it before the
    next.
    """

    def __init__(
        self,
        options: EngineOptions,
        cancel: Cancel | None = None,
        opening: BackgroundLoad | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.options = options
        self.snapshots = snapshots
        self.cancel = cancel or Cancel()
        self._loaded: LoadedModel | None = None
        self._loader = ModelLoader(options, self.cancel, opening)
        self._measuring = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything; not while a generator of this engine is running."""
        self._loader.close()
        if self.snapshots is not None:
            self.snapshots.close()
        with self._measuring:
            if self._loaded is not None:
                self._loaded.close()
                self._loaded = None

    # Facts

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there."""
        return self._loaded is not None

    @property
    def loaded(self) -> LoadedModel | None:
        """The model with its context; None before it is there."""
        return self._loaded

    @property
    def context_size(self) -> int:
        """Tokens that the context holds. The model must be loaded."""
        return self._ready.context.size

    @property
    def template(self) -> ChatTemplate:
        """The chat template in use. The model must be loaded."""
        return self._ready.template

    @property
    def cached_tokens(self) -> int:
        """Tokens in the KV cache."""
        return len(self._loaded.kv.tokens) if self._loaded else 0

    def count(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",
        *,
        continue_final: bool = False,
    ) -> int:
        """Exact number of tokens in the prompt of `generate`, called alike, with an empty cache.

        Raises:
            DoesNotFit: The text is so long that it cannot fit; it is not tokenized.
            InterruptedError: ``cancel`` was set while the template rendered.
        """
        encoder = self._encoder
        return len(encoder.prompt(messages, think, continue_final=continue_final).tokens)

    def measure(
        self, messages: Sequence[ChatMessage], draft: str, think: Think = "auto"
    ) -> tuple[int, int, int] | None:
        """Tokens of ``draft``, of ``messages``, and of the context; the last is the most.

        May be called from any thread, also while a reply is written: it needs only the
        vocabulary. None when the model is not loaded.
        """
        with self._measuring:
            if self._loaded is None:
                return None
            size, encoder = self.context_size, self._ready.encoder

            def counted(count: Callable[[], int]) -> int:
                try:
                    return min(on_large_stack(count), size)
                except DoesNotFit:
                    return size

            tokens = counted(lambda: encoder.count(draft))
            if tokens == size:
                return size, size, size
            return tokens, counted(lambda: len(encoder.prompt(messages, think).tokens)), size

    def diagnose(self) -> Iterator[Diagnosis]:
        """What is to be known about the chat template. The model must be loaded."""
        return diagnose(self.options.template, self._ready.model)

    # Work

    def load(self) -> Iterator[LoadProgress | Notice]:
        """Load the model, unless it is loaded.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: ``cancel`` was set.
        """
        if self._loaded is not None:
            return
        self._loader.begin()
        if self.snapshots is not None:
            self.snapshots.open()
        self._loaded = yield from self._loader.load()
        yield LoadProgress(self.options.path.name, 1.0)
        template = self._loaded.template
        yield from (*context_notices(self.options, self._loaded.model), *template.notices)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        think: Think = "auto",
        continue_final: bool = False,
    ) -> Iterator[Event]:
        """Write the next reply, or go on with the last message when ``continue_final``.

        Only the tokens that the KV cache does not hold are read. The generator may be closed at
        any event.

        Raises:
            DoesNotFit: The prompt and one token of reply exceed the context.
            UsageError: The sampling cannot be carried out.
            ModelError: The model cannot be loaded.
        """
        seed = sampling.seed if sampling.seed >= 0 else fresh_seed()
        try:
            yield from self.load()
            prompt = self._encoder.for_reply(
                messages, sampling, think, continue_final=continue_final
            )
        except InterruptedError:
            yield empty_reply(seed)
            return
        yield from prompt.notices
        restored = yield from self._restored(prompt.tokens, messages)
        run = Generation(
            self._ready,
            prompt,
            sampling,
            seed,
            self.cancel,
            restored=restored,
            note=self._on_prefill_progress,
        )
        yield from run.events(self._loader.taken())
        self._note(run)

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
    ) -> Iterator[Event]:
        """Write ``count`` replies side by side, as `generate` writes one.

        A seed that is given is the first one's; each other has the next. Ends in one `Finished`
        within a `CandidateEvent` for each; or in one of its own, when loading was stopped.

        Args:
            messages: The chat.
            sampling: As of `generate`.
            count: Replies.
            think: As of `generate`.
            continue_final: As of `generate`.
            stopped: Indexes of those that shall end; may grow meanwhile, from any thread.
            states: Whether each `Finished` is to have an `HiddenStates`; next to free.

        Raises:
            DoesNotFit, UsageError, ModelError: As of `generate`.
        """
        seeds = several_seeds(sampling.seed, count)
        try:
            yield from self.load()
            prompt = self._encoder.for_reply(
                messages, sampling, think, continue_final=continue_final
            )
        except InterruptedError:
            yield empty_reply(seeds[0])
            return
        yield from prompt.notices
        restored = yield from self._restored(prompt.tokens, messages)
        run = CandidateGeneration(
            self._ready,
            prompt,
            sampling,
            seeds,
            self.cancel,
            stopped=stopped,
            restored=restored,
            note=self._on_prefill_progress,
            states=states,
        )
        yield from run.events(self._loader.taken())
        self._note(run)

    def map(self, tasks: Iterable[BatchTask], options: BatchOptions) -> Iterator[BatchResult]:
        """Answer many prompts side by side, what they begin with read once.

        Setting ``cancel`` ends it; what is unfinished then has no outcome.

        Raises:
            DoesNotFit: There is not enough memory for the slots.
            UsageError: The sampling cannot be carried out.
            ModelError: The model cannot be loaded.
        """
        from tchat.engine.batch import ROOM, BatchRunner, prepare_tasks

        with suppress(InterruptedError):
            for _ in self.load():
                pass
            head, entries = prepare_tasks(self._ready, options, tasks, self.cancel.is_set)
            for _ in self._restored(head):
                pass
            if self._ready.kv.ensure_tokens(head, room=options.slots * ROOM):
                mapping = BatchRunner(self._ready, options, self.cancel)
                yield from mapping.outcomes(entries)

    def choose(self, messages: Sequence[ChatMessage], labels: Sequence[str]) -> Iterator[Event]:
        """Choose one of ``labels`` as the reply, by their exact probabilities.

        Ends in `LabelScores`, the likeliest first, and `Finished` with the likeliest as its text.
        """
        try:
            yield from self.load()
            prompt = self._encoder.for_answer(messages)
        except InterruptedError:
            yield empty_reply()
            return
        yield from prompt.notices
        restored = yield from self._restored(prompt.tokens, messages)
        run = Generation(
            self._ready,
            prompt,
            Sampling(),
            0,
            self.cancel,
            restored=restored,
            note=self._on_prefill_progress,
        )
        yield from run.choice(labels, self._loader.taken())
        self._note(run)

    def prepare(self, messages: Sequence[ChatMessage], think: Think = "auto") -> Iterator[Event]:
        """Load the model, and restore what is on disk of a chat, before its next prompt comes.

        Setting ``cancel`` ends it; once the model is loaded, without an error.
        """
        yield from self.load()
        if messages and self.snapshots is not None:
            with suppress(DoesNotFit, InterruptedError):
                prompt = self._encoder.prompt(messages, think, quiet=True)
                yield from self._restored(prompt.tokens, messages)

    def bind_session(self, session: str) -> None:
        """Let what is read from now on be saved for ``session``; for none, nothing is."""
        if self.snapshots is not None:
            self.snapshots.bind_session(session)

    def unbind_session(self, session: str) -> None:
        """Save nothing more for ``session``, until it is told to hold it again; from any thread."""
        if self.snapshots is not None:
            self.snapshots.unbind_session(session)

    def prefill_time(self, tokens: int) -> float:
        """Seconds that reading ``tokens`` takes, as measured before; 0 when it never was."""
        rate = self.snapshots.reading if self.snapshots else 0.0
        return tokens / rate if rate else 0.0

    def save(self, going: Callable[[], bool] = lambda: True, *, leaving: bool = False) -> int:
        """Save on disk what the KV cache holds, as `Snapshots.save` does; returns its tokens.

        Does nothing when no model is loaded, and no harm when it fails.
        """
        if self._loaded is None or self.snapshots is None:
            return 0
        return self.snapshots.save(self._loaded, going, leaving=leaving)

    # For who judges replies and steers

    @property
    def n_layer(self) -> int:
        """Blocks of the model, which must be loaded."""
        return self._ready.model.shape.n_layer

    @property
    def n_embd(self) -> int:
        """Numbers of a hidden state of the model, which must be loaded."""
        return self._ready.model.shape.n_embd

    def prompt_tokens(self, messages: Sequence[ChatMessage], think: Think = "auto") -> list[int]:
        """The tokens that a reply to ``messages`` comes after. The model must be loaded.

        Raises:
            InterruptedError: ``cancel`` was set while the template rendered.
        """
        return self._encoder.prompt(messages, think, quiet=True).tokens

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of a text without control tokens. The model must be loaded."""
        return on_large_stack(lambda: self._ready.model.tokenize(text, special=False))

    def observer(self, layers: Sequence[int]) -> HiddenStateReader:
        """A reader of replies with this model, unsteered; close it before the engine."""
        ready = self._ready
        return HiddenStateReader(
            ready.model,
            layers=layers,
            size=min(OBSERVED, self.context_size),
            threads=self.options.threads,
            cancel=self.cancel,
        )

    def steer(self, control: Sequence[ControlVector]) -> None:
        """Put other control vectors in place of those in force. The model must be loaded."""
        ready = self._ready
        # LoRA adapters stay on the context; loading them once more would keep them twice.
        adapters = Adapters(ready.model, (), control)
        if self.snapshots is not None:  # they are of the model as it was
            self.snapshots.close()
            self.snapshots = None
        try:
            ready.context.adapt(adapters.apply)
        finally:
            ready.kv.clear()

    @contextmanager
    def steered(self, control: Sequence[ControlVector]) -> Iterator[None]:
        """Other control vectors for a while, then those of the options again."""
        if tuple(control) == tuple(self.options.control):
            yield
            return
        try:
            self.steer(control)
            yield
        finally:
            if self.is_loaded:
                self.steer(self.options.control)

    # Parts

    def _restored(
        self, tokens: Sequence[int], messages: Sequence[ChatMessage] = ()
    ) -> Generator[Event, None, CacheRestored | None]:
        """Take from disk what it holds of a prompt, which asks ``messages``."""
        self._ready.kv.switch_branch(tokens)
        if self.snapshots is None:
            return None
        return (yield from self.snapshots.restored(self._ready, tokens, messages))

    def _on_prefill_progress(self, left: int) -> None:
        if self.snapshots is not None:
            self.snapshots.on_prefill_progress(self._ready, left, lambda: not self.cancel.is_set())

    def _note(self, run: Generation | CandidateGeneration) -> None:
        if self.snapshots is not None:
            self.snapshots.measure(*run.reading)

    @property
    def _encoder(self) -> PromptEncoder:
        """Makes prompts of chats until ``cancel`` is set."""
        return replace(self._ready.encoder, stopped=self.cancel.is_set)

    @property
    def _ready(self) -> LoadedModel:
        if self._loaded is None:
            raise RuntimeError("the model is not loaded: iterate load() first")
        return self._loaded
