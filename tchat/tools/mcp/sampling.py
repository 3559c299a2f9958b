"""Replies that servers want from the user's model."""

from __future__ import annotations

import mcp_types as types

from tchat.sanitize import printable
from tchat.tools.mcp.host import SamplingRequest

MAX_MESSAGES = 64
MAX_TEXT = 256 << 10  # characters of all messages
MAX_TOKENS = 4096
MAX_STOPS = 8


def sampling_request(
    server: str, params: types.CreateMessageRequestParams
) -> SamplingRequest | None:
    """The request; None where it needs more than text."""
    if params.tools or len(params.messages) > MAX_MESSAGES or params.max_tokens < 1:
        return None
    messages = []
    for message in params.messages:
        blocks = message.content_as_list
        texts = [each.text for each in blocks if isinstance(each, types.TextContent)]
        if len(texts) < len(blocks):
            return None
        messages.append((str(message.role), printable("\n".join(texts))))
    system = printable(params.system_prompt or "")
    if not messages or len(system) + sum(len(text) for _, text in messages) > MAX_TEXT:
        return None
    temperature = params.temperature
    return SamplingRequest(
        server,
        system,
        tuple(messages),
        min(params.max_tokens, MAX_TOKENS),
        None if temperature is None else min(max(temperature, 0.0), 2.0),
        tuple((params.stop_sequences or [])[:MAX_STOPS]),
    )


def sampling_result(text: str | None) -> types.CreateMessageResult | types.ErrorData:
    """What the server is told."""
    if text is None:
        return types.ErrorData(code=-1, message="User rejected sampling request")
    return types.CreateMessageResult(
        role="assistant",
        content=types.TextContent(type="text", text=text),
        model="tchat",  # which model the user has is nobody's business
        stop_reason="endTurn",
    )
