"""The engine of a model over several machines: as `tchat.engine.engine.Engine`, in a child.

The vocabulary is loaded here too, so prompts are encoded and counted in this process. Calls of
tools are read here, too. What works on the model's hidden states does not work over RPC, and
nothing is saved on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.capabilities import Capabilities
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.events import Event, LoadProgress, Notice, empty_reply
from tchat.engine.kv_cache import KVCache
from tchat.engine.loading import ControlVector, EngineOptions, LoadedModel, template_of
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt, PrefixCache, PromptEncoder
from tchat.engine.prompt.template import ChatTemplate, Diagnosis, Think, diagnose
from tchat.engine.rpc.messages import LoadedFacts, Messages
from tchat.engine.rpc.process import STOP_SECONDS, EngineProcess, file_bytes, load_limit
from tchat.errors import TchatError, UsageError
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.context import Context
    from tchat.engine.engine import Engine
    from tchat.engine.prompt.tools import PromptTools
    from tchat.engine.scoring import HiddenStateReader
    from tchat.engine.snapshots.snapshots import Snapshots
    from tchat.engine.tool_reply import ToolReplies

GROUP = 256  # tasks of a batch that are sent at once

Encode = Callable[[PromptEncoder], EncodedPrompt]


@dataclass(frozen=True, slots=True)
class RemoteContext:
    """What is known here of the context in the child."""

    size: int

    def close(self) -> None:
        """The child frees it."""


class RpcEngine:
    """One model in a child process, split over the workers of ``options.rpc``.

    When a worker or the child fails, the call raises, and the next one loads the model again.
    Otherwise as `Engine`. The first load uses ``connected``, whose workers are connected already.
    """

    in_process = False
    snapshots: Snapshots | None = None

    def __init__(
        self,
        options: EngineOptions,
        cancel: Cancel | None = None,
        connected: EngineProcess | None = None,
    ) -> None:
        self.options = options
        self.cancel = cancel or Cancel()
        self.loaded: LoadedModel | None = None
        self._process: EngineProcess | None = connected
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child and free the vocabulary."""
        if self._process is not None:
            self._process.close()
            self._process = None
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
        return Capabilities(
            exact_tokens=True,
            kv_reuse=True,
            logprobs=True,
            grammar=True,
            json_schema=True,
            candidates=True,
            tools=True,
        )

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded."""
        return self.loaded is not None

    @property
    def local_engine(self) -> Engine:
        """This engine: it has what an engine has, and refuses what needs hidden states."""
        return cast("Engine", self)

    @property
    def template_hash(self) -> str:
        """SHA-256 of the chat template in use. The model must be loaded."""
        return self.template.sha256

    @property
    def end_texts(self) -> tuple[str, ...]:
        """Texts of the tokens that end a reply. The model must be loaded."""
        model = self._ready.model
        return tuple(model.piece(token).decode("utf-8", "replace") for token in model.end_tokens)

    def offer_tools(self, tools: PromptTools | None) -> None:
        """As `Engine.offer_tools`: prompts are encoded in this process."""
        if self._ready.tools != tools:
            with self._counting:
                self.loaded = replace(self._ready, tools=tools)

    def prompt_behind_call(
        self, messages: Sequence[ChatMessage], think: Think = "auto"
    ) -> EncodedPrompt | None:
        """As `Engine.prompt_behind_call`."""
        from tchat.engine.prompt.tool_steps import prompt_behind_call

        return prompt_behind_call(self.encoder, self._ready.kv.tokens, messages, think)

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
        """As `Engine.counting`."""
        with self._counting:
            yield self.loaded.encoder if self.loaded is not None else None

    def prompt_tokens(self, messages: Sequence[ChatMessage], think: Think = "auto") -> list[int]:
        """As `Engine.prompt_tokens`."""
        return self.encoder.prompt(messages, think, quiet=True).tokens

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of a text without control tokens. The model must be loaded."""
        return on_large_stack(lambda: self._ready.model.tokenize(text, special=False))

    def diagnose(self) -> Iterator[Diagnosis]:
        """Check the chat template. The model must be loaded."""
        return diagnose(self.options.template, self._ready.model)

    # Loading and generating

    def load(self) -> Iterator[LoadProgress | Notice]:
        """Start the child, connect to the workers and load the model, unless it is loaded.

        Raises:
            NetworkError: A worker failed.
            ModelError, DoesNotFit: The model cannot be loaded.
            InterruptedError: ``cancel`` was set.
        """
        if self.loaded is not None:
            return
        yield LoadProgress(self.options.path.name, 0.0)
        process = self._process
        try:
            if process is None or not process.is_alive:
                process = self._process = EngineProcess(self.options.rpc, self.cancel)
                yield from process.connect()
            limit = load_limit(self.options.rpc_timeout, file_bytes(self.options.path))
            facts: LoadedFacts = yield from process.request("load", self.options, limit=limit)
            self.loaded = self._assemble(facts)
        except BaseException:
            self.close()
            raise

    def _assemble(self, facts: LoadedFacts) -> LoadedModel:
        """The vocabulary with all that encodes prompts; the child has proven that it loads."""
        model = Model(self.options.path, shape=facts.shape, cancel=self.cancel)
        try:
            template = template_of(self.options, model, self.cancel)
        except BaseException:
            model.close()
            raise
        context = cast("Context", RemoteContext(facts.context_size))
        return LoadedModel(model, context, KVCache(context, model), template, PrefixCache(model))

    def prepare(self, messages: Sequence[ChatMessage], think: Think = "auto") -> Iterator[Event]:  # noqa: ARG002
        """Load the model, before its next prompt comes."""
        yield from self.load()

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        tools: ToolReplies | None = None,
        **options: Any,
    ) -> Iterator[Event]:
        """As `Engine.generate`; raises NetworkError when a worker fails."""
        if tools is not None:
            options |= {"reader": tools.reader, "ends_with_grammar": tools.ends_with_grammar}
        encode = _for_reply(messages, sampling, **options)
        return self._reply("generate", encode, messages, sampling, seed=sampling.seed, **options)

    def candidates(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        count: int,
        *,
        stopped: Container[int] = (),
        **options: Any,
    ) -> Iterator[Event]:
        """As `Engine.candidates`; raises NetworkError when a worker fails."""
        return self._reply(
            "candidates",
            _for_reply(messages, sampling, **options),
            messages,
            sampling,
            count,
            seed=sampling.seed,
            ended=stopped,
            replies=count,
            **options,
        )

    def score_labels(
        self,
        messages: Sequence[ChatMessage],
        labels: Sequence[str],
        prompt: EncodedPrompt | None = None,
    ) -> Iterator[Event]:
        """As `Engine.score_labels`; raises NetworkError when a worker fails."""

        def encode(encoder: PromptEncoder) -> EncodedPrompt:
            return encoder.for_answer(messages)

        return self._reply("score_labels", encode, messages, tuple(labels), prompt=prompt)

    def map(self, tasks: Iterable[BatchTask], options: BatchOptions) -> Iterator[BatchResult]:
        """As `Engine.map`; raises NetworkError when a worker fails."""
        with suppress(InterruptedError):
            for _ in self.load():
                pass
            group: list[BatchTask] = []
            for task in tasks:
                try:
                    group.append(replace(task, ask=Messages(tuple(task.ask()))))
                except TchatError as error:
                    yield BatchResult(task.index, error)
                if len(group) == GROUP:
                    yield from self._call("map", group, options)
                    group = []
                if self.cancel.is_set():
                    return
            if group:
                yield from self._call("map", group, options)

    def _reply(
        self,
        name: str,
        encode: Encode,
        *arguments: Any,
        seed: int = -1,
        ended: Container[int] = (),
        replies: int = 0,
        **options: Any,
    ) -> Iterator[Event]:
        """Let the child reply; it knows no tools, so a prompt that offers them is made here."""
        try:
            yield from self.load()
            if self._ready.tools is not None and options.get("prompt") is None:
                options["prompt"] = encode(self.encoder)
        except InterruptedError:
            yield empty_reply(max(seed, 0))
            return
        yield from self._call(name, *arguments, ended=ended, count=replies, **options)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Generator[Any, None, None]:
        """Let the child do it; without a child afterwards, nothing is loaded."""
        process, loaded = self._process, self._ready
        assert process is not None  # noqa: S101  it lives as long as `loaded`
        limit = float(self.options.rpc_timeout)
        try:
            yield from process.request(name, *arguments, limit=limit, grace=STOP_SECONDS, **options)
        finally:
            loaded.kv.tokens = list(process.cached)
            if not process.is_alive:
                self.close()

    @property
    def _ready(self) -> LoadedModel:
        if self.loaded is None:
            raise RuntimeError("the model is not loaded: iterate load() first")
        return self.loaded

    # What there is in one process only

    def bind_session(self, session: str) -> None:
        """Nothing is saved."""

    def unbind_session(self, session: str) -> None:
        """Nothing is saved."""

    def prefill_time(self, tokens: int) -> float:  # noqa: ARG002
        """Unknown: 0."""
        return 0.0

    def save(self, *_: object, **__: object) -> int:
        """Nothing is saved: 0 tokens."""
        return 0

    def close_snapshots(self) -> None:
        """There are none."""

    def hidden_state_reader(self, layers: Sequence[int]) -> HiddenStateReader:  # noqa: ARG002
        """Refuse.

        Raises:
            UsageError: Always.
        """
        _refuse(tr("the judge reads hidden states"))

    def steer(self, control: Sequence[ControlVector]) -> None:  # noqa: ARG002
        """Refuse, as `hidden_state_reader` does."""
        _refuse(tr("steering changes hidden states"))

    def steered(self, control: Sequence[ControlVector]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Refuse, as `hidden_state_reader` does."""
        _refuse(tr("steering changes hidden states"))


def _for_reply(
    messages: Sequence[ChatMessage],
    sampling: Sampling,
    think: Think = "auto",
    *,
    continue_final: bool = False,
    **_: object,
) -> Encode:
    return lambda encoder: encoder.for_reply(
        messages, sampling, think, continue_final=continue_final
    )


def _refuse(what: str) -> NoReturn:
    raise UsageError(
        tr("{what}, which a model over RPC does not give", what=what),
        tr("use a model that runs on this machine alone, without `rpc`"),
    )
