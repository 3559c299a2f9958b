"""The one use case: a prompt goes in, the reply comes out as events, and the session keeps both.

The command line and the screen are two equal consumers of `Chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from tchat.chat.branch import Questions, StoredQuestion, messages_of_turn
from tchat.chat.model import ModelHandle
from tchat.chat.prompt_builder import PreparedPrompt, PromptBuilder, count_draft, prefill_draft
from tchat.engine.binding import Cancel
from tchat.engine.events import (
    PREFILL_COST,
    Event,
    Finished,
    MessageStored,
    Notice,
    PromptProgress,
    Ranked,
)
from tchat.errors import PromptTooLong, StorageError, UsageError
from tchat.paths import Paths
from tchat.sessions.records import Message, Role, Session
from tchat.settings import Settings, Value, with_values
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.backend import Encoder
    from tchat.chat.model import ChatModel
    from tchat.chat.offered_tools import OfferedTools
    from tchat.chat.prefill_cost import PrefillCost, PrefillReport
    from tchat.chat.prompt_builder import TokenCount
    from tchat.chat.reply_journal import ReplyJournal
    from tchat.chat.tool_loop import ChatTools, ToolLoop
    from tchat.engine.prompt.template import Think
    from tchat.judge.ranking import Ranker
    from tchat.models.metadata import ModelMetadata
    from tchat.sessions.store import Store

    _Ready: TypeAlias = tuple[ChatModel, PreparedPrompt, PrefillReport | None, Settings]
    Generate = Callable[[ChatModel, PreparedPrompt, Settings], Iterator[Event]]

DRY = 0.8  # the usual multiplier of the repetition penalty


class Chat:
    """A session, stored or new, with one model. Use it on the engine thread.

    The first call that needs the model finds, checks and loads it, and the first prompt makes the
    session. Every generator stores what it yields, also when it is closed early. To stop one, set
    ``cancel``; clear it before the next. The store stays open when the chat is closed.

    Attributes:
        session: The session; None before the first prompt of a new one. Set it after a change, such
            as of its title or system prompt.
        session_overrides: What a new session sets for itself.
        title: The title of a new session; where empty, the first prompt makes it.
        tools: What the model may call; None for nothing. Set it between turns.

    Raises, from every generator:
        ModelError: The model is missing, unusable, or refused.
        PromptTooLong: The prompt exceeds the context; it is not stored.
        UsageError: The sampling cannot be carried out.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        store: Store,
        *,
        session: Session | None = None,
        cancel: Cancel | None = None,
        model: ChatModel | None = None,
        tools: ChatTools | None = None,
        is_private: bool | None = None,
    ) -> None:
        self.settings = settings
        self.cancel = cancel or Cancel()
        self.store = store
        self.session = session
        self.session_overrides: Mapping[str, Value] = {}
        self.title = ""
        self.tools = tools
        self._offered: OfferedTools | None = None
        self.paths = paths
        self.is_private = store.path is None if is_private is None else is_private
        self._handle = ModelHandle(paths, self.cancel, model, is_private=self.is_private, chat=self)
        self._builder = PromptBuilder(store)
        self._questions = Questions(store, self._builder.branches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Save the KV cache and free the model."""
        if self.model is not None:
            self.cancel.clear()  # nothing runs any more that it could stop
            try:
                self.save_snapshot(at_exit=True)
            finally:
                self._handle.close()

    def require_schema(self, schema: Mapping[str, Any]) -> None:
        """Hold replies of a server to a JSON schema; the engine has the grammar made from it."""
        self._handle.schema = schema

    # What it is made of

    @property
    def model(self) -> ChatModel | None:
        """The model; None before the first use."""
        return self._handle.model

    @property
    def metadata(self) -> ModelMetadata | None:
        """Metadata of the model's file; None before the first use."""
        return self.model.metadata if self.model else None

    @property
    def settings_for_model(self) -> Settings:
        """The settings with what the open model recommends, and what is set for it."""
        return self._handle.settings_for_model(self.settings)

    # The model

    def load_model(self) -> Iterator[Event]:
        """Load the model before a prompt is stored; ends early when ``cancel`` is set.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded; nothing was stored.
        """
        yield from self._handle.load(self.settings)

    def load_and_restore(self) -> Iterator[Event]:
        """Load the model, and restore what is saved of the session, before the first prompt."""
        model = yield from self._handle.load(self.settings)
        if model is not None and self.session is not None:
            self._bind_session(model)
            self._offer_tools(model)
            try:
                history = self._prepare_draft("?", None, model.engine.encoder).history
            except InterruptedError:
                return
            yield from model.engine.prepare(history, self._think)

    def require_model(self) -> ChatModel:
        """Load the model and return it, for other uses than a reply.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: ``cancel`` was set.
        """
        return self._handle.require(self.settings)

    def release_model(self) -> ChatModel | None:
        """Release the model for another chat, without saving its KV cache."""
        return self._handle.release()

    def unload(self) -> None:
        """Free the model without saving its KV cache; the next use loads it again."""
        self._handle.close()

    def save_snapshot(
        self, should_continue: Callable[[], bool] = lambda: True, *, at_exit: bool = False
    ) -> int:
        """Save the KV cache of this session on disk; return the number of tokens.

        Only a part of it when ``should_continue`` turns false or ``cancel`` is set meanwhile, or,
        as the program ends (``at_exit``), when it takes long: see `Snapshots.save`.
        """
        if self.model is None or self.session is None or self.store.path is None:
            return 0
        return self.model.engine.save(
            lambda: should_continue() and not self.cancel.is_set(), at_exit=at_exit
        )

    def forget_snapshots(self, session_id: str) -> None:
        """Remove the saved KV cache of a session that was deleted or edited.

        May be called from another thread than the engine's.
        """
        from tchat.chat.preload import forget_sessions

        if self.model is not None:
            self.model.engine.unbind_session(session_id)
        forget_sessions(self.paths, [session_id])

    # A draft

    def count_draft(self, draft: str) -> TokenCount | None:
        """Count the tokens of a draft exactly; None while the model is not loaded.

        May be called from another thread than the engine's.
        """
        model = self._handle.loaded
        if model is None:
            return None
        return count_draft(model.engine, draft, partial(self._prepare_draft, draft, None))

    def prefill_draft(
        self, draft: str, should_continue: Callable[[], bool]
    ) -> Iterator[PromptProgress]:
        """Prefill the stable part of a draft while it is being typed and ``should_continue``.

        Nothing is stored, and the KV cache of the session stays as it is.
        """
        model = self._handle.loaded
        if model is not None:
            self._offer_tools(model)
            prepare = partial(self._prepare_draft, draft, None)
            settings = self.settings_for_model
            yield from prefill_draft(model.engine, prepare, settings, should_continue)

    def prefill_cost(self, draft: str = "", after: int | None = None) -> PrefillCost | None:
        """The prefill cost of the next prompt: tokens of the chat to process again.

        A long ``draft`` may drop old turns; it follows the message ``after``, or the end of the
        session. None where no model is loaded, the chat has no reply yet, or ``cancel`` is set.
        """
        model = self._handle.loaded
        if model is None:
            return None
        engine = model.engine
        try:
            self._refuse_stopped()
            self._offer_tools(model)
            prepared = self._prepare_draft(draft or "?", after, engine.encoder)
        except InterruptedError:
            return None
        return self._builder.cost(model, prepared, self.settings.model)

    def write_title(self, should_continue: Callable[[], bool]) -> str:
        """Let the model title the session; empty without a good one, or where it gave way.

        Nothing is stored, and the KV cache is that of the session again at the end.
        """
        from tchat.chat.title import REQUEST, title_settings, write_title

        model = self._handle.loaded
        if model is None or self.session is None:
            return ""
        branch = self._builder.branches.next(self.session, None)
        settings = title_settings(self.settings)

        def prepare(encoder: Encoder) -> PreparedPrompt:
            return self._builder.prepare_draft(
                encoder, branch, REQUEST, system=self._system, settings=settings
            )

        return write_title(model.engine, prepare, settings, should_continue)

    def _prepare_draft(self, draft: str, after: int | None, encoder: Encoder) -> PreparedPrompt:
        branch = self._builder.branches.next(self.session, after)
        settings = self.settings_for_model
        return self._builder.prepare_draft(
            encoder, branch, draft, system=self._system, settings=settings
        )

    # A turn

    def send(
        self, prompt: str, *, reply_prefix: str = "", after: int | None = None
    ) -> Iterator[Event]:
        """Store a prompt and write the reply to it, which begins with ``reply_prefix``.

        The prompt follows the message ``after``, or the last reply.
        """
        return self._turn(partial(self._ask, prompt, after, reply_prefix))

    def regenerate(
        self, message_id: int | None = None, *, reply_prefix: str = "", dry: bool = False
    ) -> Iterator[Event]:
        """Write another reply, as a sibling: to the last question, or to that of a message.

        It begins with ``reply_prefix``. With ``dry``, repetition is penalized.
        """

        def find() -> StoredQuestion:
            question = self._questions.find(self.session, message_id, reply_prefix)
            penalty = max(DRY, self.settings.sampling.dry_multiplier)
            return question._replace(sampling={"dry_multiplier": penalty}) if dry else question

        return self._turn(find)

    def continue_reply(self, message_id: int | None = None) -> Iterator[Event]:
        """Go on with a reply, the last one or another, in a sibling of it.

        One that the loop guard stopped goes on without the guard. A question that was left
        unanswered is answered.
        """
        return self._turn(lambda: self._questions.find_continued(self.session, message_id))

    def edit(self, message_id: int, text: str) -> Iterator[Event]:
        """Put ``text`` beside an earlier message, as its sibling; a question is answered anew.

        A reply is a person's from then on, which the judge learns from.
        """
        question = self._questions.edit(self.session, message_id, text)
        if question.message.role is Role.USER:
            yield from self._turn(lambda: question)

    def choose(self, prompt: str, labels: Sequence[str]) -> Iterator[Event]:
        """Store a prompt and let the model answer with one of ``labels``.

        Ends in `LabelScores`, with each label's probability, and `Finished`.
        """

        def generate(model: ChatModel, prepared: PreparedPrompt, _: Settings) -> Iterator[Event]:
            return model.engine.score_labels(prepared.messages, labels, prepared.prompt)

        return self._turn(partial(self._ask, prompt), generate=generate, labels=True)

    def candidates(
        self,
        count: int,
        prompt: str = "",
        *,
        stopped: Container[int] = (),
        ranker: str = "",
        fallback: bool = False,
    ) -> Iterator[Event]:
        """Write ``count`` replies side by side, to ``prompt`` or to the last question.

        They are siblings, and each event of one comes within a `CandidateEvent`. The first is the
        active branch, or the one that ``ranker`` finds best: then `Ranked` comes last, and the
        scores are stored. `Store.pick` chooses another.

        Args:
            count: Replies.
            prompt: Stored first; empty for more replies to the last question.
            stopped: Indexes of those that shall end; may grow meanwhile, from any thread.
            ranker: One of `tchat.judge.ranking.RANKERS`; empty for none.
            fallback: Whether `logprob`, with a notice, takes the place of an untrained ranker.

        Raises:
            UsageError: The ranker was not trained yet; nothing is stored.
        """
        question = None if prompt else self._questions.find(self.session, None)
        ranked_by = None
        if ranker:
            from tchat.chat.candidates import find_ranker, find_ranker_or_logprob

            model = yield from self._handle.load(self.settings)
            if model is not None and fallback:
                ranked_by = yield from find_ranker_or_logprob(ranker, model, self.paths)
            elif model is not None:
                ranked_by = find_ranker(ranker, model, self.paths)
        question = question or self._ask(prompt)
        with self._withdrawing(question):
            ready = yield from self._prepare_or_end(question, has_tools=False)
            if ready is not None:
                yield from self._candidates(question.message, ready, count, stopped, ranked_by)

    def _candidates(
        self,
        question: Message,
        ready: _Ready,
        count: int,
        stopped: Container[int],
        ranker: Ranker | None,
    ) -> Iterator[Event]:
        from tchat.chat.candidates import CandidateJournals, rank_candidates

        model, prepared, report, settings = ready
        with CandidateJournals(self.store, question, model, settings, count) as journals:
            self._builder.record_replies(*journals.ids.values())
            yield from journals.stored()
            replies = model.engine.candidates(
                prepared.messages,
                settings.sampling,
                count,
                think=self._think,
                stopped=stopped,
                states=ranker is not None and ranker.states,
                prompt=prepared.prompt,
            )
            for event in replies:
                if failure := journals.record(event):
                    yield failure
                yield event
                if report is not None and (notice := report.record(event)):
                    yield notice
        if ranker is not None:
            yield from rank_candidates(
                self.store,
                ranker,
                prepared.messages,
                journals.finished,
                journals.ids,
                activate=not journals.before_stays,
            )

    # How it is done

    def _turn(
        self,
        store_question: Callable[[], StoredQuestion],
        *,
        generate: Generate | None = None,
        labels: bool = False,
    ) -> Iterator[Event]:
        """Store or find the question by ``store_question``; generate and store its reply."""
        from tchat.chat.machine import record_throughput

        question: StoredQuestion | None = store_question()
        loop: ToolLoop | None = None
        while question is not None:
            with self._withdrawing(question), ExitStack() as resources:
                ready = yield from self._prepare_or_end(question, labels=labels)
                if ready is None:
                    return
                model, prepared, report, settings = ready
                loop = loop or (self._offered.loop() if self._offered is not None else None)
                journal = self._open_journal(question, model, settings, resources)
                yield MessageStored(question.message.id, journal.message_id)
                replies = generate or partial(self._generate, loop=loop)
                for event in replies(model, prepared, settings):
                    if isinstance(event, Finished):
                        record_throughput(self.paths, model.metadata, event)
                        if loop is not None:
                            event = yield from loop.end_reply(event, journal)  # noqa: PLW2901
                    elif isinstance(event, Ranked):
                        (_, score), *_ = event.scores
                        self.store.record_scores({journal.message_id: {event.ranker: score}})
                    if failure := journal.record(event):
                        yield failure
                    yield event
                    if report is not None and (notice := report.record(event)):
                        yield notice
            question = (yield from loop.run(question.message.session_id)) if loop else None

    def _open_journal(
        self, question: StoredQuestion, model: ChatModel, settings: Settings, closed_by: ExitStack
    ) -> ReplyJournal:
        """Make the row of the reply to come."""
        from tchat.chat.reply_journal import JournalWriter, ReplyJournal

        start = question.reply_start
        text, reasoning = (start[0].content, start[0].reasoning) if start else ("", "")
        writer = JournalWriter(self.store)
        journal = ReplyJournal.open(
            self.store, question.message, model, settings, writer, text=text, reasoning=reasoning
        )
        closed_by.enter_context(writer)
        closed_by.enter_context(journal)
        self._builder.record_replies(journal.message_id)
        return journal

    def _generate(
        self,
        model: ChatModel,
        prepared: PreparedPrompt,
        settings: Settings,
        loop: ToolLoop | None,
    ) -> Iterator[Event]:
        options: dict[str, Any] = {
            "think": self._think,
            "continue_final": prepared.new[-1].role == "assistant",
            "prompt": prepared.prompt,
        }
        if loop is not None:
            options["tools"] = loop.replies()
        elif self.settings.show_scores:
            from tchat.chat.candidates import find_ranker, scored_reply

            with suppress(UsageError):  # not trained: no score
                ranker = find_ranker(self.settings.ranker, model, self.paths)
                return scored_reply(model, ranker, prepared, settings.sampling, options)
        return model.engine.generate(prepared.messages, settings.sampling, **options)

    def _prepare_or_end(
        self, question: StoredQuestion, *, labels: bool = False, has_tools: bool = True
    ) -> Generator[Event, None, _Ready | None]:
        """As `_prepare`; if the user stopped it, mark the question unanswered and end the reply."""
        if question.notice is not None:
            yield question.notice
        ready = yield from self._prepare(question, labels=labels, has_tools=has_tools)
        if ready is None:
            from tchat.chat.reply_journal import mark_unanswered
            from tchat.engine.events import empty_reply

            mark_unanswered(self.store, question.message)
            yield empty_reply()
        return ready

    def _prepare(
        self, question: StoredQuestion, *, labels: bool, has_tools: bool
    ) -> Generator[Event, None, _Ready | None]:
        from tchat.engine.prompt.encoder import require_fit

        model = yield from self._handle.load(self.settings)
        if model is None:
            return None
        message, engine = question.message, model.engine
        settings = self.settings_for_model
        settings = with_values(settings, question.sampling)
        has_tools = has_tools and not labels
        if has_tools and self.tools is not None and settings.sampling.grammar:
            yield Notice("tool", tr("a grammar describes the answer, so no tool is called"))
            has_tools = False
        self._offer_tools(model, has_tools=has_tools)
        branch, turn = self._builder.branches.around(message, question.branch)
        try:
            self._refuse_stopped()
            prepared = self._builder.prepare(
                engine.encoder,
                branch,
                (*messages_of_turn(turn), *question.reply_start),
                system=self._system,
                settings=settings,
                labels=labels,
                question_id=turn[0].id,
            )
            if self._offered is not None:
                self._offered.tell_untrusted((*branch.messages, *turn))
            if question.is_step and not prepared.is_reduced:
                behind = engine.prompt_behind_call(prepared.messages, self._think)
                prepared = prepared.with_prompt(behind or prepared.prompt)
            self._refuse_stopped()
            prompt = prepared.prompt
            # One that was not encoded is refused by counting it, with a number that is about right.
            tokens = prompt.tokens if prompt else engine.prompt_tokens(prepared.messages)
            require_fit(tokens, engine.context_size, engine.trained_context_size)
        except InterruptedError:
            return None
        yield from prepared.notices(engine.context_size)
        cost = self._builder.cost(model, prepared, self.settings.model)
        report = None
        if cost is not None and cost.is_notable:
            from tchat.chat.prefill_cost import PrefillReport

            yield Notice(PREFILL_COST, str(cost))
            report = PrefillReport(cost)
        self._builder.record_sent(prepared, turn[0].id)
        self._bind_session(model)
        return model, prepared, report, settings

    def _ask(self, prompt: str, after: int | None = None, reply_prefix: str = "") -> StoredQuestion:
        question = self._questions.ask(
            self.session,
            prompt,
            after,
            reply_prefix,
            title=self.title,
            system=self.settings.system,
            settings=self.session_overrides,
        )
        if question.new_session is not None:
            self.session = question.new_session
        return question

    @contextmanager
    def _withdrawing(self, question: StoredQuestion) -> Iterator[None]:
        """Delete the stored question if the prompt exceeds the context."""
        try:
            yield
        except PromptTooLong:
            with suppress(StorageError, UsageError):  # then it stays, unanswered
                self.session = self._questions.withdraw(self.session, question)
            raise

    def _offer_tools(self, model: ChatModel, *, has_tools: bool = True) -> None:
        """Offer the tools in all prompts from now on; none unless ``has_tools``."""
        if self._offered is None:
            if self.tools is None:
                return
            from tchat.chat.offered_tools import OfferedTools

            self._offered = OfferedTools(self.store, self.cancel, self._handle.outgoing)
        self._offered.offer(model.engine, self.tools if has_tools else None)
        self._builder.tools = self._offered.names

    def _refuse_stopped(self) -> None:
        if self.cancel.is_set():
            raise InterruptedError

    def _bind_session(self, model: ChatModel) -> None:
        """Bind the KV cache to this session, so that it is saved; not if it is private."""
        stored = self.session is not None and self.store.path is not None
        model.engine.bind_session(self.session.id if stored and self.session else "")

    @property
    def _system(self) -> str:
        system = self.session.system if self.session else self.settings.system
        return system if self._offered is None else self._offered.system_prompt(system)

    @property
    def _think(self) -> Think:
        think: Think = self.settings.think  # type: ignore[assignment]  # checked by its choices
        return think
