"""The one use case: a prompt goes in, the reply comes out as events, and the session keeps both.

The command line and the screen are two equal consumers of `Chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from tchat.chat.prefill_cost import with_prefill_notice
from tchat.chat.prompt_builder import PromptBuilder
from tchat.chat.turns import title_for
from tchat.engine.events import Event, Finished, MessageStored, Notice, Ranked
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import PromptTooLong, StorageError, UsageError
from tchat.sessions.records import Message, Role, Session, Status

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.ranking import CandidateRanking

    Generate = Callable[[ChatModel, Sequence[ChatMessage]], Iterator[Event]]


class Chat(PromptBuilder):
    """One session, or a new one, joined to one model; use it on the engine thread.

    The model is found, checked and loaded by the first call that needs it, unless one is given
    that is being loaded already, and the session is made by the first prompt. Every generator
    stores what it yields, also when it is closed early. To stop one, set ``cancel``; clear it
    before the next.

    Raises, from every generator:
        ModelError: The model is missing, unusable, or refused.
        PromptTooLong: The prompt exceeds the context; it is not stored.
        UsageError: The sampling cannot be carried out.
    """

    # What a user does

    def send(self, prompt: str, *, prefill: str = "", after: int | None = None) -> Iterator[Event]:
        """Store a prompt and write the reply to it, which begins with ``prefill``.

        The prompt follows the message ``after``, or the last reply.
        """
        yield from self._answer(
            prompt, lambda question: self._reply(question, *_prefilled(prefill)), after=after
        )

    def regenerate(self, message_id: int | None = None, *, prefill: str = "") -> Iterator[Event]:
        """Write another reply, as a sibling: to the last question, or to that of a message.

        It begins with ``prefill``.
        """
        question = self._question_of(self._at(message_id))
        yield from self._reply(question, *_prefilled(prefill))

    def continue_reply(self, message_id: int | None = None) -> Iterator[Event]:
        """Go on with a reply, the last one or another, in a sibling of it.

        A question that was left unanswered is answered.
        """
        last = self._at(message_id)
        if last.role is Role.USER:
            yield from self._reply(last)
        else:
            yield from self._reply(
                self._question_of(last),
                ChatMessage("assistant", last.text, last.reasoning, bytes.fromhex(last.unfinished)),
            )

    def edit(self, message_id: int, text: str) -> Iterator[Event]:
        """Put ``text`` beside an earlier message, as its sibling; a question is answered anew.

        A reply is a person's from then on, which the judge learns from.
        """
        message = self.store.message(message_id)
        before = self._state()
        edited = self.store.add(
            message.session_id,
            message.role,
            text,
            parent_id=message.parent_id,
            by_person=message.role is Role.ASSISTANT,
        )
        if edited.role is Role.USER:
            yield from self._unless_too_long(edited, before, self._reply(edited))

    def candidates(
        self,
        count: int,
        prompt: str = "",
        *,
        stopped: Container[int] = (),
        judge: str = "",
        fallback: bool = False,
    ) -> Iterator[Event]:
        """Write ``count`` replies side by side, to ``prompt`` or to the last question.

        They are siblings; `pick` makes one of them the active branch. The first is it before, or
        the one that ``judge`` finds best: then `Ranked` comes last, and the scores are kept. Each
        event of a reply comes within a `Candidate`.

        Args:
            count: Replies.
            prompt: Stored first; empty for more replies to the last question.
            stopped: Indexes of those that shall end; may grow meanwhile, from any thread.
            judge: One of `tchat.judge.ranking.JUDGES`; empty for none.
            fallback: Whether likelihood, which is told, takes the place of an untrained judge.

        Raises:
            UsageError: The judge was not trained yet; nothing is stored.
        """
        asked = None if prompt else self._question_of(self._at(None))
        ranking = None
        if judge:
            from tchat.chat.ranking import open_ranking

            model = yield from self._load_model()
            if model is not None:
                ranking = yield from open_ranking(
                    model, judge, self._paths, self.store, fallback=fallback
                )

        def write(question: Message) -> Iterator[Event]:
            return self._candidates(question, count, stopped, ranking)

        yield from write(asked) if asked else self._answer(prompt, write)

    def _candidates(
        self,
        question: Message,
        count: int,
        stopped: Container[int],
        ranking: CandidateRanking | None,
    ) -> Iterator[Event]:
        from tchat.chat.candidates import CandidateJournals

        prepared = yield from self._prepare(question, ())
        if prepared is None:
            yield from self._unwritten(question)
            return
        model, messages = prepared
        self._bind_session(model)
        journals = CandidateJournals(self.store, question, model, self.settings, count)
        try:
            self._note_replies(*journals.ids.values())
            yield from journals.stored()
            replies = model.engine.candidates(
                messages,
                self.settings.sampling,
                count,
                think=self._think,
                stopped=stopped,
                states=ranking is not None and ranking.states,
            )
            for event in with_prefill_notice(self._cost, replies):
                if notice := journals.record(event):
                    yield notice
                if ranking is not None:
                    ranking.record(event)
                yield event
        finally:
            journals.close()
        if ranking is not None:
            yield from ranking.ranked(messages, journals.ids, activate=not journals.before_stays)

    def pick(self, message_id: int) -> None:
        """Make a reply the one that the session goes on with; the judge learns from that."""
        self.store.pick(message_id)

    def rate(self, rating: int, message_id: int | None = None) -> Message:
        """Call a reply, the last one or another, good (1) or bad (-1); 0 takes that back.

        The judge learns from it.

        Raises:
            UsageError: There is no reply yet.
        """
        message = self._at(message_id)
        if message.role is not Role.ASSISTANT:
            raise UsageError("there is no reply to rate", "rate one when it is there")
        return self.store.rate(message.id, rating)

    def choose(self, prompt: str, labels: Sequence[str]) -> Iterator[Event]:
        """Store a prompt and let the model answer with one of ``labels``.

        Ends in `Chosen`, with each label's probability, and `Finished`.
        """

        def choice(model: ChatModel, messages: Sequence[ChatMessage]) -> Iterator[Event]:
            return model.engine.score_labels(messages, labels)

        yield from self._answer(prompt, lambda question: self._stored(question, (), choice))

    # How it is done

    def _answer(
        self, prompt: str, answer: Callable[[Message], Iterator[Event]], *, after: int | None = None
    ) -> Iterator[Event]:
        """Store a prompt and ``answer`` it; nothing is stored of one that exceeds the context."""
        before = self._state()
        question = yield from self._ask(prompt, after)
        yield from self._unless_too_long(question, before, answer(question))

    def _unless_too_long(
        self, question: Message, before: _State, events: Iterator[Event]
    ) -> Iterator[Event]:
        """``events``; when the prompt exceeds the context, all is as ``before`` the question."""
        try:
            yield from events
        except PromptTooLong:
            with suppress(StorageError, UsageError):  # then it stays, unanswered
                self._withdraw(question, before)
            raise

    def _state(self) -> _State:
        last: list[Message] = []
        if self._session is not None:
            with suppress(StorageError, UsageError):  # `_ask` tells
                last = self.store.branch(self._session.id, 1)
        return _State(self._session, last[0].id if last else None)

    def _withdraw(self, question: Message, before: _State) -> None:
        """Delete a question that has no reply, and the session that was begun for it."""
        from tchat.chat.reply_journal import active_reply

        if active_reply(self.store, question) is not None:
            return
        if before.session is None or before.session.id != question.session_id:
            self.store.delete(question.session_id)
            self._session = before.session
            return
        self.store.delete_message(question.id)
        if before.last is not None:
            self.store.activate(before.last)

    def _ask(self, prompt: str, after: int | None = None) -> Generator[Event, None, Message]:
        """Store the user's message, below the last reply or a prompt whose reply was stopped.

        One that failed, and never got a reply, becomes its sibling.
        A session that is gone, deleted by another process or with its file, is begun anew.
        """
        if self._session is not None:
            try:
                parent = after or self._last_end(self._session)
                return self.store.add(self._session.id, Role.USER, prompt, parent_id=parent)
            except (UsageError, StorageError) as error:
                if self._is_there(self._session):
                    raise
                yield Notice("storage", f"{error.message}: the chat goes on in a new session")
        system = self._session.system if self._session else self.settings.system
        self._session, question = self.store.begin(
            prompt, title=title_for(prompt), system=system, settings=self.own
        )
        return question

    def _last_end(self, session: Session) -> int | None:
        branch = self.store.branch(session.id)
        stopped = Status.STOPPED
        ends = (m.id for m in reversed(branch) if m.role is Role.ASSISTANT or m.status is stopped)
        return next(ends, None)

    def _is_there(self, session: Session) -> bool:
        """Whether a session can still be read, as far as is known."""
        from tchat.sessions.database import DatabaseDamaged

        try:
            self.store.branch(session.id, 1)
        except (UsageError, DatabaseDamaged):
            return False
        except StorageError:
            pass
        return True

    def _at(self, message_id: int | None) -> Message:
        """A message, or the last one on the active path."""
        if message_id is not None:
            return self.store.message(message_id)
        branch = self.store.branch(self._session.id) if self._session else []
        if not branch:
            raise UsageError("this session has no message yet", "send a prompt first")
        return branch[-1]

    def _question_of(self, message: Message) -> Message:
        if message.role is Role.USER:
            return message
        if message.parent_id is None:
            raise UsageError("this reply has no question before it", "send a prompt first")
        return self.store.message(message.parent_id)

    def _reply(self, question: Message, *begun: ChatMessage) -> Iterator[Event]:
        """Generate a reply, or go on with one that has ``begun``."""

        def generate(model: ChatModel, messages: Sequence[ChatMessage]) -> Iterator[Event]:
            if self.settings.show_scores:
                from tchat.chat.ranking import scored_reply

                return scored_reply(
                    model,
                    messages,
                    self.settings,
                    self._paths,
                    think=self._think,
                    continue_final=bool(begun),
                )
            return model.engine.generate(
                messages,
                self.settings.sampling,
                think=self._think,
                continue_final=bool(begun),
            )

        yield from self._stored(question, begun, generate)

    def _stored(
        self, question: Message, begun: Sequence[ChatMessage], generate: Generate
    ) -> Iterator[Event]:
        """Iterate ``generate`` with the history up to ``question``, and journal its reply.

        ``begun`` is the beginning of the reply, or nothing.
        """
        prepared = yield from self._prepare(question, begun)
        if prepared is None:
            yield from self._unwritten(question)
            return
        from tchat.chat.journal_writer import JournalWriter
        from tchat.chat.reply_journal import ReplyJournal
        from tchat.chat.throughput import record_throughput

        model, messages = prepared
        text, reasoning = (begun[0].content, begun[0].reasoning) if begun else ("", "")
        self._bind_session(model)
        writer = JournalWriter(self.store)
        journal = ReplyJournal.open(
            self.store, question, model, self.settings, writer, text=text, reasoning=reasoning
        )
        self._note_replies(journal.message_id)
        with writer, closing(journal):
            yield MessageStored(question.id, journal.message_id)
            for event in with_prefill_notice(self._cost, generate(model, messages)):
                if notice := journal.record(event):
                    yield notice
                if isinstance(event, Finished):
                    record_throughput(self._paths, model.facts, event)
                if isinstance(event, Ranked):
                    (_, score), *_ = event.scores
                    self.store.note_scores({journal.message_id: {event.judge: score}})
                yield event

    def _unwritten(self, question: Message) -> Iterator[Event]:
        """The events of a reply that was stopped before it began."""
        from tchat.chat.reply_journal import mark_unanswered
        from tchat.engine.generation import empty_reply

        mark_unanswered(self.store, question)
        yield empty_reply()


class _State(NamedTuple):
    """A chat before a question: its session, and the last message of that."""

    session: Session | None
    last: int | None


def _prefilled(text: str) -> list[ChatMessage]:
    return [ChatMessage("assistant", text)] if text else []
