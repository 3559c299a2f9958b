"""Several replies to one question: store them while they are generated, and rank them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeGuard

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

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.prompt_builder import PreparedPrompt
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.template import Think
    from tchat.paths import Paths
    from tchat.sessions.records import Message
    from tchat.sessions.store import Store
    from tchat.settings import Settings

_STOPPED = Reason.CANCELLED


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


def scored_reply(
    model: ChatModel,
    prepared: PreparedPrompt,
    settings: Settings,
    paths: Paths,
    *,
    think: Think,
    continue_final: bool = False,
) -> Iterator[Event]:
    """One reply, as of `Engine.generate`, and its score as a `Ranked` of one before its end.

    Where the judge was not trained, or cannot judge the reply, there is none.
    """
    from tchat.judge.discriminator import judge_folder
    from tchat.judge.ranking import load_ranker

    engine, asked = model.engine, prepared.messages
    try:
        judge = load_ranker(settings.ranker, judge_folder(model.facts, paths), engine)
    except UsageError:
        yield from engine.generate(
            asked,
            settings.sampling,
            think=think,
            continue_final=continue_final,
            prompt=prepared.prompt,
        )
        return
    events = engine.candidates(
        asked,
        settings.sampling,
        1,
        think=think,
        continue_final=continue_final,
        states=judge.states,
        prompt=prepared.prompt,
    )
    for event in events:
        if not isinstance(event, CandidateEvent):
            yield event
            continue
        if isinstance(event.event, Finished) and event.event.text:
            scores = judge.scores(asked, {0: event.event})
            yield from (Ranked(judge.name, ((0, score),)) for score in scores.values())
        yield event.event


def open_ranking(
    model: ChatModel, judge: str, paths: Paths, store: Store, *, fallback: bool
) -> Generator[Notice, None, CandidateRanking]:
    """The judging by ``judge``; with ``fallback`` by likelihood where it was not trained.

    Raises:
        UsageError: There is no such judge, or it was not trained and there is no ``fallback``.
    """
    from tchat.judge.ranking import LOGPROB

    try:
        return CandidateRanking(model, judge, paths, store)
    except UsageError as error:
        if not fallback:
            raise
        yield Notice("judge", f"{error.message}: the likelihood of the replies decides")
        return CandidateRanking(model, LOGPROB, paths, store)


class CandidateRanking:
    """Rank one set of candidates.

    Args:
        model: What writes them; loaded.
        judge: Name of the judge.
        paths: Where what it learnt is kept.
        store: Where the scores go.

    Raises:
        UsageError: There is no such judge, or it was not trained yet.
    """

    def __init__(self, model: ChatModel, judge: str, paths: Paths, store: Store) -> None:
        from tchat.judge.discriminator import judge_folder
        from tchat.judge.ranking import load_ranker

        self._store = store
        self._judge = load_ranker(judge, judge_folder(model.facts, paths), model.engine)
        self._replies: dict[int, Finished] = {}

    @property
    def states(self) -> bool:
        """Whether the ranker needs hidden states of the replies."""
        return self._judge.states

    def record(self, event: Event) -> None:
        """Record a finished reply."""
        if isinstance(event, CandidateEvent) and isinstance(event.event, Finished):
            self._replies[event.index] = event.event

    def ranked(
        self, asked: Sequence[ChatMessage], ids: Mapping[int, int], *, activate: bool = True
    ) -> Iterator[Ranked | Notice]:
        """Score the replies, store the scores, and activate the best.

        Whole replies come before those that were stopped.

        Args:
            asked: What they answer.
            ids: The messages that they are.
            activate: Whether the best becomes the active one.
        """
        from tchat.judge.ranking import best_first

        replies = {i: each for i, each in self._replies.items() if each.text and i in ids}
        scores = self._judge.scores(asked, replies)
        if not scores:
            if replies:
                yield Notice("judge", "no reply could be judged: too long, or stopped before")
            return
        order = sorted(
            best_first(scores), key=lambda index: replies[index].reason is Reason.CANCELLED
        )
        try:
            self._store.note_scores({ids[i]: {self._judge.name: scores[i]} for i in order})
            if activate:
                self._store.activate(ids[order[0]])
        except StorageError as error:
            yield Notice("storage", f"the scores are not being stored: {error.message}")
        yield Ranked(self._judge.name, tuple((index, scores[index]) for index in order))
