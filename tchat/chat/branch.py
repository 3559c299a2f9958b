"""The messages that a prompt continues, and the question that it stores or answers again.

A branch is grouped into turns, and read again only after a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tchat.engine.events import Notice, Reason
from tchat.engine.prompt import ChatMessage
from tchat.errors import StorageError, UsageError
from tchat.sanitize import single_line
from tchat.sessions.records import Message, Role, Session, Status
from tchat.settings import Value
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.sessions.store import Store

TITLE_LENGTH = 60  # characters


class Branch:
    """Messages from the root of a session to where the next prompt goes.

    Attributes:
        stored: All of them.
    """

    def __init__(self, stored: Sequence[Message]) -> None:
        self.stored = stored

    @cached_property
    def messages(self) -> list[Message]:
        """The messages for the model: without prompts that were stopped before any reply."""
        replied = {each.parent_id for each in self.stored if each.role is Role.ASSISTANT}
        return [
            each
            for each in self.stored
            if each.role is not Role.USER or each.status is not Status.STOPPED or each.id in replied
        ]

    @cached_property
    def turns(self) -> list[list[ChatMessage]]:
        """The messages by turn: a question, its reply, and the tool calls on the way to it."""
        turns: list[list[Message]] = []
        for message in self.messages:
            if message.role is Role.USER or not turns:
                turns.append([])
            turns[-1].append(message)
        return [messages_of_turn(turn) for turn in turns]

    @cached_property
    def starts(self) -> list[int]:
        """Ids of the first messages of the turns."""
        return turn_starts(self.messages)

    @cached_property
    def pinned(self) -> frozenset[int]:
        """Indexes of the turns that are pinned in the context."""
        places = {start: place for place, start in enumerate(self.starts)}
        turns, turn = set(), 0
        for message in self.messages:
            turn = places.get(message.id, turn)
            if message.pinned:
                turns.add(turn)
        return frozenset(turns)

    @cached_property
    def ids(self) -> list[int]:
        """Ids of ``messages``."""
        return [each.id for each in self.messages]

    @property
    def last_written(self) -> Message | None:
        """The last message that names a model."""
        return next((each for each in reversed(self.messages) if each.model), None)

    @property
    def last(self) -> int | None:
        """Id of the last message."""
        return self.stored[-1].id if self.stored else None

    @property
    def last_reply(self) -> int | None:
        """Id of the last reply, result of a tool or stopped prompt: the parent of a new prompt.

        No reply that another process is still writing.
        """
        ends = (
            each.id
            for each in reversed(self.stored)
            if each.status is not Status.STREAMING
            and (each.role in (Role.ASSISTANT, Role.TOOL) or each.status is Status.STOPPED)
        )
        return next(ends, None)


def messages_of_turn(path: Sequence[Message]) -> list[ChatMessage]:
    """The messages of a turn for the model."""
    if any(each.tool_calls or each.role is Role.TOOL for each in path):
        from tchat.chat.tool_messages import messages_with_calls

        return messages_with_calls(path)
    return [ChatMessage(each.role.value, each.text, each.reasoning) for each in path]


class BranchReader:
    """Read branches from a store; reuse the last one until the store changes.

    Threads may share it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._active: tuple[tuple[object, ...], str, Branch] | None = None
        self._next: tuple[Branch, int | None, Branch] | None = None

    def active(self, session: Session | None) -> Branch:
        """The active path of a session, up to its last message.

        Raises:
            UsageError, StorageError: It cannot be read.
        """
        if session is None:
            return Branch([])
        revision, known = self._store.revision(), self._active
        if known is not None and known[:2] == (revision, session.id):
            return known[2]
        branch = Branch(self._store.branch(session.id))
        self._active = revision, session.id, branch
        return branch

    def next(self, session: Session | None, after: int | None = None) -> Branch:
        """The branch that the next prompt continues, up to the message ``after``.

        None is the end of the session, without a question that was not answered.
        """
        active, known = self.active(session), self._next
        if known is not None and known[0] is active and known[1] == after:
            return known[2]
        if after is not None:
            branch = self._to(active, after)
        elif active.messages and active.messages[-1].role is Role.USER:
            branch = Branch(active.messages[:-1])
        else:
            branch = active
        self._next = active, after, branch
        return branch

    def before(self, question: Message, read: Branch | None) -> Branch:
        """The branch before a stored question; ``read`` is one that was read lately."""
        if question.parent_id is None:
            return Branch([])
        return self._to(read or Branch([]), question.parent_id)

    def around(self, message: Message, read: Branch | None) -> tuple[Branch, list[Message]]:
        """The branch before the turn that a message is in, and that turn up to the message.

        ``read`` is a branch that was read lately.
        """
        if message.role is Role.USER:
            return self.before(message, read), [message]
        path = self._to(read or Branch([]), message.id).stored
        starts = [place for place, each in enumerate(path) if each.role is Role.USER]
        start = starts[-1] if starts else 0
        return Branch(path[:start]), list(path[start:])

    def _to(self, read: Branch, message_id: int) -> Branch:
        """The branch up to a message: a prefix of ``read``, or else read from the store."""
        if read.stored and read.stored[-1].id == message_id:
            return read
        place = next((n for n, each in enumerate(read.stored) if each.id == message_id), None)
        if place is not None:
            return Branch(read.stored[: place + 1])
        return Branch(self._store.path_to(message_id))


def turn_starts(path: Sequence[Message]) -> list[int]:
    """Ids of the first messages of the turns of ``path``."""
    return [each.id for place, each in enumerate(path) if each.role is Role.USER or not place]


def title_for(prompt: str) -> str:
    """A session title from its first prompt: the first line with words.

    The files in front of it give the title, by their names, only where it has no words.
    """
    files: list[str] = []
    text = prompt
    if prompt.startswith("File "):
        from tchat.chat.attachments import split_attachments

        files, text = split_attachments(prompt)
    lines = (line.strip("#*>-` \t") for line in text.splitlines())
    first = next((line for line in lines if any(map(str.isalnum, line))), ", ".join(files))
    return single_line(first or prompt, limit=TITLE_LENGTH)


def title_for_parts(question: str, prompt: str) -> str:
    """A session title from a question, and what precedes it in its ``prompt``: a file, or a pipe.

    So that one question about many texts makes titles that differ.
    """
    about = prompt.removesuffix(question).strip()
    parts = [title_for(part) for part in (question, about) if part.strip()]
    return single_line(" · ".join(parts), limit=TITLE_LENGTH)


def left_out_text(path: Sequence[Message], turns: Sequence[int], context: int) -> str:
    """The notice that the oldest turns do not fit into the context any more."""
    start = turn_starts(path)[turns[0]]
    first = next((message.text for message in path if message.id == start), "")
    count = len(turns)
    return trn(
        "the context of {context:,} tokens is full: the oldest turn (“{first}”) is left out of the "
        "prompt and kept in the session",
        "the context of {context:,} tokens is full: the oldest {count:,} turns (from “{first}”) "
        "are left out of the prompt and kept in the session",
        count,
        context=context,
        first=single_line(first, limit=40),
    )


def shortened_text(names: Sequence[str], context: int) -> str:
    """The notice that the oldest results of tools do not fit into the context any more."""
    return trn(
        "the context of {context:,} tokens is full: the oldest result of a tool ({name}) is left "
        "out of the prompt and kept in the session",
        "the context of {context:,} tokens is full: the oldest {count:,} results of tools (from "
        "{name}) are left out of the prompt and kept in the session",
        len(names),
        context=context,
        name=single_line(names[0], limit=40),
    )


def excerpted_text(names: Sequence[str], context: int) -> str:
    """The notice that results of tools are too long for the context."""
    return trn(
        "the result of {name} is too long for the context of {context:,} tokens: the model reads "
        "its beginning and its end",
        "{count:,} results ({name} …) are too long for the context of {context:,} tokens: the "
        "model reads their beginnings and their ends",
        len(names),
        context=context,
        name=single_line(names[0], limit=40),
    )


class StoredQuestion(NamedTuple):
    """A question that is stored, or what a turn with tools goes on from.

    Attributes:
        branch: What was read of its session meanwhile; None for nothing.
        reply_start: The beginning of the reply, or nothing.
        before: The chat before it, where it was stored for this turn.
        new_session: The session that was begun for it.
        sampling: Settings of sampling that hold for this reply only.
        is_step: Whether the turn goes on here behind calls that the model wrote just now.
    """

    message: Message
    branch: Branch | None = None
    reply_start: Sequence[ChatMessage] = ()
    notice: Notice | None = None
    before: _State | None = None
    new_session: Session | None = None
    sampling: Mapping[str, Value] = MappingProxyType({})
    is_step: bool = False


class _State(NamedTuple):
    """A chat before a question: its session, and the last message of that."""

    session: Session | None
    last: int | None = None


class Questions:
    """The questions of a chat. ``session`` is its session, None before the first question."""

    def __init__(self, store: Store, branches: BranchReader) -> None:
        self._store, self._branches = store, branches

    def ask(
        self,
        session: Session | None,
        prompt: str,
        after: int | None,
        reply_prefix: str,
        *,
        title: str,
        system: str,
        settings: Mapping[str, Value],
    ) -> StoredQuestion:
        """Store the user's message below ``after``, the last reply, or a later stopped prompt.

        A later prompt that failed before any reply becomes a sibling of the message. If another
        process deleted the session or its file, a new session begins, with a notice. ``title``,
        ``system`` and ``settings`` are for a new one; without a title, the prompt makes it.
        """
        reply_start, notice, before = _reply_start(reply_prefix), None, _State(session)
        if session is not None:
            try:
                branch = self._branches.active(session)
                before = _State(session, branch.last)
                parent = after or branch.last_reply
                question = self._store.add(session.id, Role.USER, prompt, parent_id=parent)
            except (UsageError, StorageError) as error:
                if self._is_there(session):
                    raise
                text = tr("{reason}: the chat continues in a new session", reason=error.message)
                notice = Notice("storage", text)
            else:
                return StoredQuestion(question, branch, reply_start, before=before)
        system = session.system if session else system
        begun, question = self._store.begin(
            prompt, title=title or title_for(prompt), system=system, settings=settings
        )
        return StoredQuestion(question, None, reply_start, notice, before, begun)

    def edit(self, session: Session | None, message_id: int, text: str) -> StoredQuestion:
        """Store ``text`` beside a message, as its sibling; beside a reply without its calls.

        Raises:
            UsageError: It is the result of a tool.
        """
        message = self._store.message(message_id)
        if message.role is Role.TOOL:
            raise UsageError(
                tr("the result of a tool cannot be edited"),
                tr("edit the question, or the reply that follows"),
            )
        branch = self._branches.active(session)
        edited = self._store.add(
            message.session_id,
            message.role,
            text,
            parent_id=message.parent_id,
            by_person=message.role is Role.ASSISTANT,
        )
        here = session is not None and session.id == message.session_id
        before = _State(session, branch.last) if here else None
        return StoredQuestion(edited, branch, before=before)

    def withdraw(self, session: Session | None, question: StoredQuestion) -> Session | None:
        """Delete a question that was stored for a turn and has no reply; a new session too.

        Returns:
            The session to go on in: ``session``, or the one before the new one.

        Raises:
            UsageError, StorageError: It cannot be done.
        """
        message, before = question.message, question.before
        if before is None or self._store.active_reply(message.session_id, message.id):
            return session
        if before.session is None or before.session.id != message.session_id:
            self._store.delete(message.session_id)
            return before.session
        self._store.delete_message(message.id)
        if before.last is not None:
            self._store.activate(before.last)
        return session

    def find(
        self, session: Session | None, message_id: int | None, reply_prefix: str = ""
    ) -> StoredQuestion:
        """The last question, or the question of a message: what a new reply follows.

        Of a reply behind the result of a tool, that result; of a result, itself.
        """
        message, branch = self._message(session, message_id)
        start = _reply_start(reply_prefix)
        return StoredQuestion(self._question_of(message), branch, start)

    def find_continued(self, session: Session | None, message_id: int | None) -> StoredQuestion:
        """The question of a reply, with the reply as the beginning of the next one.

        Where the loop guard stopped it, it goes on without. A turn that was broken off behind a
        call or a result goes on there.
        """
        last, branch = self._message(session, message_id)
        if last.role in (Role.USER, Role.TOOL) or last.tool_calls:
            return StoredQuestion(last, branch)
        unfinished = bytes.fromhex(last.unfinished)
        reply_start = ChatMessage("assistant", last.text, last.reasoning, unfinished)
        looped = last.finish_reason == Reason.LOOP
        return StoredQuestion(
            self._question_of(last),
            branch,
            [reply_start],
            sampling={"loop_guard": False} if looped else {},
        )

    def _is_there(self, session: Session) -> bool:
        """Whether a session can still be read, as far as is known."""
        from tchat.sessions.database import DatabaseDamaged

        try:
            self._store.branch(session.id, 1)
        except (UsageError, DatabaseDamaged):
            return False
        except StorageError:
            pass
        return True

    def _message(
        self, session: Session | None, message_id: int | None
    ) -> tuple[Message, Branch | None]:
        """A message; None: the last one, with its branch."""
        if message_id is not None:
            return self._store.message(message_id), None
        branch = self._branches.active(session)
        if not branch.stored:
            raise UsageError(tr("this session has no message yet"), tr("send a prompt first"))
        return branch.stored[-1], branch

    def _question_of(self, message: Message) -> Message:
        if message.role in (Role.USER, Role.TOOL):
            return message
        if message.parent_id is None:
            raise UsageError(tr("no prompt precedes this reply"), tr("send a prompt first"))
        return self._store.message(message.parent_id)


def _reply_start(text: str) -> list[ChatMessage]:
    return [ChatMessage("assistant", text)] if text else []
