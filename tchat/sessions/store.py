"""Sessions and their messages, in one file or in memory."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from tchat.errors import UsageError
from tchat.sessions import database_file, message_tree, session_queries
from tchat.sessions.database import Database
from tchat.sessions.database_file import open_database, open_read_only
from tchat.sessions.records import (
    Deletion,
    ImportedSession,
    Message,
    ReplyProvenance,
    Role,
    SearchHit,
    Session,
    SessionTree,
    Status,
)
from tchat.sessions.schema import migrate
from tchat.sessions.serialization import EMPTY_MESSAGE, INSERT_SESSION, to_message, to_row
from tchat.sessions.session_queries import new_id
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

AT_A_TIME = 200  # messages that an export reads


class _DryRun(Exception):
    """Rolls a transaction back that did what it was to try."""


class Store(ABC):
    """Sessions and their messages in a database.

    Threads may share a store; each method is one transaction. Every method raises `StorageError`
    when the disk or another process stands in the way (a locked file is waited for, five seconds),
    and `UsageError` for an id that does not exist.

    Attributes:
        notices: Lines that the user should see: an upgrade, a salvage.
        recovered: Replies that opening marked as interrupted.
    """

    notices: list[str]
    recovered: tuple[Message, ...]
    _database: Database

    @abstractmethod
    def close(self) -> None:
        """Close the store."""

    @property
    @abstractmethod
    def _token(self) -> str:
        """What the rows of growing replies name this process by."""

    @property
    def path(self) -> Path | None:
        """The file, links resolved; None for a store in memory."""
        return self._database.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Sessions

    def begin(
        self,
        prompt: str,
        *,
        title: str = "",
        system: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Session, Message]:
        """Start a session with the user's first message; both are stored, or neither."""
        with self._database.writing() as connection:
            made = self._insert_session(connection, title, system, settings or {})
            message = self._insert_message(connection, made.id, Role.USER, prompt, parent_id=None)
            return session_queries.by_id(connection, made.id), message

    def _insert_session(
        self, connection: Connection, title: str, system: str, settings: Mapping[str, Any]
    ) -> Session:
        now = time.time()
        values = {"title": title, "system": system, "settings": settings}
        session_id = session_queries.free_id(connection, new_id(now))
        times = {"created_at": now, "updated_at": now, "used": 0}
        row = to_row({"id": session_id, "active_root": None, **values, **times})
        connection.execute(INSERT_SESSION, row)
        message_tree.touch(connection, session_id, now)
        return session_queries.by_id(connection, session_id)

    def get(self, piece: str) -> Session:
        """The session whose id is ``piece``, or the only one that begins or ends with it.

        A piece has six characters or more.
        """
        with self._database.reading() as connection:
            return session_queries.by_id_prefix(connection, piece)

    def latest(self) -> Session | None:
        """The session that was used last."""
        return next(iter(self.sessions(limit=1)), None)

    def sessions(self, limit: int | None = None) -> list[Session]:
        """All sessions, or the first ``limit``, the one used last first."""
        with self._database.reading() as connection:
            return session_queries.list_sessions(connection, limit)

    def rename(self, session_id: str, title: str) -> Session:
        """Give a session another title; this is no use of it, its time stays."""
        return self._change(session_id, title=title)

    def update(
        self,
        session_id: str,
        *,
        system: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Session:
        """Set the system prompt, the settings (all of them), or both."""
        return self._change(session_id, system=system, settings=settings)

    def _change(self, session_id: str, **values: Any) -> Session:
        with self._database.writing() as connection:
            return session_queries.change(connection, session_id, **values)

    def delete(self, session_id: str) -> Deletion:
        """Delete a session with all its messages; `restore` undoes it, `erase` makes it last."""
        with self._database.writing() as connection:
            return session_queries.delete(connection, session_id)

    def restore(self, deleted: Deletion) -> Session:
        """Undo `delete` or `delete_message`: everything is back under its old id.

        Raises:
            UsageError: What it belonged to is gone, or it was restored before.
        """
        with self._database.writing() as connection:
            return session_queries.restore(connection, deleted)

    # Messages

    def add(
        self,
        session_id: str,
        role: Role,
        text: str,
        *,
        parent_id: int | None,
        status: Status = Status.DONE,
        reasoning: str = "",
        **provenance: Unpack[ReplyProvenance],
    ) -> Message:
        """Store a message below ``parent_id`` and make it the active one among its siblings.

        With ``parent_id`` None it begins the session, or another version of its beginning. A
        message that is added as `Status.STREAMING` belongs to this process until `finish`.
        """
        writer = self._token if status == Status.STREAMING else ""
        state = {"status": status, "reasoning": reasoning, "writer": writer}
        with self._database.writing() as connection:
            session_queries.by_id(connection, session_id)
            if parent_id is not None:
                found = message_tree.row(connection, parent_id)["session_id"]
                if found != session_id:
                    raise UsageError(
                        tr(
                            "the message belongs to session {found}, not to {session_id}",
                            found=found,
                            session_id=session_id,
                        )
                    )
            return self._insert_message(
                connection, session_id, role, text, parent_id=parent_id, **state, **provenance
            )

    def _insert_message(
        self,
        connection: Connection,
        session_id: str,
        role: Role,
        text: str,
        *,
        parent_id: int | None,
        **values: Any,
    ) -> Message:
        now = time.time()
        given = {"session_id": session_id, "parent_id": parent_id, "role": role, "text": text}
        defaults = {**EMPTY_MESSAGE, "status": Status.DONE, "created_at": now}
        row = message_tree.row(
            connection, message_tree.insert(connection, {**defaults, **given, **values})
        )
        message_tree.set_active(connection, row)
        message_tree.touch(connection, session_id, now)
        return to_message(row)

    def journal(self, message_id: int, text: str, reasoning: str = "") -> None:
        """Keep what there is of a growing reply, so that it outlives this process.

        One small transaction, to be called some five times a second.

        Raises:
            UsageError: The reply was deleted meanwhile, or is finished.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE messages SET text = :text, reasoning = :reasoning "
                "WHERE id = :id AND status = 'streaming'",
                to_row({"id": message_id, "text": text, "reasoning": reasoning}),
            ).rowcount
            if not changed:
                message_tree.row(connection, message_id)
                raise UsageError(
                    tr("message {message_id} is not being written", message_id=message_id)
                )

    def finish(
        self,
        message_id: int,
        *,
        status: Status,
        text: str,
        reasoning: str = "",
        **provenance: Unpack[ReplyProvenance],
    ) -> Message:
        """End a growing reply: its whole text, and how it came about."""
        values = {"text": text, "reasoning": reasoning, "status": status}
        with self._database.writing() as connection:
            session_id = message_tree.row(connection, message_id)["session_id"]
            row = message_tree.finish(connection, message_id, {**values, **provenance})
            message_tree.touch(connection, session_id, time.time())
            return to_message(row)

    def branch(self, session_id: str, last: int | None = None) -> list[Message]:
        """The active path of a session from the first message on, or only its ``last`` messages."""
        with self._database.reading() as connection:
            session_queries.by_id(connection, session_id)
            return [to_message(row) for row in message_tree.branch(connection, session_id, last)]

    def revision(self) -> tuple[object, ...]:
        """Equal to an earlier one for as long as no session changed, here or elsewhere."""
        return self._database.revision()

    def foreign_revision(self) -> tuple[object, ...]:
        """Equal to an earlier one for as long as nobody else wrote to the file."""
        return self._database.foreign_revision()

    def branch_ids(self, session_id: str) -> list[int]:
        """The ids of the active path of a session from the first message on."""
        with self._database.reading() as connection:
            session_queries.by_id(connection, session_id)
            return message_tree.branch_ids(connection, session_id)

    def active_reply(self, session_id: str, message_id: int) -> Message | None:
        """The reply to a message that is on the active path."""
        with self._database.reading() as connection:
            row = message_tree.active_reply(connection, session_id, message_id)
            return to_message(row) if row is not None else None

    def last_model(self, session_id: str) -> str:
        """The model that the active path of a session was last written by; empty without any."""
        with self._database.reading() as connection:
            return message_tree.last_model(connection, session_id)

    def model_to_continue(self, session_id: str) -> str:
        """As `last_model`, but of another program's chat only a model that tchat used in it."""
        is_own = session_queries.is_of_origin(session_id)
        with self._database.reading() as connection:
            return message_tree.last_model(connection, session_id, is_own=is_own)

    def path_to(self, message_id: int) -> list[Message]:
        """The messages from the first of the session down to this one, active or not."""
        with self._database.reading() as connection:
            return [to_message(row) for row in message_tree.ancestry(connection, message_id)]

    def message(self, message_id: int) -> Message:
        """One message."""
        with self._database.reading() as connection:
            return to_message(message_tree.row(connection, message_id))

    def siblings(self, message_id: int) -> list[Message]:
        """The message and its alternatives (same parent), oldest first."""
        with self._database.reading() as connection:
            return [to_message(row) for row in message_tree.siblings(connection, message_id)]

    def positions(self, session_id: str) -> dict[int, tuple[int, int]]:
        """For the messages that have siblings: which of how many each is, from 1."""
        with self._database.reading() as connection:
            return message_tree.positions(connection, session_id)

    def activate(self, message_id: int) -> None:
        """Put a message on the active path, with its ancestors; below it the path is as it was."""
        with self._database.writing() as connection:
            message_tree.activate(connection, message_id)

    def pin(self, message_id: int, pinned: bool) -> Message:
        """Keep a message in the context window, or let it leave like others."""
        with self._database.writing() as connection:
            message_tree.mark(connection, message_id, {"pinned": pinned})
            return to_message(message_tree.row(connection, message_id))

    # Redaction

    def placeholders(self, session_id: str) -> dict[str, str]:
        """What stands for personal data in texts of a session that left this machine."""
        with self._database.reading() as connection:
            return session_queries.placeholders(connection, session_id)

    def keep_placeholders(self, session_id: str, table: Mapping[str, str]) -> None:
        """Keep what `placeholders` gives."""
        with self._database.writing() as connection:
            session_queries.keep_placeholders(connection, session_id, table)

    def rewrite(
        self,
        session_id: str,
        change: Callable[[Message], Message],
        *,
        title: str,
        system: str,
        gone: Set[str] = frozenset(),
    ) -> Session:
        """Change texts, reasoning and calls of a session's messages where they stand.

        Placeholders of values that are ``gone`` are forgotten. `erase` makes it last.

        Raises:
            UsageError: A reply of it is being written.
        """
        with self._database.writing() as connection:
            session_queries.rewrite(connection, session_id, change)
            table = session_queries.placeholders(connection, session_id)
            left = {name: value for name, value in table.items() if value not in gone}
            session_queries.keep_placeholders(connection, session_id, left)
            return session_queries.change(connection, session_id, title=title, system=system)

    # What the user makes of replies

    def rate(self, message_id: int, rating: int) -> Message:
        """Call a reply good (1) or bad (-1), or take that back (0)."""
        with self._database.writing() as connection:
            message_tree.mark(connection, message_id, {"rating": rating})
            return to_message(message_tree.row(connection, message_id))

    def pick(self, message_id: int) -> None:
        """`activate` a message because the user picked it among its siblings, and record that."""
        with self._database.writing() as connection:
            message_tree.activate(connection, message_id)
            message_tree.pick(connection, message_id, time.time())

    def record_scores(self, scores: Mapping[int, Mapping[str, float]]) -> None:
        """Keep what judges gave to messages, by their ids; ids that are gone are passed over."""
        with self._database.writing() as connection:
            for message_id, values in scores.items():
                message_tree.mark(connection, message_id, {"scores": values})

    def with_feedback(self) -> list[Message]:
        """Replies that were rated, picked, or written by a person, of all sessions."""
        with self._database.reading() as connection:
            return [to_message(row) for row in message_tree.with_feedback(connection)]

    def delete_message(self, message_id: int) -> Deletion:
        """Delete a message with all below it; `restore` undoes it.

        Its latest sibling, if there is one, takes its place on the active path.
        """
        with self._database.writing() as connection:
            return session_queries.delete_message(connection, message_id)

    # All of it

    def search(
        self, query: str, limit: int = 50, *, stopped: Callable[[], bool] = lambda: False
    ) -> list[SearchHit]:
        """Sessions whose title holds every word of ``query``, then such messages, the latest first.

        Upper and lower case are alike, and so are spellings that Unicode calls equal; parts of
        words are found, ``"double quotes"`` keep words together. Nothing else is special.

        Others may write meanwhile. Once ``stopped`` says so, it ends with what was found.
        """
        from tchat.sessions.search import search

        return search(self._database.reading, query, limit, stopped)

    def tree(self, session_id: str) -> SessionTree:
        """A whole session with all its branches, in memory at once; `messages` reads piecemeal."""
        with self._database.reading() as connection:
            return session_queries.read(connection, session_id)

    def messages(self, session_id: str) -> Iterator[tuple[Message, bool]]:
        """All messages of a session by their ids; whether each is the active sibling.

        They are read a few at a time: however many there are, they fit into the memory.
        """
        last = 0
        while True:
            with self._database.reading() as connection:
                rows = message_tree.next_messages(connection, session_id, last, AT_A_TIME)
            yield from ((to_message(row), bool(row["active"])) for row in rows)
            if len(rows) < AT_A_TIME:
                return
            last = rows[-1]["id"]

    def walk(self, session_id: str) -> Iterator[Message]:
        """The active path of a session, read a few messages at a time."""
        with self._database.reading() as connection:
            numbers = message_tree.branch_ids(connection, session_id)
        for number in numbers:
            with suppress(UsageError):  # deleted meanwhile
                yield self.message(number)

    def branch_models(self, session_id: str) -> list[str]:
        """The models that wrote the active path of a session."""
        with self._database.reading() as connection:
            return message_tree.branch_models(connection, session_id)

    def import_sessions(
        self,
        sessions: Iterable[tuple[Session, Iterable[tuple[Message, bool]]]],
        *,
        dry_run: bool = False,
    ) -> list[ImportedSession]:
        """Store sessions: all of them, or none where anything fails.

        One that is here already, by its id and its time, gets the messages that it lacks. With
        ``dry_run`` nothing is stored in the end.
        """
        imported: list[ImportedSession] = []
        with suppress(_DryRun), self._database.writing() as connection:
            for each, messages in sessions:
                imported.append(session_queries.import_session(connection, each, messages))
            if dry_run:
                raise _DryRun
        return imported

    def merge_tree(self, source: SessionTree, known: Set[int]) -> Session:
        """Store a session that went on elsewhere from a copy with the messages ``known``.

        A reply in it that is being written belongs to this process.
        """
        with self._database.writing() as connection:
            return session_queries.merge(connection, source, known, self._token)


class SessionStore(Store):
    """The user's sessions, in one file or in memory. Processes may open the same file.

    The file and its folder are made when absent, readable by the user only. A ``read_only`` one
    must exist; every method that writes raises `StorageError`. With an ``encryption`` the file is
    encrypted.
    """

    def __init__(
        self,
        path: Path | None,
        encryption: Encryption | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self.notices = []
        self.recovered = ()
        if path is not None and read_only:
            self._database, self._locks = open_read_only(path, encryption), None
            return
        if path is None:
            self._database, self._locks = Database(None), None
            migrate(self._database)
            return
        opened = open_database(path, encryption)
        self._database, self._locks = opened.database, opened.locks
        self.notices.extend(opened.notices)
        self.recovered = opened.recovered

    @classmethod
    def in_memory(cls) -> Self:
        """A store that leaves nothing behind."""
        return cls(None)

    def reopen(self) -> None:
        """Open the file again, which was deleted, replaced or damaged while it was open.

        Raises:
            StorageError: It cannot be opened; call it again.
        """
        if self.path is None:
            return
        self._database.discard_log()
        opened = open_database(self.path, self._database.encryption, self._locks)
        self._database.replace_connection(opened.database)
        self.notices.extend(opened.notices)

    def suspend(self) -> None:
        """Close the file until `resume`; whatever needs it meanwhile raises `StoreLocked`."""
        if self.path is not None:
            self._database.suspend()
            if self._locks is not None and self._database.is_sound:
                self._locks.record_file()

    def resume(self) -> None:
        """Open the file again after `suspend`.

        Raises:
            StorageError: It cannot be opened; call it again.
        """
        if self.path is not None and self._database.is_suspended:
            opened = open_database(self.path, self._database.encryption, self._locks)
            self._database.replace_connection(opened.database)
            self.notices.extend(opened.notices)

    def close(self) -> None:
        """Close the file. Replies that are still streaming count as interrupted from then on."""
        self._database.close()
        if self._locks:
            if self._database.is_sound:
                self._locks.record_file()
            self._locks.close()

    def recover(self) -> None:
        """Mark replies of processes that died meanwhile as interrupted."""
        if self._locks is not None:
            with self._locks.gate():
                database_file.recover(self._database, self._locks)

    def erase(self) -> None:
        """Make sure that nothing of what was deleted can be read in the file any more.

        SQLite overwrites what it deletes, but not the copies on pages that were divided, and not
        those in the write-ahead log: so the whole file is written anew.

        Raises:
            StorageError: There is no room for it, or another process uses the file.
        """
        self._database.vacuum()

    def backup_files(self) -> list[Path]:
        """Copies beside the file that may hold what was deleted: backups, damaged files."""
        return database_file.find_backups(self.path) if self.path else []

    def remove_backups(self) -> list[Path]:
        """Delete those copies; returns them."""
        return database_file.remove_backups(self.path) if self.path else []

    @property
    def _token(self) -> str:
        return self._locks.token if self._locks else ""
