"""Several replies to one question: store them while they are generated, and rank them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from tchat.chat.reply_journal import JournalWriter, ReplyJournal
from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    MessageStored,
    Notice,
    Ranked,
    Reason,
)
from tchat.errors import StorageError, UsageError
from tchat.translation import tr

if TYPE_CHECKING:
    from types import TracebackType

    from tchat.chat.model import ChatModel
    from tchat.chat.prompt_builder import PreparedPrompt
    from tchat.engine.prompt import ChatMessage
    from tchat.judge.ranking import Ranker
    from tchat.paths import Paths
    from tchat.sessions.records import Message
    from tchat.sessions.store import Store
    from tchat.settings import Sampling, Settings

_STOPPED = Reason.CANCELLED


class CandidateJournals:
    """One `ReplyJournal` for each of several sibling replies; use it as a context manager.

    The first whole one becomes the active one; where all were stopped, the reply from before does.

    Attributes:
        finished: The replies that ended, by index.
        before_stays: Whether the reply from before is the active one, once all are closed.
    """

    def __init__(
        self, store: Store, question: Message, model: ChatModel, settings: Settings, count: int
    ) -> None:
        self._store, self._question = store, question
        self._writer = JournalWriter(store)
        self.finished: dict[int, Finished] = {}
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
            self.finished[event.index] = event.event
        return self._journals[event.index].record(event.event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the rows of interrupted replies; delete empty ones.

        Raises:
            StorageError: A row cannot be written, and the user was not told of that before.
            Exception: What nobody foresaw in a write. Every row is closed nevertheless.
        """
        for journal in self._journals:
            journal.record_error(error)
        try:
            with self._writer:
                self._open.close()  # the last first, so that the first of what stays is active
        finally:
            self._activate_one()

    def _activate_one(self) -> None:
        stays = {i: each for i, each in enumerate(self._journals) if not each.withdrawn}
        ended = {i: each for i, each in self.finished.items() if each.reason is not _STOPPED}
        whole = next((i for i in stays if i in ended), None)
        if whole is None and _is_there(self._before):
            self.before_stays = True
            self._store.activate(self._before.id)
        elif stays:
            index = min(stays) if whole is None else whole
            self._store.activate(stays[index].message_id)


def _is_there(reply: Message | None) -> TypeGuard[Message]:
    """Whether the reply exists and is not empty."""
    return reply is not None and bool(reply.text or reply.reasoning)


def find_ranker(name: str, model: ChatModel, paths: Paths) -> Ranker:
    """The ranker ``name`` of a loaded model.

    Raises:
        UsageError: There is none, or it was not trained yet.
    """
    from tchat.judge.discriminator import judge_folder
    from tchat.judge.ranking import LOGPROB, LikelihoodRanker, load_ranker

    if name == LOGPROB:
        return LikelihoodRanker()
    engine = model.require_engine()
    return load_ranker(name, judge_folder(model.metadata, paths), engine)


def scored_reply(
    model: ChatModel,
    ranker: Ranker,
    prepared: PreparedPrompt,
    sampling: Sampling,
    options: Mapping[str, Any],
) -> Iterator[Event]:
    """One reply, as of `Engine.generate`, and its score as a `Ranked` of one before its end.

    There is no score for a reply that cannot be ranked.
    """
    messages = prepared.messages
    events = model.engine.candidates(messages, sampling, 1, states=ranker.states, **options)
    for event in events:
        if not isinstance(event, CandidateEvent):
            yield event
            continue
        if isinstance(event.event, Finished) and event.event.text:
            scores = ranker.scores(messages, {0: event.event})
            yield from (Ranked(ranker.name, ((0, score),)) for score in scores.values())
        yield event.event


def find_ranker_or_logprob(
    name: str, model: ChatModel, paths: Paths
) -> Generator[Notice, None, Ranker]:
    """The ranker ``name``; their log-probability, with a notice, if it was not trained."""
    from tchat.judge.ranking import LOGPROB

    try:
        return find_ranker(name, model, paths)
    except UsageError as error:
        yield Notice(
            "judge",
            tr(
                "{reason}: the log-probability of the replies decides; `tchat judge train` "
                "trains it, `tchat config set ranker {logprob}` ends this notice",
                reason=error.message,
                logprob=LOGPROB,
            ),
        )
        return find_ranker(LOGPROB, model, paths)


def rank_candidates(
    store: Store,
    ranker: Ranker,
    messages: Sequence[ChatMessage],
    replies: Mapping[int, Finished],
    ids: Mapping[int, int],
    *,
    activate: bool,
) -> Iterator[Ranked | Notice]:
    """Score the replies, store the scores, and ``activate`` the best.

    Whole replies come before stopped ones. ``ids`` are the messages of the stored ones, by index.
    """
    from tchat.judge.ranking import best_first

    replies = {i: each for i, each in replies.items() if each.text and i in ids}
    scores = ranker.scores(messages, replies)
    if not scores:
        if replies:
            yield Notice("judge", tr("no reply could be ranked: too long, or stopped before"))
        return
    order = sorted(best_first(scores), key=lambda index: replies[index].reason is _STOPPED)
    try:
        store.record_scores({ids[i]: {ranker.name: scores[i]} for i in order})
        if activate:
            store.activate(ids[order[0]])
    except StorageError as error:
        yield Notice(
            "storage", tr("the scores are not being stored: {reason}", reason=error.message)
        )
    yield Ranked(ranker.name, tuple((index, scores[index]) for index in order))
