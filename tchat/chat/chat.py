"""The one use case: a prompt goes in, the reply comes out as events, and the session keeps both.

The command line and the screen are two equal consumers of `Chat`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from tchat.chat.history import left_out, pinned_turns, starts_of, title_of, turns_of
from tchat.chat.window import fit, kept, reply_room
from tchat.engine.cancel import Cancel
from tchat.engine.events import Event, Notice, Stored
from tchat.engine.turns import ChatMessage
from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.sessions.records import Message, Role, Session
from tchat.settings import Settings, Value

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.outlook import Measure, Outlook
    from tchat.engine.events import Reading
    from tchat.engine.template import Think
    from tchat.models.facts import ModelFacts
    from tchat.sessions.store import SessionStore

    Generate = Callable[[ChatModel, Sequence[ChatMessage]], Iterator[Event]]

LEAVE_AT_ONCE = 0.3  # seconds that saving may hold up the end of the program,
LEAVE_SHARE = 0.02  # and this share of the time that it saves


class Chat:
    """One session, or a new one, joined to one model; use it on the engine thread.

    The model is found, checked and loaded by the first call that needs it, unless one is given
    that is being loaded already, and the session is made by the first prompt. Every generator
    stores what it yields, also when it is closed early. To stop one, set ``cancel``; clear it
    before the next.

    Raises, from every generator:
        ModelError: The model is missing, unusable, or refused.
        DoesNotFit: The prompt exceeds the context.
        UsageError: The sampling cannot be carried out.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        store: SessionStore,
        *,
        session: Session | None = None,
        cancel: Cancel | None = None,
        model: ChatModel | None = None,
    ) -> None:
        self.settings = settings
        self.cancel = cancel or Cancel()
        self.store = store
        self.own: Mapping[str, Value] = {}  # what a new session sets for itself
        self._paths = paths
        self._session = session
        self._model = model
        self._window_start: int | None = None  # the question that the last prompt began with

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Save what was read, and free the model. The store stays open: it is the caller's."""
        if self._model is not None:
            self.cancel.clear()  # nothing runs any more that it could stop
            self.keep(leaving=True)
            self._model.engine.close()
            self._model = None

    def release(self) -> ChatModel | None:
        """Hand the model to another chat; this one has none from then on."""
        self.cancel.clear()  # as in `close`
        self.keep()
        model, self._model = self._model, None
        return model

    def keep(self, wanted: Callable[[], bool] = lambda: True, *, leaving: bool = False) -> int:
        """Save on disk what the model has read of this session; returns how many tokens.

        Only a part of it when it is no longer ``wanted`` or ``cancel`` is set meanwhile, or,
        ``leaving``, when it takes longer than 0.3 seconds or a fiftieth of the reading.
        """
        if self._model is None or self._session is None or self.store.path is None:
            return 0
        engine, started = self._model.engine, time.monotonic()
        patience = LEAVE_AT_ONCE + LEAVE_SHARE * engine.reading_time(engine.held)

        def going() -> bool:
            late = leaving and time.monotonic() - started > patience
            return wanted() and not late and not self.cancel.is_set()

        return engine.save(going, leaving=leaving)

    def forget(self, session_id: str) -> None:
        """Remove what is saved of a session that was deleted, or changed in its middle.

        May be called from another thread than the engine's.
        """
        from tchat.chat.snapshots import forget_sessions

        if self._model is not None:
            self._model.engine.disown(session_id)
        forget_sessions(self._paths, [session_id])

    @property
    def session(self) -> Session | None:
        """The session; None before the first prompt of a new one.

        It may be replaced by what it is after a change, such as of its title or system prompt.
        """
        return self._session

    @session.setter
    def session(self, session: Session) -> None:
        self._session = session

    @property
    def facts(self) -> ModelFacts | None:
        """What is known of the model's file; None before it was needed."""
        return self._model.facts if self._model else None

    def load(self) -> Iterator[Event]:
        """Load the model, and restore what is saved of the session, before the first prompt."""
        model = yield from self._ready()
        if model is not None and self._session is not None:
            self._hold(model)
            yield from model.engine.prepare(self._history(), self._think)

    def measure(self, draft: str) -> Measure | None:
        """Exact tokens of a draft; None while the model is not loaded.

        May be called from another thread than the engine's.
        """
        outlook = self._outlook(draft)
        return outlook.measure() if outlook else None

    def read_ahead(self, draft: str, going: Callable[[], bool]) -> Iterator[Reading]:
        """Read what is sure of a prompt while it is being typed, for as long as it is wanted.

        Nothing of it is stored, and what was read of the session stays as it is.
        """
        if outlook := self._outlook(draft):
            yield from outlook.read(going)

    def _outlook(self, draft: str) -> Outlook | None:
        model = self._model
        if model is None or not model.engine.is_loaded:
            return None
        from tchat.chat.outlook import Outlook

        return Outlook(model.engine, self._history(), draft, self.settings)

    def _history(self) -> list[ChatMessage]:
        """What the next prompt begins with."""
        path = self.store.branch(self._session.id) if self._session else []
        if path and path[-1].role is Role.USER:  # unanswered: the next prompt stands beside it
            path = path[:-1]
        turns = kept(turns_of(path), self._first_turn(path), pinned_turns(path))
        return [*self._system(), *(each for turn in turns for each in turn)]

    # What a user does

    def send(self, prompt: str, *, prefill: str = "", after: int | None = None) -> Iterator[Event]:
        """Store a prompt and write the reply to it, which begins with ``prefill``.

        The prompt follows the message ``after``, or the last reply.
        """
        question = self._ask(prompt, after)
        yield from self._reply(question, text=prefill)

    def regenerate(self, message_id: int | None = None, *, prefill: str = "") -> Iterator[Event]:
        """Write another reply, as a sibling: to the last question, or to that of a message.

        It begins with ``prefill``.
        """
        yield from self._reply(self._question_of(self._at(message_id)), text=prefill)

    def continue_reply(self, message_id: int | None = None) -> Iterator[Event]:
        """Go on with a reply, the last one or another, in a sibling of it.

        A question that was left unanswered is answered.
        """
        last = self._at(message_id)
        if last.role is Role.USER:
            yield from self._reply(last)
        else:
            yield from self._reply(
                self._question_of(last), text=last.text, reasoning=last.reasoning, goes_on=True
            )

    def edit(self, message_id: int, text: str) -> Iterator[Event]:
        """Put ``text`` beside an earlier message, as its sibling; a question is answered anew.

        A reply is a person's from then on, which the judge learns from.
        """
        message = self.store.message(message_id)
        edited = self.store.add(
            message.session_id,
            message.role,
            text,
            parent_id=message.parent_id,
            by_person=message.role is Role.ASSISTANT,
        )
        if edited.role is Role.USER:
            yield from self._reply(edited)

    def candidates(
        self, count: int, prompt: str = "", *, stopped: Container[int] = ()
    ) -> Iterator[Event]:
        """Write ``count`` replies side by side, to ``prompt`` or to the last question.

        They are siblings; `pick` makes one of them the active branch. The first is it before.
        Each event of a reply comes within a `Candidate`.

        Args:
            count: Replies.
            prompt: Stored first; empty for more replies to the last question.
            stopped: Indexes of those that shall end; may grow meanwhile, from any thread.
        """
        question = self._ask(prompt) if prompt else self._question_of(self._at(None))
        model = yield from self._ready()
        if model is None:
            yield from _unwritten()
            return
        from tchat.chat.candidates import CandidateJournals

        messages = yield from self._window(model, question, ())
        journals = CandidateJournals(self.store, question, model, self.settings, count)
        self._hold(model)
        try:
            yield from journals.stored()
            for event in model.engine.candidates(
                messages, self.settings.sampling, count, think=self._think, stopped=stopped
            ):
                if notice := journals.take(event):
                    yield notice
                yield event
        finally:
            journals.close()

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
        question = self._ask(prompt)
        yield from self._stored(
            question, (), lambda model, messages: model.engine.choose(messages, labels)
        )

    # How it is done

    def _ask(self, prompt: str, after: int | None = None) -> Message:
        """Store the user's message; one that never got a reply becomes its sibling."""
        if self._session is None:
            self._session = self.store.create(
                title=title_of(prompt), system=self.settings.system, settings=self.own
            )
        branch = self.store.branch(self._session.id)
        answered = next((m for m in reversed(branch) if m.role is Role.ASSISTANT), None)
        parent = after or (answered.id if answered else None)
        return self.store.add(self._session.id, Role.USER, prompt, parent_id=parent)

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

    def _reply(
        self, question: Message, *, text: str = "", reasoning: str = "", goes_on: bool = False
    ) -> Iterator[Event]:
        """Generate a reply that begins with ``text`` and ``reasoning``."""
        begun = [ChatMessage("assistant", text, reasoning)] if text or reasoning or goes_on else []

        def generate(model: ChatModel, messages: Sequence[ChatMessage]) -> Iterator[Event]:
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
        model = yield from self._ready()
        if model is None:
            yield from _unwritten()
            return
        from tchat.chat.journal import Journal

        messages = yield from self._window(model, question, begun)
        text, reasoning = (begun[0].content, begun[0].reasoning) if begun else ("", "")
        journal = Journal.open(
            self.store, question, model, self.settings, text=text, reasoning=reasoning
        )
        self._hold(model)
        try:
            yield Stored(question.id, journal.message_id)
            for event in generate(model, messages):
                if notice := journal.take(event):
                    yield notice
                yield event
        finally:
            journal.close()

    def _ready(self) -> Generator[Event, None, ChatModel | None]:
        """The model, loaded; None when the user stopped that."""
        try:
            if self._model is None:
                from tchat.chat.model import open_model

                self._model = yield from open_model(self.settings, self._paths, self.cancel)
            yield from self._model.engine.load()
        except InterruptedError:
            return None
        return self._model

    def _hold(self, model: ChatModel) -> None:
        """Let what the model reads from now on be saved for this session, unless it is private."""
        if self._session is not None and self.store.path is not None:
            model.engine.hold(self._session.id)
        else:
            model.engine.hold("")

    def _window(
        self, model: ChatModel, question: Message, begun: Sequence[ChatMessage]
    ) -> Generator[Event, None, Sequence[ChatMessage]]:
        """The messages of the prompt: system, the turns that fit, ``question``, ``begun``."""
        engine = model.engine
        path = self.store.path_to(question.id)
        room = engine.context_size - reply_room(
            engine.context_size, self.settings.sampling.max_tokens
        )
        *turns, last = turns_of(path)
        before = self._first_turn(path)
        window = fit(
            self._system(),
            [*turns, [*last, *begun]],
            room=room,
            count=lambda messages: engine.count(messages, self._think, continue_final=bool(begun)),
            first=before,
            pinned=pinned_turns(path),
        )
        if window.first > before and window.left_out:
            yield Notice("window", left_out(path, window.left_out, engine.context_size))
        self._window_start = starts_of(path)[window.first]
        return window.messages

    def _first_turn(self, path: Sequence[Message]) -> int:
        """The turn of ``path`` that the window of the last prompt began with.

        The first on another branch, which need not be as long: there the window begins afresh.
        """
        starts = starts_of(path)
        return starts.index(self._window_start) if self._window_start in starts else 0

    def _system(self) -> list[ChatMessage]:
        system = self._session.system if self._session else self.settings.system
        return [ChatMessage("system", system)] if system else []

    @property
    def _think(self) -> Think:
        think: Think = self.settings.think  # type: ignore[assignment]  # checked by its choices
        return think


def _unwritten() -> Iterator[Event]:
    """The events of a reply that was stopped before it began."""
    from tchat.engine.run import nothing_written

    yield nothing_written()
