"""Calls of tools and their results in pairs, as whatever reads them needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tchat.sessions.records import Message, Role, ToolCall, ToolOutcome, ToolState

NO_RESULT = "[no result]"


def paired(path: Iterable[Message]) -> Iterator[Message]:
    """The messages of a path, each call with a result and each result with a call.

    Results come in the order of the calls. What is missing, where a turn was broken off or another
    program wrote it, is made up: APIs and templates refuse a call without a result.
    """
    step: _Step | None = None
    for message in path:
        if message.role is Role.TOOL:
            step = step or _Step(replace(message, role=Role.ASSISTANT, text="", tool_outcome=None))
            step.add(message)
            continue
        if step is not None:
            yield from step.messages()
            step = None
        if message.role is Role.ASSISTANT:
            step = _Step(message)
        else:
            yield message
    if step is not None:
        yield from step.messages()


class _Step:
    """A reply, its calls, and their results."""

    def __init__(self, reply: Message) -> None:
        self._reply = reply
        self._calls = [*reply.tool_calls]
        self._results: list[Message | None] = [None] * len(self._calls)

    def add(self, message: Message) -> None:
        """Put a result to its call; to one that is made up where there is none."""
        outcome = message.tool_outcome or _done("", "")
        place = self._place(outcome.call_id, outcome.name)
        if place is not None:
            self._results[place] = message
            return
        call_id = outcome.call_id or f"call_{message.id}"
        self._calls.append(ToolCall(id=call_id, name=outcome.name, arguments={}))
        self._results.append(message)

    def _place(self, call_id: str, name: str) -> int | None:
        waiting = [n for n, result in enumerate(self._results) if result is None]
        fits = [n for n in waiting if self._calls[n].id == call_id]
        if not call_id:
            fits = fits or [n for n in waiting if self._calls[n].name == name]
        return next(iter(fits), None)

    def messages(self) -> Iterator[Message]:
        """The reply with its calls, then a result of each."""
        if not self._calls:
            yield self._reply
            return
        yield replace(self._reply, tool_calls=tuple(self._calls))
        for call, result in zip(self._calls, self._results, strict=True):
            outcome = replace(
                (result and result.tool_outcome) or _done(call.id, call.name),
                call_id=call.id,
                name=call.name,
            )
            if result is not None:
                yield replace(result, tool_outcome=outcome)
                continue
            missing = replace(self._reply, role=Role.TOOL, text=NO_RESULT, reasoning="")
            stopped = replace(outcome, state=ToolState.STOPPED)
            yield replace(missing, tool_calls=(), tool_outcome=stopped)


def _done(call_id: str, name: str) -> ToolOutcome:
    return ToolOutcome(call_id=call_id, name=name, state=ToolState.DONE)
