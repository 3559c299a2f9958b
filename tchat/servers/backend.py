"""A model on a server as a `Backend`: the same calls and events as of the engine."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tchat.engine.capabilities import Capabilities
from tchat.engine.events import (
    CandidateEvent,
    Event,
    LabelScores,
    LoadProgress,
    Reason,
    empty_reply,
)
from tchat.engine.sampling import fresh_seed, several_seeds
from tchat.errors import UsageError
from tchat.servers.config import ServerModel
from tchat.servers.connection import ServerConnection, Stopped
from tchat.servers.description import ServerDescription, describe, read_models
from tchat.servers.kinds import KINDS
from tchat.servers.labels import ALTERNATIVES, label_scores
from tchat.servers.request import ChatRequest
from tchat.servers.several_turns import SeveralTurns
from tchat.servers.token_count import Calibration, ServerEncoder
from tchat.servers.turn import ServerTurn
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.egress.egress_log import EgressLog
    from tchat.engine.binding import Cancel
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.encoder import EncodedPrompt
    from tchat.engine.prompt.template import Think
    from tchat.engine.prompt.tools import PromptTools
    from tchat.engine.tool_reply import ToolReplies
    from tchat.redaction.outgoing import OutgoingRedaction


class ServerBackend:
    """A model on a server.

    Args:
        model: The server and its model; an empty one is the only one there.
        key: The API key; empty for none.
        egress: Logs what is sent to the server.
        cancel: Ends the call in progress when it is set, from any thread.

    Attributes:
        schema: The JSON schema that replies must have; None for none.
        redaction: Replaces values in what is sent, and puts them back; None for neither.
    """

    def __init__(self, model: ServerModel, key: str, egress: EgressLog, cancel: Cancel) -> None:
        self.server, self._wanted = model
        self.cancel = cancel
        self.schema: Mapping[str, Any] | None = None
        self.redaction: OutgoingRedaction | None = None
        self._offered: Sequence[Mapping[str, Any]] = ()
        self._connection = ServerConnection(self.server, egress, key)
        self._calibration = Calibration()
        self._description: ServerDescription | None = None

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._description = None

    # Facts

    @property
    def is_loaded(self) -> bool:
        """Whether the server was asked for the model."""
        return self._description is not None

    @property
    def description(self) -> ServerDescription:
        """What the server told of itself and the model; it must be loaded."""
        if self._description is None:
            raise RuntimeError("the server was not asked: iterate load() first")
        return self._description

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do; of a kind that is not known yet, what all can."""
        if self._description is not None:
            return self._description.capabilities
        return KINDS[self.server.kind or "other"].capabilities

    @property
    def local_engine(self) -> None:
        """None: see `Backend`."""
        return

    @property
    def context_size(self) -> int:
        """Tokens of context. It must be loaded."""
        return self.description.model.context

    @property
    def trained_context_size(self) -> int:
        """0: a larger context is a matter of the server."""
        return 0

    @property
    def template_hash(self) -> str:
        """Empty: the template is a matter of the server."""
        return ""

    @property
    def encoder(self) -> ServerEncoder:
        """Counts prompts, on the server where it can, until ``cancel`` is set."""
        return ServerEncoder(
            self.server.url,
            self.description,
            self._calibration,
            self._connection,
            self.cancel.is_set,
            self.redaction,
            self._offered,
        )

    @contextmanager
    def counting(self) -> Iterator[ServerEncoder | None]:
        """Estimate prompts on any thread; a draft is not sent to be counted."""
        found = self._description
        yield (
            ServerEncoder(self.server.url, found, self._calibration, offered=self._offered)
            if found
            else None
        )

    # What only the engine in this process does

    def bind_session(self, session: str) -> None:
        """Log the requests from now on as those of ``session``; nothing else is saved."""
        self._connection.session = session

    def unbind_session(self, session: str) -> None:
        """Log the requests from now on as those of no session."""
        if self._connection.session == session:
            self._connection.session = ""

    def save(
        self,
        should_continue: Callable[[], bool] = lambda: True,  # noqa: ARG002 - as of the engine
        *,
        at_exit: bool = False,  # noqa: ARG002
    ) -> int:
        """Nothing is saved of a prompt on a server."""
        return 0

    # Replies

    def load(self) -> Iterator[Event]:
        """Ask the server for the model, unless that was done.

        Raises:
            ServerError: It cannot be reached, or answers with an error.
            ModelNotFound: It has no such model.
            InterruptedError: ``cancel`` was set.
        """
        if self._description is not None:
            return
        try:
            self._description = describe(self._connection, self._wanted, self.cancel.is_set)
        except Stopped:
            raise InterruptedError from None
        yield LoadProgress(f"{self.server.name}/{self._description.model.id}", 1.0)

    def require_answer(self, seconds: float) -> None:
        """Ask the server whether it is there, and for the model unless that was done.

        Raises:
            ServerError: It does not answer in ``seconds``.
            ModelNotFound: It has no such model.
            InterruptedError: ``cancel`` was set.
        """
        if self._description is None:
            list(self.load())
            return
        try:
            read_models(self._connection, self.cancel.is_set, seconds)
        except Stopped:
            raise InterruptedError from None

    def prompt_tokens(
        self,
        messages: Sequence[ChatMessage],
        think: Think = "auto",  # noqa: ARG002 - as of the engine
    ) -> list[int]:
        """As many tokens as the prompt has; their numbers mean nothing."""
        return self.encoder.for_answer(messages).tokens

    def offer_tools(self, tools: PromptTools | None) -> None:
        """Offer ``tools`` in every prompt from now on."""
        self._offered = [each.as_json() for each in tools.definitions] if tools else ()

    def prompt_behind_call(
        self,
        messages: Sequence[ChatMessage],  # noqa: ARG002 - as of the engine
        think: Think = "auto",  # noqa: ARG002
    ) -> None:
        """None: a prompt is sent as a whole."""
        return

    def prepare(
        self,
        messages: Sequence[ChatMessage],  # noqa: ARG002 - as of the engine
        think: Think = "auto",  # noqa: ARG002
    ) -> Iterator[Event]:
        """Ask the server for the model; nothing of a chat is sent before its next prompt."""
        yield from self.load()

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        think: Think = "auto",
        continue_final: bool = False,
        prompt: EncodedPrompt | None = None,
        tools: ToolReplies | None = None,
        redaction: OutgoingRedaction | None = None,
    ) -> Iterator[Event]:
        """Write the next reply, or continue the last message when ``continue_final``.

        With ``tools``, it may call those that were offered. ``redaction`` takes the place of the
        attribute for this reply.

        Raises:
            ServerError: The server cannot be reached, refuses, or is cut off.
            ModelNotFound, PromptTooLong: It says so.
            UsageError: It cannot do what is asked.
        """
        seed = sampling.seed if sampling.seed >= 0 else fresh_seed()
        total = yield from self._start(messages, prompt)
        if total is None:
            yield empty_reply(seed)
            return
        request = ChatRequest(
            messages=messages,
            sampling=sampling,
            seed=seed,
            think=think,
            continue_final=continue_final,
            schema=self.schema,
            tools=self._offered if tools is not None else (),
            demanded=tools.demanded if tools is not None else (),
        )
        turn = self._turn(request, total, redaction)
        try:
            for item in turn.items(self.cancel.is_set):
                yield item[1] if isinstance(item, tuple) else item
        except Stopped:
            turn.stop(0)
        yield from turn.close(0)
        yield from turn.calls(tools)
        self._calibrate(messages, turn)
        yield turn.finished(0, seed)

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
        """Write ``count`` replies; otherwise as `generate`, and as of the engine.

        In one request where the server can do that, else in several at a time.

        Raises:
            UsageError: ``states`` are asked for, which no server gives.
        """
        if states:
            raise UsageError(
                tr("{name} gives no hidden states, which this ranker needs", name=self.server.name),
                tr("choose another: --ranker logprob"),
            )
        seeds = several_seeds(sampling.seed, count)
        total = yield from self._start(messages, prompt)
        if total is None:
            yield empty_reply(seeds[0])
            return
        request = ChatRequest(
            messages=messages,
            sampling=sampling,
            seed=seeds[0],
            think=think,
            continue_final=continue_final,
            logprobs=0 if self.capabilities.logprobs else None,
            schema=self.schema,
        )
        several = self._choices if self.description.kind.has_choices else self._requests
        yield from several(request, seeds, total, stopped)

    def _choices(
        self, request: ChatRequest, seeds: Sequence[int], total: int, stopped: Container[int]
    ) -> Iterator[Event]:
        """All replies of one request."""
        turn = self._turn(replace(request, count=len(seeds)), total)
        try:
            for item in turn.items(self.cancel.is_set, stopped):
                yield CandidateEvent(*item) if isinstance(item, tuple) else item
        except Stopped:
            for index in turn.replies:
                turn.stop(index)
        for index, seed in enumerate(seeds):
            if index in stopped:
                turn.stop(index)
            for event in turn.close(index):
                yield CandidateEvent(index, event)
            # Only the first has the seed that was given; of the others the server tells none.
            yield CandidateEvent(index, turn.finished(index, seed))
        self._calibrate(request.messages, turn)

    def _requests(
        self, request: ChatRequest, seeds: Sequence[int], total: int, stopped: Container[int]
    ) -> Iterator[Event]:
        """A request for each reply, several at a time."""
        turns = [self._turn(replace(request, seed=seed), total) for seed in seeds]
        several = SeveralTurns(turns, seeds, stopped, self.cancel.is_set)
        yield from several.events(self.description.kind.parallel)

    def score_labels(
        self,
        messages: Sequence[ChatMessage],
        labels: Sequence[str],
        prompt: EncodedPrompt | None = None,
        redaction: OutgoingRedaction | None = None,
    ) -> Iterator[Event]:
        """Choose one of ``labels``, by the probabilities of the first token of the reply.

        ``redaction`` takes the place of the attribute for this choice.

        Raises:
            UsageError: The server gives no log-probabilities, or they cannot tell the labels.
        """
        total = yield from self._start(messages, prompt)
        if total is None:
            yield empty_reply()
            return
        name = self.server.name
        if not self.capabilities.logprobs:
            raise UsageError(
                tr("{name} gives no log-probabilities, which a choice needs", name=name),
                tr("choose with a model in this process: -m MODEL"),
            )
        request = ChatRequest(
            messages=messages,
            sampling=Sampling(temp=0.0, max_tokens=1),
            seed=0,
            think="off" if self.description.kind.can_switch_thinking else "auto",
            logprobs=ALTERNATIVES,
        )
        redaction = redaction or self.redaction
        turn = self._turn(request, total, redaction)
        try:
            for item in turn.items(self.cancel.is_set):
                if not isinstance(item, tuple):
                    yield item
        except Stopped:
            yield empty_reply()
            return
        sent = list(map(redaction.redact, labels)) if redaction is not None else labels
        own = dict(zip(sent, labels, strict=True))
        found = label_scores(turn.replies[0].first_tokens, sent, name)
        scores = tuple((own[label], score) for label, score in found)
        yield LabelScores(scores)
        turn.replies[0].reason = Reason.STOP
        yield turn.finished(0, 0, scores[0][0])

    def _start(
        self, messages: Sequence[ChatMessage], prompt: EncodedPrompt | None
    ) -> Generator[Event, None, int | None]:
        """Load the model; returns the tokens of the prompt, or None when stopped."""
        try:
            yield from self.load()
            counted = prompt or self.encoder.for_answer(messages)
        except InterruptedError:
            return None
        return len(counted.tokens)

    def _turn(
        self, request: ChatRequest, total: int, redaction: OutgoingRedaction | None = None
    ) -> ServerTurn:
        redaction = redaction or self.redaction
        return ServerTurn(self._connection, self.description, request, total, redaction)

    def _calibrate(self, messages: Sequence[ChatMessage], turn: ServerTurn) -> None:
        if turn.usage.prompt is not None:
            self._calibration.record(messages, turn.usage.prompt, turn.offered)
