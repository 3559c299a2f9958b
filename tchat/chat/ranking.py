"""Rank candidates: score them, store the scores, activate the best."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tchat.engine.events import CandidateEvent, Event, Finished, Notice, Ranked, Reason
from tchat.errors import StorageError, UsageError
from tchat.judge.discriminator import judge_folder
from tchat.judge.ranking import LOGPROB, best_first, load_ranker

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.prompt_builder import PreparedPrompt
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.prompt.template import Think
    from tchat.paths import Paths
    from tchat.sessions.store import Store
    from tchat.settings import Settings


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
