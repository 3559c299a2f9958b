"""Tool calls and their results as a model reads them: paired, and shortened where they are old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tchat.engine.prompt import ChatMessage, MessageCall
from tchat.sanitize import single_line
from tchat.sessions.records import Message, Role
from tchat.sessions.serialization import json_of

NOT_RUN = "[no result: the call was not run]"  # in the place of a result that is missing


def messages_of_turn(path: Iterable[Message]) -> list[ChatMessage]:
    """The messages of a turn, each call with a result and each result with a call.

    Results come in the order of the calls. What is missing, where a turn was broken off or another
    program wrote it, is made up: templates refuse a call without a result.
    """
    made: list[ChatMessage] = []
    step: _Step | None = None
    for message in path:
        if message.role is Role.TOOL:
            step = step or _Step(ChatMessage("assistant", ""))
            step.add(message)
            continue
        if step is not None:
            made += step.messages()
            step = None
        chat = ChatMessage(message.role.value, message.text, message.reasoning)
        if message.role is Role.ASSISTANT:
            step = _Step(chat, message)
        else:
            made.append(chat)
    return made if step is None else [*made, *step.messages()]


class _Step:
    """A reply, its calls, and their results."""

    def __init__(self, reply: ChatMessage, stored: Message | None = None) -> None:
        self._reply = reply
        calls = stored.tool_calls if stored is not None else ()
        self._calls = [MessageCall(each.id, each.name, json_of(each.arguments)) for each in calls]
        self._results: list[str | None] = [None] * len(calls)

    def add(self, message: Message) -> None:
        """Put a result to its call; to one that is made up where there is none."""
        outcome = message.tool_outcome
        call_id, name = (outcome.call_id, outcome.name) if outcome else ("", "")
        open_calls = [n for n, result in enumerate(self._results) if result is None]
        fits = [n for n in open_calls if self._calls[n].id == call_id]
        fits = fits or [n for n in open_calls if not call_id and self._calls[n].name == name]
        if fits:
            self._results[fits[0]] = message.text
        else:
            self._calls.append(MessageCall(call_id or f"call_{message.id}", name, "{}"))
            self._results.append(message.text)

    def messages(self) -> Iterator[ChatMessage]:
        """The reply with its calls, then a result of each."""
        if not self._calls:
            yield self._reply
            return
        yield replace(self._reply, tool_calls=tuple(self._calls))
        for call, result in zip(self._calls, self._results, strict=True):
            text = NOT_RUN if result is None else result
            yield ChatMessage("tool", text, tool_name=call.name, tool_call_id=call.id)


def shortened(message: ChatMessage, count: Callable[[ChatMessage], int]) -> ChatMessage:
    """What stands for a result that is left out; the result itself where that is as short.

    Always the same text for the same result, so that the KV cache holds it.
    """
    name = single_line(message.tool_name)
    tokens = count(message)
    stub = replace(message, content=f"[result of {name}, {tokens:,} tokens, left out]")
    return stub if 2 * count(stub) < tokens else message
