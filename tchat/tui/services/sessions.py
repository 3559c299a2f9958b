"""Stored sessions and the messages of the open one, off the event loop."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from tchat.chat.attachments import split_attachments
from tchat.chat.destinations import Destinations
from tchat.chat.session import write_session
from tchat.engine.events import Timings
from tchat.errors import StorageError, UsageError
from tchat.models.files import short_model_name
from tchat.paths import expanded, path_text
from tchat.sessions.records import (
    Deletion,
    ImportedSession,
    Message,
    Role,
    SearchHit,
    Session,
    Status,
    ToolCall,
    ToolOutcome,
    ToolState,
)
from tchat.sessions.store import Store
from tchat.tui.background import off_loop
from tchat.tui.services.conversation import Conversation
from tchat.tui.widgets.transcript.entry import Entry, Step

PREVIEWED = 8  # messages


class ImportOutcome(NamedTuple):
    """The sessions of an import, and what to tell of it."""

    sessions: Sequence[ImportedSession]
    lines: Sequence[str]


class SessionService:
    """The stored sessions as `SessionsScreen` uses them; what was deleted can be brought back.

    Every method raises `StorageError` and `UsageError` as the store does.
    """

    def __init__(self, conversation: Conversation, messages: MessageService) -> None:
        self._conversation = conversation
        self._messages = messages
        self._deleted: dict[str, Deletion] = {}

    async def sessions(self, limit: int | None = None) -> list[Session]:
        """The stored sessions, or the first ``limit``, the one used last first."""
        return await asyncio.to_thread(self._conversation.persistent.sessions, limit)

    async def find(self, piece: str) -> Session:
        """The stored session whose id begins or ends with ``piece``."""
        return await asyncio.to_thread(self._conversation.persistent.get, piece)

    async def search(self, query: str) -> Sequence[SearchHit]:
        """The messages that contain the words of ``query``; ends when it is cancelled."""
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(
                self._conversation.persistent.search, query, stopped=stopped.is_set
            )
        finally:
            stopped.set()

    async def preview(self, session_id: str) -> Sequence[Message]:
        """The last messages of a stored session; none of one that was deleted meanwhile."""
        persistent = self._conversation.persistent
        with suppress(UsageError):
            return await asyncio.to_thread(persistent.branch, session_id, PREVIEWED)
        return ()

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session another title."""
        await self._messages.rename(session_id, title)

    async def delete(self, session_id: str) -> None:
        """Delete a session, so that `restore` can bring it back; an open one is left first."""
        session = self._conversation.session
        if session is not None and session.id == session_id:
            await self._conversation.open(None)
        self._conversation.discard(session_id)
        persistent = self._conversation.persistent
        self._deleted[session_id] = await asyncio.to_thread(persistent.delete, session_id)
        await self._messages.forget(session_id)

    async def restore(self, session_id: str) -> None:
        """Bring back a session that `delete` took."""
        deleted = self._deleted.pop(session_id)
        await asyncio.to_thread(self._conversation.persistent.restore, deleted)

    async def import_file(self, name: str, progress: Callable[[int], object]) -> ImportOutcome:
        """Import a file of other programs or of tchat; ends when it is cancelled.

        ``progress`` gets the number of sessions that were read or stored, from another thread.

        Raises:
            UsageError: It is missing, holds no chats, or is damaged.
            StorageError: It cannot be read, or the sessions cannot be stored.
        """
        from tchat.chat.session_import import import_file, import_summary
        from tchat.sessions.importers import ImportReport

        report, stopped = ImportReport(), threading.Event()
        try:
            imported = await asyncio.to_thread(
                import_file,
                self._conversation.persistent,
                expanded(name),
                report,
                progress,
                stopped.is_set,
            )
        finally:
            stopped.set()
        return ImportOutcome(imported, list(import_summary(imported, report)))

    async def export(self, session_id: str, path: Path, *, replaces: bool) -> str:
        """Write a session into a file, see `write_session`; returns its path, to be shown.

        Raises:
            UsageError: The file is there already, and is not to be replaced.
            StorageError: It cannot be written.
        """
        conversation = self._conversation

        def write(store: Store) -> Path:
            return write_session(store, session_id, str(path), replace_file=replaces)

        if conversation.session is not None and conversation.session.id == session_id:
            return path_text(await self._messages.with_store(write))
        return path_text(await asyncio.to_thread(write, conversation.persistent))


T = TypeVar("T")


class MessageService:
    """The messages of the session that is open now, and what is stored of others."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._compared: object = None  # what others had written when all of it was shown

    async def entries(self, last: int | None = None) -> list[Entry]:
        """The active path of the session, or the ``last`` so many of it, for the transcript."""

        def read(session: Session) -> list[Entry]:
            store = self._conversation.store
            places = store.positions(session.id)
            path = store.branch(session.id, last)
            calls = calls_above(store, path[0]) if path else ()
            destinations = self._conversation.destinations()
            entries = []
            for each in path:
                calls = each.tool_calls if each.role is Role.ASSISTANT else calls
                place = places.get(each.id, (1, 1))
                entries.append(entry_of(each, place, calls, destinations))
            return entries

        return await self._read(read, [])

    @off_loop
    def find_entry(self, message_id: int) -> Entry | None:
        """The entry of one message; None when it is not there any more."""
        store = self._conversation.store
        try:
            message = store.message(message_id)
        except UsageError:
            return None
        places = store.positions(message.session_id)
        place, calls = places.get(message.id, (1, 1)), calls_above(store, message)
        return entry_of(message, place, calls, self._conversation.destinations())

    async def message(self, message_id: int) -> Message:
        """One message."""
        return await asyncio.to_thread(self._conversation.store.message, message_id)

    async def branch(self, last: int | None = None) -> list[Message]:
        """The active path of the session, or the ``last`` so many of it."""
        return await self._read(
            lambda session: self._conversation.store.branch(session.id, last), []
        )

    async def is_continued_elsewhere(self, shown: Callable[[], Sequence[int]]) -> bool:
        """Whether the active path does not end in the ``shown`` messages: others wrote to it."""
        revision = await asyncio.to_thread(self._conversation.store.foreign_revision)
        if revision == self._compared:
            return False
        none: list[int] = []
        stored = await self._read(
            lambda session: self._conversation.store.branch_ids(session.id), none
        )
        seen = [*shown()]
        if stored[len(stored) - len(seen) :] != seen or (stored and not seen):
            return True
        self._compared = revision
        return False

    @off_loop
    def is_written_elsewhere(self, message_id: int) -> bool:
        """Whether another process, which lives, is writing a message."""
        store = self._conversation.store
        if store.message(message_id).status is Status.STREAMING:
            self._conversation.persistent.recover()
        return store.message(message_id).status is Status.STREAMING

    async def tree(self) -> list[Message]:
        """All messages of the session."""
        return await self._read(
            lambda session: list(self._conversation.store.tree(session.id).messages), []
        )

    @off_loop
    def flip(self, message_id: int, step: int) -> int | None:
        """Go ``step`` siblings on from a message, to the one returned; None where there is none."""
        store = self._conversation.store
        siblings = [each.id for each in store.siblings(message_id)]
        place = siblings.index(message_id) + step
        if not 0 <= place < len(siblings):
            return None
        store.activate(siblings[place])
        return siblings[place]

    async def activate(self, message_id: int) -> None:
        """Put a message on the active path."""
        await asyncio.to_thread(self._conversation.store.activate, message_id)

    async def delete_message(self, message_id: int) -> Deletion:
        """Delete a message with all below it, and what is saved of the session."""
        deleted = await asyncio.to_thread(self._conversation.store.delete_message, message_id)
        await self.forget(deleted.session.id)
        return deleted

    async def forget(self, session_id: str) -> None:
        """Remove from disk what the model has read of a session, and what was deleted of it."""
        await asyncio.to_thread(self._conversation.chat.forget_snapshots, session_id)
        with suppress(StorageError):  # no room, or another process: then the next deletion does it
            await asyncio.to_thread(self._conversation.persistent.erase)

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session, this one or another, another title."""
        is_open = (
            self._conversation.session is not None and self._conversation.session.id == session_id
        )
        store = self._conversation.store if is_open else self._conversation.persistent
        self._conversation.show_stored(await asyncio.to_thread(store.rename, session_id, title))

    async def with_store(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of the open session."""
        return await asyncio.to_thread(work, self._conversation.store)

    async def _read(self, read: Callable[[Session], T], nothing: T) -> T:
        session = self._conversation.session
        return nothing if session is None else await asyncio.to_thread(read, session)


def calls_above(store: Store, message: Message) -> Sequence[ToolCall]:
    """The calls of the reply that a result belongs to; none of another message."""
    while message.role is Role.TOOL and message.parent_id is not None:
        message = store.message(message.parent_id)
    return message.tool_calls


def entry_of(
    message: Message,
    sibling: tuple[int, int],
    calls: Sequence[ToolCall],
    destinations: Destinations,
) -> Entry:
    """The entry of one message; files that were put in front are named only.

    ``calls`` are those of the reply that a result belongs to.
    """
    is_reply = message.role is Role.ASSISTANT and not message.by_person
    usage, timings = message.usage, message.timings
    written, seconds = timings.get("write", 0.0), timings.get("read", 0.0)
    files, text = (
        split_attachments(message.text) if message.role is Role.USER else ([], message.text)
    )
    return Entry(
        key=message.id,
        role=message.role.value,
        text=text,
        reasoning=message.reasoning,
        status=message.status.value,
        created_at=message.created_at,
        tokens=usage.get("completion"),
        reasoning_tokens=usage.get("reasoning"),
        sibling=sibling,
        pinned=message.pinned,
        rating=message.rating,
        by_person=message.by_person,
        scores=tuple(message.scores.items()),
        attachments=tuple(files),
        label=_short_name(message),
        speed=Timings.rate(usage.get("completion", 0), written) or None,
        seconds=seconds + written if timings else None,
        step=_step_of(message.tool_outcome, calls, destinations)
        if message.role is Role.TOOL
        else None,
        sent_to=destinations.of_model(message.model) if is_reply else "",
    )


def _step_of(
    outcome: ToolOutcome | None, calls: Sequence[ToolCall], destinations: Destinations
) -> Step:
    if outcome is None:  # of another program, which did not say
        return Step(Role.TOOL.value)
    call = next((each for each in calls if each.id == outcome.call_id), None)
    arguments = call.arguments if call is not None else {}
    has_run = outcome.state is not ToolState.REFUSED
    sent_to = destinations.of_call(outcome.name, arguments) if has_run else ""
    return Step(outcome.name, arguments, outcome.state.value, outcome.seconds, sent_to)


def _short_name(message: Message) -> str:
    """The name of the model that wrote a message, without its folder and quantization."""
    name = short_model_name(message.model)
    quantization = re.escape(message.quantization)
    short = re.sub(rf"[-._]{quantization}$", "", name, flags=re.IGNORECASE) if quantization else ""
    return short or name
