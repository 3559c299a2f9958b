"""The questions of a session: store a new one, or find one to answer again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tchat.chat.branch import Branch, BranchReader, title_for
from tchat.engine.events import Notice
from tchat.engine.prompt import ChatMessage
from tchat.errors import StorageError, UsageError
from tchat.sessions.records import Message, Role, Session
from tchat.settings import Value

if TYPE_CHECKING:
    from tchat.sessions.store import Store


class Asked(NamedTuple):
    """A question that is stored.

    Attributes:
        branch: What was read of its session meanwhile; None for nothing.
        reply_start: The beginning of the reply, or nothing.
        before: The chat before it, where it was stored for this turn.
    """

    question: Message
    branch: Branch | None = None
    reply_start: Sequence[ChatMessage] = ()
    notice: Notice | None = None
    before: _State | None = None


class _State(NamedTuple):
    """A chat before a question: its session, and the last message of that."""

    session: Session | None
    last: int | None = None


class Questions:
    """The session of a chat, None before its first question, and its questions."""

    def __init__(self, store: Store, branches: BranchReader, session: Session | None) -> None:
        self._store, self._branches = store, branches
        self.session = session

    def ask(
        self,
        prompt: str,
        after: int | None,
        reply_prefix: str,
        *,
        system: str,
        settings: Mapping[str, Value],
    ) -> Asked:
        """Store the user's message below ``after``, the last reply, or a later stopped prompt.

        A later prompt that failed before any reply becomes a sibling of the message. If another
        process deleted the session or its file, a new session begins, with a notice. ``system`` and
        ``settings`` are for a new one.
        """
        reply_start, notice, before = _reply_start(reply_prefix), None, _State(self.session)
        if self.session is not None:
            try:
                branch = self._branches.active(self.session)
                before = _State(self.session, branch.last)
                parent = after or branch.last_reply
                question = self._store.add(self.session.id, Role.USER, prompt, parent_id=parent)
            except (UsageError, StorageError) as error:
                if self._is_there(self.session):
                    raise
                text = f"{error.message}: the chat continues in a new session"
                notice = Notice("storage", text)
            else:
                return Asked(question, branch, reply_start, before=before)
        system = self.session.system if self.session else system
        self.session, question = self._store.begin(
            prompt, title=title_for(prompt), system=system, settings=settings
        )
        return Asked(question, None, reply_start, notice, before)

    def edit(self, message_id: int, text: str) -> Asked:
        """Store ``text`` beside a message, as its sibling."""
        message = self._store.message(message_id)
        branch = self._branches.active(self.session)
        edited = self._store.add(
            message.session_id,
            message.role,
            text,
            parent_id=message.parent_id,
            by_person=message.role is Role.ASSISTANT,
        )
        here = self.session is not None and self.session.id == message.session_id
        return Asked(edited, branch, before=_State(self.session, branch.last) if here else None)

    def withdraw(self, asked: Asked) -> None:
        """Delete a question that was stored for a turn and has no reply; a new session too.

        Raises:
            UsageError, StorageError: It cannot be done.
        """
        question, before = asked.question, asked.before
        if before is None or self._store.active_reply(question.session_id, question.id):
            return
        if before.session is None or before.session.id != question.session_id:
            self._store.delete(question.session_id)
            self.session = before.session
            return
        self._store.delete_message(question.id)
        if before.last is not None:
            self._store.activate(before.last)

    def find(self, message_id: int | None, reply_prefix: str = "") -> Asked:
        """The last question, or the question of a message."""
        message, branch = self._message(message_id)
        return Asked(self._question_of(message), branch, _reply_start(reply_prefix))

    def find_continued(self, message_id: int | None) -> Asked:
        """The question of a reply, with the reply as the beginning of the next one."""
        last, branch = self._message(message_id)
        if last.role is Role.USER:
            return Asked(last, branch)
        unfinished = bytes.fromhex(last.unfinished)
        reply_start = ChatMessage("assistant", last.text, last.reasoning, unfinished)
        return Asked(self._question_of(last), branch, [reply_start])

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

    def _message(self, message_id: int | None) -> tuple[Message, Branch | None]:
        """A message; None: the last one, with its branch."""
        if message_id is not None:
            return self._store.message(message_id), None
        branch = self._branches.active(self.session)
        if not branch.stored:
            raise UsageError("this session has no message yet", "send a prompt first")
        return branch.stored[-1], branch

    def _question_of(self, message: Message) -> Message:
        if message.role is Role.USER:
            return message
        if message.parent_id is None:
            raise UsageError("no prompt precedes this reply", "send a prompt first")
        return self._store.message(message.parent_id)


def _reply_start(text: str) -> list[ChatMessage]:
    return [ChatMessage("assistant", text)] if text else []
