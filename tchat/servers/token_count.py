"""Tokens of a prompt for a server: estimated, or counted there where it may not fit.

A draft is never sent to be counted: it leaves this machine when the user sends it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tchat.engine.prompt import ChatMessage, never
from tchat.engine.prompt.encoder import EncodedPrompt, too_long
from tchat.engine.prompt.message_formats import ReplyPhase
from tchat.errors import TchatError
from tchat.servers.connection import ServerConnection, Stopped
from tchat.servers.description import ServerDescription
from tchat.servers.request import message_json, redacted_messages, redacted_tool

if TYPE_CHECKING:
    from tchat.engine.prompt.template import Think
    from tchat.redaction.outgoing import OutgoingRedaction
    from tchat.settings import Sampling

BYTES_PER_TOKEN = 3.6  # of UTF-8, about, over languages and code
MARKS = 4  # tokens that a template writes around a message, about
SECONDS = 10.0  # for one count
NEAR = 0.5  # share of the context from which an estimate will not do: a count takes a request
FEWEST, MOST = 1.0, 8.0  # plausible bytes for a token
LEAST_MEASURED = 200  # tokens of a prompt that tell something


@dataclass(slots=True)
class Calibration:
    """Bytes for each token, as the last prompts had."""

    bytes_per_token: float = BYTES_PER_TOKEN

    def record(
        self,
        messages: Sequence[ChatMessage],
        tokens: int,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Learn from a prompt with ``tools``, whose tokens the server has told."""
        left = tokens - MARKS * len(messages)
        if left >= LEAST_MEASURED:
            texts = (*map(_text_of, messages), _definitions(tools))
            measured = sum(map(_size, texts)) / left
            self.bytes_per_token = min(max(measured, FEWEST), MOST)


@dataclass(frozen=True, slots=True)
class ServerEncoder:
    """Counts prompts for a model on a server. An `EncodedPrompt` of it has tokens in number only.

    Args:
        url: The server's.
        description: The server and its model.
        calibration: What prompts before have shown.
        connection: Where to count; None to estimate.
        stopped: Whether to give up.
        redaction: Replaces values in what is sent to be counted; None for none.
        offered: The tools that each prompt offers, as in the API.
    """

    url: str
    description: ServerDescription
    calibration: Calibration
    connection: ServerConnection | None = field(default=None, compare=False)
    stopped: Callable[[], bool] = field(default=never, compare=False)
    redaction: OutgoingRedaction | None = field(default=None, compare=False)
    offered: Sequence[Mapping[str, Any]] = field(default=(), hash=False)

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.description.model.id

    @property
    def template(self) -> str:
        """The URL of the server, which has the template."""
        return self.url

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """Those that are offered with each prompt."""
        return self.offered

    @property
    def size(self) -> int:
        """Tokens of context."""
        return self.description.model.context

    @property
    def is_exact(self) -> bool:
        """Whether prompts are counted exactly."""
        return self.connection is not None and self.description.capabilities.exact_tokens

    def count(self, text: str) -> int:
        """Tokens of a text, about."""
        return math.ceil(_size(text) / self.calibration.bytes_per_token)

    def for_reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,  # noqa: ARG002 - as of the engine
        think: Think = "auto",  # noqa: ARG002
        *,
        continue_final: bool = False,
    ) -> EncodedPrompt:
        """The prompt of a reply."""
        return self.for_answer(messages, continue_final=continue_final)

    def for_answer(
        self, messages: Sequence[ChatMessage], *, continue_final: bool = False
    ) -> EncodedPrompt:
        """The prompt of an answer.

        Raises:
            PromptTooLong: It cannot fit, by far.
            InterruptedError: ``stopped`` was True.
        """
        about = sum(self.count(_text_of(each)) + MARKS for each in messages)
        about += self.count(_definitions(self.offered))
        if about > 2 * self.size:
            raise too_long(about, self.size, self.description.model.trained_context, about=True)
        tokens = None
        is_near = about >= NEAR * self.size
        if is_near and self.connection is not None and self.description.kind.tokenize:
            with suppress(TchatError):
                tokens = self._counted(self.connection, messages, continues=continue_final)
        return EncodedPrompt(
            [0] * (about if tokens is None else tokens), "", ReplyPhase.START, (), ()
        )

    def _counted(
        self, connection: ServerConnection, messages: Sequence[ChatMessage], *, continues: bool
    ) -> int | None:
        """What the server counts; None where its answer says nothing."""
        tools = self.offered
        if self.redaction is not None:
            messages = redacted_messages(messages, self.redaction)
            tools = [redacted_tool(each, self.redaction) for each in tools]
        turns = [message_json(each) for each in messages]
        chat = {"messages": turns, **({"tools": tools} if tools else {})}
        begins = {"add_generation_prompt": not continues, "continue_final_message": continues}
        try:
            match self.description.kind.tokenize:
                case "messages":
                    body = {"model": self.description.model.id, **chat, **begins}
                    return _count_in(self._post(connection, "//tokenize", body))
                case "template":
                    written = self._post(connection, "//apply-template", chat)
                    if not isinstance(written.get("prompt"), str):
                        return None
                    body = {"content": written["prompt"], "add_special": True}
                    return _count_in(self._post(connection, "//tokenize", body))
                case _:
                    text = "\n".join((*map(_text_of, messages), _definitions(tools)))
                    found = _count_in(
                        self._post(connection, "//extras/tokenize/count", {"input": text})
                    )
                    return None if found is None else found + MARKS * len(messages)
        except Stopped:
            raise InterruptedError from None

    def _post(
        self, connection: ServerConnection, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        found = connection.post(path, body, self.stopped, SECONDS)
        return found if isinstance(found, Mapping) else {}


def _count_in(found: Mapping[str, Any]) -> int | None:
    tokens, count = found.get("tokens"), found.get("count")
    if type(count) is int and 0 <= count < 1 << 30:
        return count
    return len(tokens) if isinstance(tokens, list) else None


def _text_of(message: ChatMessage) -> str:
    """What a message adds to a prompt, besides its marks."""
    calls = (text for call in message.tool_calls for text in (call.name, call.arguments))
    return "\n".join((message.content, *calls))


def _definitions(tools: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(tools, ensure_ascii=False) if tools else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
