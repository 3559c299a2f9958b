"""A chat of another program becomes a session: its tree, however damaged, in the order of parents.

A program's messages are a tree of `SourceMessage`. What of a reply is spread over several of them
becomes one message, as long as it does not fork; a result of a tool ends it. A message that holds
several steps of a reply is divided by `Steps`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from tchat.sessions.formats.format import Messages
from tchat.sessions.importers.fields import records
from tchat.sessions.importers.importer import (
    Changed,
    ImportReport,
    Omission,
    Outline,
    Sessions,
    TextImporter,
)
from tchat.sessions.records import (
    Message,
    Role,
    Session,
    Status,
    ToolCall,
    ToolOutcome,
    ToolState,
)
from tchat.sessions.session_queries import id_of_origin

_TITLE = 60  # characters of a title that is taken from the first message


@dataclass(slots=True)
class SourceMessage:
    """A message as its program stored it.

    ``key`` names it in ``parent`` of others. ``role`` None is a message that is not shown: what
    follows it belongs to its parent, and its ``reasoning`` to the reply around it. ``joins``: with
    a reply before or behind it, it is one reply. ``created_at`` is 0 where it is not known.

    A result has the role of a tool and its ``outcome``; where that names no call, it is of the
    first one without a result.
    """

    key: str
    parent: str | None
    role: Role | None
    text: str = ""
    reasoning: str = ""
    created_at: float = 0.0
    model: str = ""
    status: Status = Status.DONE
    joins: bool = True
    calls: Sequence[ToolCall] = field(default=(), repr=False)
    outcome: ToolOutcome | None = field(default=None, repr=False)


@dataclass(slots=True)
class SourceChat:
    """A chat as its program stored it.

    ``key`` tells it from all others of ``program``, today and in a later export; without one its
    content does. ``tip`` is the last message of the branch that was shown.
    """

    program: str
    key: str
    messages: Sequence[SourceMessage]
    title: str = ""
    system: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    tip: str = ""


@dataclass(slots=True)
class _Reply:
    """A reply that is being put together; ``number`` once it is complete."""

    parent: int | None
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    created_at: float = 0.0
    model: str = ""
    status: Status = Status.DONE
    calls: list[ToolCall] = field(default_factory=list)
    outcome: ToolOutcome | None = None
    number: int | None = None

    def add(self, message: SourceMessage) -> None:
        """Append what a message says."""
        if message.text.strip():
            self.texts.append(message.text)
        if message.reasoning.strip():
            self.reasoning.append(message.reasoning.strip("\n"))
        self.calls += message.calls
        self.outcome = message.outcome
        if message.role is None and not message.reasoning.strip():
            return
        self.created_at = self.created_at or message.created_at
        self.model = message.model or self.model
        self.status = message.status

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not (self.texts or self.reasoning or self.calls or self.outcome)


@dataclass(slots=True)
class _Finished:
    """A message of the session, before its session is known."""

    parent: int | None
    role: Role
    text: str
    reasoning: str
    created_at: float
    model: str
    status: Status
    calls: tuple[ToolCall, ...] = ()
    outcome: ToolOutcome | None = None
    active: bool = False


class _Tree:
    """Brings the messages of a chat into the order of parents, whatever their links."""

    def __init__(self, messages: Sequence[SourceMessage], report: ImportReport) -> None:
        self._messages = {message.key: message for message in reversed(messages)}
        self._report = report
        self._children: dict[str | None, list[SourceMessage]] = {}
        self._places: dict[str, _Reply] = {}  # of every message that was visited
        self.finished: list[_Finished] = []
        for message in messages:
            if self._messages[message.key] is message:  # the first of that name
                parent = message.parent if message.parent in self._messages else None
                self._children.setdefault(parent, []).append(message)
        orphans = sum(
            message.parent is not None and message.parent not in self._messages
            for message in self._messages.values()
        )
        for root in self._children.get(None, []):
            self._walk(root)
        for message in messages:  # what is left hangs in circles
            if message.key not in self._places:
                orphans += 1
                self._walk(message)
        if orphans:
            report.changed[Changed.LINK] += orphans

    def _walk(self, root: SourceMessage) -> None:
        waiting = [(root, _Reply(None))]
        while waiting:
            message, reply = waiting.pop()
            if message.key in self._places:
                continue
            reply = self._visit(message, reply)
            self._places[message.key] = reply
            children = self._children.get(message.key, ())
            if len(children) == 1:
                waiting.append((children[0], reply))
                continue
            parent = self._finish(reply)
            waiting += ((child, _Reply(parent)) for child in reversed(children))

    def _visit(self, message: SourceMessage, reply: _Reply) -> _Reply:
        if message.role not in (None, Role.ASSISTANT) or not message.joins:
            reply = _Reply(self._finish(reply))
        reply.add(message)
        if message.role in (None, Role.ASSISTANT) and message.joins:
            return reply
        role = message.role or Role.ASSISTANT
        self._append(reply, role)
        return _Reply(reply.number)

    def _finish(self, reply: _Reply) -> int | None:
        """Complete a reply; the number of what follows it hangs on."""
        if reply.is_empty:
            return reply.parent
        if reply.number is None:
            self._append(reply, Role.ASSISTANT)
        return reply.number

    def _append(self, reply: _Reply, role: Role) -> None:
        text, reasoning = "\n\n".join(reply.texts), "\n\n".join(reply.reasoning)
        values = (reply.created_at, reply.model, reply.status, tuple(reply.calls))
        outcome = self._of_call(reply.outcome, reply.parent) if reply.outcome else None
        self.finished.append(_Finished(reply.parent, role, text, reasoning, *values, outcome))
        reply.number = len(self.finished)

    def _of_call(self, outcome: ToolOutcome, parent: int | None) -> ToolOutcome:
        """An outcome with the id and the name of its call, which is above it."""
        answered = []
        while parent is not None and (found := self.finished[parent - 1]).outcome is not None:
            answered.append(found.outcome.call_id)
            parent = found.parent
        calls = self.finished[parent - 1].calls if parent is not None else ()
        waiting = [call for call in calls if call.id not in answered]
        fits = [call for call in waiting if outcome.call_id == call.id]
        if not outcome.call_id:
            fits = [call for call in waiting if call.name == outcome.name] or waiting
        if not fits:
            return outcome
        return replace(outcome, call_id=fits[0].id, name=outcome.name or fits[0].name)

    def activate(self, key: str) -> None:
        """Make a message and its ancestors the active ones among their siblings."""
        reply = self._places.get(key)
        if reply is None:
            return
        number = reply.parent if reply.is_empty or reply.number is None else reply.number
        while number is not None:
            found = self.finished[number - 1]
            found.active = True
            number = found.parent


def json_importer(
    name: str,
    matches: Callable[[str, Outline], bool],
    chats: Callable[[Iterable[Any], ImportReport], Iterator[SourceChat]],
) -> TextImporter:
    """An importer of JSON: ``chats`` gets the values of a document, see `records`."""

    def read(texts: Iterable[str], report: ImportReport) -> Sessions:
        return sessions_of(chats(records(texts), report), report)

    return TextImporter(name, matches, read)


def sessions_of(chats: Iterator[SourceChat], report: ImportReport) -> Sessions:
    """The chats as sessions; empty ones are counted and left out."""
    for chat in chats:
        tree = _Tree(chat.messages, report)
        if not tree.finished:
            report.left_out[Omission.EMPTY] += 1
            continue
        tree.activate(chat.tip)
        report.programs[chat.program] += 1
        session = _session(chat, tree.finished)
        yield session, _messages(session, tree.finished)


def _session(chat: SourceChat, messages: Sequence[_Finished]) -> Session:
    times = [message.created_at for message in messages if message.created_at]
    created = chat.created_at or min(times, default=0.0)
    key = chat.key or content_key(*((message.role, message.text) for message in messages))
    asked = next((message.text for message in messages if message.role is Role.USER), "")
    return Session(
        id=id_of_origin(f"{chat.program}\n{key}"),
        title=" ".join(chat.title.split()) or " ".join(asked[: _TITLE * 4].split())[:_TITLE],
        system=chat.system,
        created_at=created,
        updated_at=max(chat.updated_at, created, *times),
        settings={},
        messages=0,
    )


def _messages(session: Session, messages: Sequence[_Finished]) -> Messages:
    for number, message in enumerate(messages, 1):
        yield (
            Message(
                id=number,
                session_id=session.id,
                parent_id=message.parent,
                role=message.role,
                text=message.text,
                reasoning=message.reasoning,
                status=message.status,
                created_at=message.created_at,
                model=message.model if message.role is Role.ASSISTANT else "",
                model_sha256="",
                quantization="",
                template_hash="",
                sampling={},
                usage={},
                timings={},
                finish_reason="",
                tool_calls=message.calls,
                tool_outcome=message.outcome,
            ),
            message.active,
        )


class Steps:
    """A reply whose steps stand in one message: texts, calls of tools, results, texts again."""

    def __init__(self, message: SourceMessage, separator: str = "\n\n") -> None:
        self._message, self._separator = message, separator
        self._steps = [_Step()]

    def add_text(self, text: str) -> None:
        """Append a piece of the answer."""
        if text:
            self._next.texts.append(text)

    def add_reasoning(self, text: str) -> None:
        """Append a piece of the reasoning."""
        if text:
            self._next.reasoning.append(text)

    def add_call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        """Append a call; without an id it gets one."""
        number = sum(len(step.calls) for step in self._steps) + 1
        call_id = call_id or f"{self._message.key}:{number}"
        self._next.calls.append(ToolCall(id=call_id, name=name, arguments=arguments))

    def add_result(self, call_id: str, name: str, text: str, *, failed: bool = False) -> None:
        """Append the result of a call; without an id of the first that has none."""
        state = ToolState.FAILED if failed else ToolState.DONE
        outcome = ToolOutcome(call_id=call_id, name=name, state=state)
        self._steps[-1].results.append((outcome, text))

    @property
    def _next(self) -> _Step:
        """The step that goes on: a result ends one."""
        if self._steps[-1].results:
            self._steps.append(_Step())
        return self._steps[-1]

    def messages(self) -> list[SourceMessage]:
        """The message, or a chain of messages: the last one has its key."""
        made = [each for step in self._steps for each in self._messages_of(step)]
        parent = self._message.parent
        for number, message in enumerate(made):
            is_last = number == len(made) - 1
            message.key = self._message.key if is_last else f"{self._message.key}/{number}"
            message.parent, parent = parent, message.key
            message.status = self._message.status if is_last else Status.DONE
        return made or [self._message]

    def _messages_of(self, step: _Step) -> Iterator[SourceMessage]:
        if step.texts or step.reasoning or step.calls:
            yield replace(
                self._message,
                role=self._message.role or (Role.ASSISTANT if step.calls else None),
                text=self._separator.join(step.texts),
                reasoning="\n\n".join(step.reasoning),
                calls=tuple(step.calls),
            )
        for outcome, text in step.results:
            yield replace(self._message, role=Role.TOOL, text=text, reasoning="", outcome=outcome)


@dataclass(slots=True)
class _Step:
    """What a model said and called, and what came of the calls."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[tuple[ToolOutcome, str]] = field(default_factory=list)


def linear(messages: Sequence[SourceMessage]) -> str:
    """Make each message the parent of the next; the key of the last one."""
    for before, message in pairwise(messages):
        message.parent = before.key
    return messages[-1].key if messages else ""


def leading_system(messages: list[SourceMessage]) -> str:
    """Take the system messages off the beginning of a linear chat; their text."""
    texts: list[str] = []
    while messages and messages[0].role is Role.SYSTEM:
        texts.append(messages.pop(0).text.strip("\n"))
    if messages:
        messages[0].parent = None
    return "\n\n".join(filter(None, texts))


def content_key(*parts: object) -> str:
    """A key for a chat that has no name of its own, by what it contains."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


ROLES: Mapping[str, Role] = {
    "user": Role.USER,
    "human": Role.USER,
    "assistant": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}
