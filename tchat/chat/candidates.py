"""Store several replies to one question while they are generated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeGuard

from tchat.chat.arguments import split_argument
from tchat.chat.model import ChatModel
from tchat.chat.reply_journal import JournalWriter, ReplyJournal
from tchat.engine.events import CandidateEvent, Event, Finished, MessageStored, Reason
from tchat.errors import UsageError
from tchat.sessions.records import Message
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.sessions.store import Store

MAX_CANDIDATES = 16  # replies at a time: more are slower than one after the other on most machines
DEFAULT_CANDIDATES = 4
_STOPPED = Reason.CANCELLED


def parse_candidates(argument: str, command: str = "try") -> tuple[int, str]:
    """Parse ``/try [N] [TEXT]``: the count, and the prompt (empty: the last question).

    Raises:
        UsageError: The count is out of bounds.
    """
    first, rest = split_argument(argument)
    if not first.removeprefix("-").isdecimal():
        return DEFAULT_CANDIDATES, argument.strip()
    count = int(first) if len(first) < 6 else 0
    if not 2 <= count <= MAX_CANDIDATES:
        raise UsageError(
            f"/{command} writes 2 to {MAX_CANDIDATES} replies", f"for example /{command} 4"
        )
    return count, rest


class CandidateJournals:
    """One `ReplyJournal` for each of several sibling replies.

    The first whole one becomes the active one. Where all were stopped, the reply from before stays
    it.

    Attributes:
        before_stays: Whether the reply from before is the active one again, once all are closed.

    Args:
        store: Where they go.
        question: What they answer.
        model: What writes them.
        settings: In force.
        count: Replies.

    Raises:
        StorageError: A row cannot be made; none is left.
    """

    def __init__(
        self,
        store: Store,
        question: Message,
        model: ChatModel,
        settings: Settings,
        count: int,
    ) -> None:
        self._store, self._question = store, question
        self._writer = JournalWriter(store)
        self._ended: dict[int, Reason] = {}
        self.before_stays = False
        self._journals: list[ReplyJournal] = []
        with ExitStack() as made:  # where one cannot be made, the others go
            for _ in range(count):
                journal = ReplyJournal.open(store, question, model, settings, self._writer)
                made.callback(journal.close)
                self._journals.append(journal)
            self._before = before = self._journals[0].before
            store.activate(before.id if _is_there(before) else self._journals[0].message_id)
            self._open = made.pop_all()
        for journal in self._journals:
            journal.before = before

    @property
    def ids(self) -> dict[int, int]:
        """Message ids of the replies that are stored, by index."""
        return {
            index: journal.message_id
            for index, journal in enumerate(self._journals)
            if not journal.withdrawn
        }

    def stored(self) -> Iterator[CandidateEvent]:
        """The events that tell the message id of each reply."""
        for index, journal in enumerate(self._journals):
            yield CandidateEvent(index, MessageStored(self._question.id, journal.message_id))

    def record(self, event: Event) -> Event | None:
        """Record an event; return a notice when the store fails, once for each reply."""
        if not isinstance(event, CandidateEvent) or isinstance(event.event, MessageStored):
            return None
        if isinstance(event.event, Finished):
            self._ended[event.index] = event.event.reason
        return self._journals[event.index].record(event.event)

    def close(self) -> None:
        """Close the rows of interrupted replies; delete empty ones.

        Raises:
            StorageError: A row cannot be written, and the user was not told of that before.
            Exception: What nobody foresaw in a write. Every row is closed nevertheless.
        """
        try:
            with self._writer:
                self._open.close()  # the last first, so that the first of what stays is active
        finally:
            self._activate_one()

    def _activate_one(self) -> None:
        stays = {i: each for i, each in enumerate(self._journals) if not each.withdrawn}
        whole = next((i for i in stays if self._ended.get(i, _STOPPED) is not _STOPPED), None)
        if whole is None and _is_there(self._before):
            self.before_stays = True
            self._store.activate(self._before.id)
        elif stays:
            index = min(stays) if whole is None else whole
            self._store.activate(stays[index].message_id)


def _is_there(reply: Message | None) -> TypeGuard[Message]:
    """Whether the reply exists and is not empty."""
    return reply is not None and bool(reply.text or reply.reasoning)
