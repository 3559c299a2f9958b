"""The body of a chat completion: messages, sampling and what else a kind of server takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from tchat.engine.events import Notice
from tchat.errors import UsageError
from tchat.servers.kinds import STANDARD, ServerKind
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.template import Think
    from tchat.redaction.outgoing import OutgoingRedaction

_SURROGATES = re.compile("[\ud800-\udfff]")
# Settings of `Sampling` that are no field of their own, or are not for a server.
_APART = frozenset(
    {"seed", "max_tokens", "stop", "logit_bias", "grammar", "loop_guard", "samplers"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What is asked of a server.

    Attributes:
        messages: The chat.
        sampling: The settings that differ from tchat's defaults are sent: for the others, the
            server's own hold, which it may have from the model's makers.
        seed: The seed of the first reply.
        think: Whether to reason.
        continue_final: Whether to go on with the last message.
        count: Replies.
        logprobs: How many alternatives each token shall have; None for no log-probabilities.
        schema: The JSON schema of the reply.
        tools: Functions that the model may call, as in the API.
        demanded: The names of those of which it has to call one; empty where it may answer.
    """

    messages: Sequence[ChatMessage]
    sampling: Sampling
    seed: int
    think: Think = "auto"
    continue_final: bool = False
    count: int = 1
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    demanded: Sequence[str] = ()

    def redacted(self, redaction: OutgoingRedaction) -> ChatRequest:
        """The request with placeholders in all texts; names of tools stay."""
        stop = tuple(map(redaction.redact, self.sampling.stop))
        return replace(
            self,
            messages=redacted_messages(self.messages, redaction),
            sampling=replace(self.sampling, stop=stop),
            schema=self.schema and redaction.redact_json(self.schema, numbers=False),
            tools=[redacted_tool(each, redaction) for each in self.tools],
        )


def request_body(
    request: ChatRequest, model: str, kind: ServerKind, name: str
) -> tuple[dict[str, Any], list[Notice]]:
    """The body for a server called ``name``, and what it cannot be told.

    Raises:
        UsageError: It cannot do what is asked.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [message_json(each) for each in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    notices = [
        *_add_sampling(body, request, kind, name),
        *_add_think(body, request.think, kind, name),
    ]
    _add_format(body, request, kind, name)
    if request.continue_final:
        if kind.continues:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        elif not kind.prefills:
            text = tr("{name} may begin its reply anew instead of continuing it", name=name)
            notices.append(Notice("template", text))
    if request.count > 1:
        body["n"] = request.count
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.tools:
        _add_tools(body, request, kind)
    return body, notices


def redacted_messages(
    messages: Sequence[ChatMessage], redaction: OutgoingRedaction
) -> list[ChatMessage]:
    """``messages`` with placeholders."""
    return [
        replace(
            each,
            content=redaction.redact(each.content),
            reasoning=redaction.redact(each.reasoning),
            tool_calls=tuple(
                replace(call, arguments=redaction.redact_document(call.arguments))
                for call in each.tool_calls
            ),
        )
        for each in messages
    ]


def redacted_tool(tool: Mapping[str, Any], redaction: OutgoingRedaction) -> dict[str, Any]:
    """The definition of a tool with placeholders."""
    function = tool["function"]
    return {
        **tool,
        "function": {
            **function,
            "description": redaction.redact(function["description"]),
            "parameters": redaction.redact_json(function["parameters"], numbers=False),
        },
    }


def message_json(message: ChatMessage) -> dict[str, Any]:
    """A message as in the API."""
    found: dict[str, Any] = {"role": message.role, "content": valid_text(message.content)}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": valid_text(call.arguments)},
            }
            for call in message.tool_calls
        ]
        found["content"] = found["content"] or None
    if message.role == "tool":
        found["tool_call_id"] = message.tool_call_id
    return found


def valid_text(text: str) -> str:
    """``text`` without lone surrogates, which UTF-8 cannot hold."""
    return _SURROGATES.sub("\ufffd", text)


def _add_sampling(
    body: dict[str, Any], request: ChatRequest, kind: ServerKind, name: str
) -> list[Notice]:
    sampling, refused = request.sampling, []
    names = {**STANDARD, **kind.sampling}
    for each in fields(Sampling):
        value = getattr(sampling, each.name)
        if each.name in _APART or value == each.default:
            continue
        if each.name in names:
            body[names[each.name]] = value
        else:
            refused.append(each.name)
    body["seed"] = request.seed
    if sampling.max_tokens >= 0:
        body["max_tokens"] = max(1, sampling.max_tokens)
    if sampling.stop:
        body["stop"] = [valid_text(stop) for stop in sampling.stop]
    if sampling.logit_bias:
        bias = dict(each.rpartition("=")[::2] for each in sampling.logit_bias)
        if all(token.isdecimal() for token in bias):
            body["logit_bias"] = {token: float(value) for token, value in bias.items()}
        else:
            refused.append("logit_bias")
    if not refused:
        return []
    text = tr(
        "{name} cannot be told of {settings}: its own settings apply",
        name=name,
        settings=", ".join(refused),
    )
    return [Notice("sampling", text)]


def _add_think(body: dict[str, Any], think: Think, kind: ServerKind, name: str) -> list[Notice]:
    if think == "auto":
        return []
    if kind.template_switch:
        body["chat_template_kwargs"] = {"enable_thinking": think == "on"}
    elif kind.effort_switch:
        body["reasoning_effort"] = "medium" if think == "on" else "none"
    else:
        return [Notice("think", tr("the reasoning of {name} cannot be switched", name=name))]
    return []


def _add_tools(body: dict[str, Any], request: ChatRequest, kind: ServerKind) -> None:
    """Add the tools; where a call is demanded, as far as the server can demand it."""
    body["tools"] = [*request.tools]
    if not (names := request.demanded):
        return
    if len(names) == 1 and kind.demands_function:
        body["tool_choice"] = {"type": "function", "function": {"name": names[0]}}
        return
    body["tools"] = [each for each in request.tools if each["function"]["name"] in names]
    if kind.demands_any:
        body["tool_choice"] = "required"


def _add_format(body: dict[str, Any], request: ChatRequest, kind: ServerKind, name: str) -> None:
    """Add the JSON schema or the grammar of the reply."""
    can, grammar = kind.capabilities, request.sampling.grammar
    if request.schema is not None and can.json_schema:
        if kind.name == "llama-cpp-python":
            body["response_format"] = {"type": "json_object", "schema": request.schema}
        else:
            named = {"name": "reply", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif grammar and kind.grammar:
        first, _, second = kind.grammar.partition(".")
        body[first] = {second: grammar} if second else grammar
    elif grammar:
        raise UsageError(
            tr("{name} takes no grammar", name=name),
            tr("a JSON schema works there, or a model in this process"),
        )
