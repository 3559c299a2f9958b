"""Store a reply while it is generated."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from tchat.chat.model import ChatModel
from tchat.engine.events import (
    Event,
    Finished,
    Notice,
    Reason,
    ReasoningDelta,
    StepFinished,
    TextDelta,
)
from tchat.errors import Interrupted, StorageError, TchatError, UsageError
from tchat.sessions.records import Message, Role, Status, ToolCall
from tchat.settings import Sampling, Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from types import TracebackType

    from tchat.sessions.store import Store

INTERVAL = 0.2  # seconds between two writes: what a kill -9 can cost


class ReplyJournal:
    """Write one reply to its row a few times a second, and close the row at its end.

    While the reply grows it is written on another thread: a slow disk delays no token. A store
    that fails does not stop the reply: the user is told once, the reply goes on, and the row is
    tried again at its end.

    As a context manager it closes the row; an error marks what was written as interrupted.

    Attributes:
        before: The reply that was the active one before.
        tool_calls: What the reply calls; set it before its end is recorded.
        withdrawn: Whether the row is gone, since nothing was written to it.
    """

    def __init__(
        self,
        store: Store,
        question: Message,
        row: Message,
        *,
        before: Message | None,
        sampling: Sampling,
        writer: JournalWriter,
    ) -> None:
        self._store = store
        self._question = question
        self._row = row
        self._sampling = sampling
        self._writer = writer
        self.before = before
        self.tool_calls: tuple[ToolCall, ...] = ()
        self._text, self._reasoning = [row.text], [row.reasoning]
        self._put_at = time.monotonic()
        self._end: dict[str, Any] | None = None  # what `finish` is called with, once it is known
        self._told = self._closed = self.withdrawn = False
        self._broken_off = Status.STOPPED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.record_error(error)
        self.close()

    @property
    def message_id(self) -> int:
        """Id of the reply's row."""
        return self._row.id

    @classmethod
    def open(
        cls,
        store: Store,
        question: Message,
        model: ChatModel,
        settings: Settings,
        writer: JournalWriter,
        *,
        text: str = "",
        reasoning: str = "",
    ) -> Self:
        """Make the row of a reply that begins with ``text`` and ``reasoning``.

        Several journals may share the ``writer``, which the caller closes after them.

        Raises:
            StorageError: The row cannot be made.
        """
        before = store.active_reply(question.session_id, question.id)
        row = store.add(
            question.session_id,
            Role.ASSISTANT,
            text,
            parent_id=question.id,
            status=Status.STREAMING,
            reasoning=reasoning,
            model=settings.model,
            model_sha256=model.metadata.sha256,
            quantization=model.metadata.quantization,
            template_hash=model.engine.template_hash,
            sampling=asdict(settings.sampling),
        )
        journal = cls(
            store, question, row, before=before, sampling=settings.sampling, writer=writer
        )
        if question.status is Status.STOPPED:  # before a reply, which it gets now
            try:
                store.finish(question.id, status=Status.DONE, text=question.text)
            except BaseException:
                journal.close()
                raise
        return journal

    def record(self, event: Event) -> Notice | None:
        """Record an event; return a notice, once, when the store fails."""
        if isinstance(event, TextDelta):
            self._text.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self._reasoning.append(event.text)
        else:
            ended = event.finished if isinstance(event, StepFinished) else event
            return self._record_end(ended) if isinstance(ended, Finished) else None
        now = time.monotonic()
        if now - self._put_at >= INTERVAL:
            self._put_at = now
            self._writer.put(self._row.id, *self._joined())
        error = self._writer.failures.get(self._row.id)
        return self._failed(error) if error else None

    def _record_end(self, event: Finished) -> Notice | None:
        try:
            self._finish(event)
        except (StorageError, UsageError) as error:
            return self._failed(error)
        error_of_writer = self._writer.failures.get(self._row.id)
        return self._failed(error_of_writer) if error_of_writer else None

    def record_error(self, error: BaseException | None) -> None:
        """Record what ends the reply early: a failure, or the user, who stopped it or left."""
        if isinstance(error, Exception) and not isinstance(error, Interrupted):
            self._broken_off = Status.INTERRUPTED

    def close(self) -> None:
        """Close the row of an interrupted reply; delete an empty one.

        Raises:
            StorageError: The row cannot be written, and the user was not told of that before.
            Exception: What nobody foresaw in a write; the row is closed nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.drain(self._row.id)
        finally:
            try:
                with suppress(UsageError):  # deleted by another process
                    self._close_row()
            except StorageError:
                if not self._told:
                    raise

    def _close_row(self) -> None:
        if self._end is None and not self._grown:
            self.withdrawn = True
            self._store.delete_message(self._row.id)
            if self.before is not None:
                self._store.activate(self.before.id)
            return
        text, reasoning = self._joined()
        broken_off = {"status": self._broken_off, "text": text, "reasoning": reasoning}
        self._store.finish(self._row.id, **(self._end or broken_off))

    @property
    def _grown(self) -> bool:
        """Whether the reply is longer than its beginning."""
        return self._joined() != (self._row.text, self._row.reasoning)

    def _failed(self, error: TchatError) -> Notice | None:
        if self._told:
            return None
        self._told = True
        return Notice(
            "storage", tr("this reply is not being stored: {reason}", reason=error.message)
        )

    def _finish(self, event: Finished) -> None:
        stopped = event.reason is Reason.CANCELLED
        if stopped and not self._grown:
            try:
                self.close()
            finally:
                mark_unanswered(self._store, self._question)
            return
        text, reasoning = self._joined()
        if event.reason is Reason.LOOP:  # without the rounds that came after the first
            text, reasoning = self._row.text + event.text, self._row.reasoning + event.reasoning
        self._end = {
            "status": Status.STOPPED if stopped else Status.DONE,
            "text": text or event.text,  # a choice comes without pieces
            "reasoning": reasoning,
            "sampling": {**asdict(self._sampling), "seed": event.seed},
            "usage": event.usage.as_json(),
            "timings": event.timings.as_json(),
            "finish_reason": event.reason.value,
            "unfinished": event.unfinished.hex(),
            "tool_calls": self.tool_calls,
        }
        try:
            self._writer.drain(self._row.id)
        finally:
            self._store.finish(self._row.id, **self._end)
            self._closed = True

    def _joined(self) -> tuple[str, str]:
        self._text, self._reasoning = ["".join(self._text)], ["".join(self._reasoning)]
        return self._text[0], self._reasoning[0]


def mark_unanswered(store: Store, question: Message) -> None:
    """Mark a question as stopped before any reply; the next prompt follows it."""
    if question.role is Role.USER and store.active_reply(question.session_id, question.id) is None:
        store.finish(question.id, status=Status.STOPPED, text=question.text)


class JournalWriter:
    """Writes the latest text of each reply to the store; use it as a context manager.

    While one write is under way, newer texts replace those that wait: a disk that is slower than
    the model never makes a queue. The thread is started by the first text.
    ``failures`` says why the row of a reply, by its id, could not be written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[str, str]] = {}
        self._writing: int | None = None
        self.failures: dict[int, StorageError | UsageError] = {}
        self._broken: Exception | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, message_id: int, text: str, reasoning: str) -> None:
        """Write a reply to its row soon; return at once."""
        with self._changed:
            self._waiting[message_id] = (text, reasoning)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()

    def drain(self, message_id: int) -> None:
        """Drop the pending text of a reply, and wait for a write in progress.

        Raises:
            Exception: What nobody foresaw in a write.
        """
        with self._changed:
            self._waiting.pop(message_id, None)
            self._changed.wait_for(lambda: self._writing != message_id)
            if self._broken is not None:
                raise self._broken

    def close(self) -> None:
        """Write pending texts and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting or self._broken is not None:
                    return
                message_id = next(iter(self._waiting))
                text, reasoning = self._waiting.pop(message_id)
                self._writing = message_id
            try:
                self._store.journal(message_id, text, reasoning)
            except (StorageError, UsageError) as error:  # full disk; deleted by another process
                self.failures[message_id] = error
            except Exception as error:  # noqa: BLE001  `drain` raises it on the caller's thread
                self._broken = error
