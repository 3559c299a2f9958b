"""A turn with tools as a chat yields it, with what a test says in place of a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tchat.chat.chat import Chat
from tchat.engine.events import (
    Event,
    Finished,
    MessageStored,
    Notice,
    PromptProgress,
    Reason,
    StepFinished,
    StepState,
    TextDelta,
    Timings,
    TokenUsage,
    ToolCallStarted,
    ToolStep,
)
from tchat.sessions.records import Role, Status, ToolCall, ToolOutcome, ToolState
from tchat.tui.widgets.prompt_draft import Draft
from tests.tui.chat_stage import Shown


@dataclass(frozen=True)
class Called:
    """A call, and what comes of it; ``waits`` keeps it running until the test lets it go on."""

    name: str
    arguments: Mapping[str, Any]
    content: str = ""
    state: StepState = StepState.DONE
    seconds: float = 0.003
    waits: bool = False


@dataclass
class Script:
    """Replies, each with a text and its calls; the last one calls nothing.

    Attributes:
        told: Notices of each reply.
        go_on: Lets a call that waits go on.
    """

    replies: Sequence[tuple[str, Sequence[Called]]]
    told: Sequence[Notice] = ()
    go_on: threading.Event = field(default_factory=threading.Event)

    def play(self, shown: Shown, prompt: str = "Look") -> None:
        """Begin the turn on the screen, in a session that has a message."""
        shown.screen.controllers.turn.run_draft(Draft(prompt), self._turn, shown=True)

    def _turn(self, chat: Chat, text: str) -> Iterator[Event]:
        store, session = chat.store, chat.session
        assert session is not None
        parent = store.branch(session.id)[-1].id
        parent = store.add(session.id, Role.USER, text, parent_id=parent).id
        for said, calls in self.replies:
            reply = store.add(
                session.id, Role.ASSISTANT, "", parent_id=parent, status=Status.STREAMING
            )
            yield MessageStored(parent, reply.id)
            yield from self.told
            yield PromptProgress(10, 10, 0)
            yield from (TextDelta(word) for word in said.splitlines(keepends=True))
            yield from (ToolCallStarted(at, each.name) for at, each in enumerate(calls))
            made = tuple(
                ToolCall(id=f"c{at}", name=each.name, arguments=each.arguments)
                for at, each in enumerate(calls)
            )
            store.finish(reply.id, status=Status.DONE, text=said, tool_calls=made)
            reason = Reason.TOOL_CALLS if calls else Reason.STOP
            end = Finished(reason, said, "", 1, TokenUsage(10, 0, 10, 5), Timings(0, 0, 0))
            if not calls:
                yield end
                return
            yield StepFinished(end)
            parent = reply.id
            for at, each in enumerate(calls):
                asked = (reply.id, at, each.name, each.arguments)
                yield ToolStep(*asked, StepState.RUNNING)
                if each.waits:
                    while not self.go_on.wait(0.02):
                        if chat.cancel.is_set():
                            yield replace(end, reason=Reason.CANCELLED)
                            return
                outcome = ToolOutcome(
                    call_id=f"c{at}",
                    name=each.name,
                    state=ToolState(each.state.value),
                    seconds=each.seconds,
                )
                result = store.add(
                    session.id, Role.TOOL, each.content, parent_id=parent, tool_outcome=outcome
                )
                parent = result.id
                yield ToolStep(*asked, each.state, each.content, each.seconds, result.id)
