"""A session joined to a model: loaded when it is needed, and what was read is not read again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from tchat.chat.context_window import ContextWindow, fit_window, reply_reserve, window_turns
from tchat.chat.prefill_cost import PrefillCost, PromptRead, prefill_cost_of, prefill_reason
from tchat.chat.turns import drop_unanswered, group_turns, left_out_text, pinned_turns, turn_starts
from tchat.engine.cancel import Cancel
from tchat.engine.events import Event, Notice
from tchat.engine.prompt.messages import ChatMessage
from tchat.paths import Paths
from tchat.sessions.records import Message, Role, Session
from tchat.settings import Settings, Value

if TYPE_CHECKING:
    from tchat.chat.draft import DraftPreview, TokenCount
    from tchat.chat.model import ChatModel
    from tchat.engine.events import PromptProgress
    from tchat.engine.prompt.template import Think
    from tchat.models.metadata import ModelMetadata
    from tchat.sessions.store import SessionStore


class PromptBuilder:
    """The part of a `Chat` that holds the model and knows what the next prompt consists of."""

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
        self._read: PromptRead | None = None  # the last prompt
        self._cost: PrefillCost | None = None  # of the prompt being read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Save what was read, and free the model. The store stays open: it is the caller's."""
        if self._model is not None:
            self.cancel.clear()  # nothing runs any more that it could stop
            try:
                self.save_snapshot(leaving=True)
            finally:
                self._model.engine.close()
                self._model = None

    def release_model(self) -> ChatModel | None:
        """Hand the model to another chat; this one has none from then on, and saves nothing."""
        model, self._model = self._model, None
        return model

    def save_snapshot(
        self, wanted: Callable[[], bool] = lambda: True, *, leaving: bool = False
    ) -> int:
        """Save on disk what the model has read of this session; returns how many tokens.

        Only a part of it when it is no longer ``wanted`` or ``cancel`` is set meanwhile, or, at
        the end of the program (``leaving``), when it takes long: see `Snapshots.save`.
        """
        if self._model is None or self._session is None or self.store.path is None:
            return 0
        return self._model.engine.save(
            lambda: wanted() and not self.cancel.is_set(), leaving=leaving
        )

    def forget_snapshots(self, session_id: str) -> None:
        """Remove what is saved of a session that was deleted, or changed in its middle.

        May be called from another thread than the engine's.
        """
        from tchat.chat.snapshots import forget_sessions

        if self._model is not None:
            self._model.engine.unbind_session(session_id)
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
    def facts(self) -> ModelMetadata | None:
        """What is known of the model's file; None before it was needed."""
        return self._model.facts if self._model else None

    def open(self) -> Iterator[Event]:
        """Load the model before a prompt is stored; ends early when ``cancel`` is set.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded; nothing was stored.
        """
        yield from self._load_model()

    def load(self) -> Iterator[Event]:
        """Load the model, and restore what is saved of the session, before the first prompt."""
        model = yield from self._load_model()
        if model is not None and self._session is not None:
            self._bind_session(model)
            yield from model.engine.prepare(self._history(), self._think)
            cost = self.prefill_cost()
            if cost is not None and cost.is_notable:
                yield Notice("price", f"the next prompt {cost}")

    def count_draft(self, draft: str) -> TokenCount | None:
        """Exact tokens of a draft; None while the model is not loaded.

        May be called from another thread than the engine's.
        """
        preview = self._preview(draft)
        return preview.measure() if preview else None

    def prefill_draft(self, draft: str, going: Callable[[], bool]) -> Iterator[PromptProgress]:
        """Read what is sure of a prompt while it is being typed, for as long as it is wanted.

        Nothing of it is stored, and what was read of the session stays as it is.
        """
        if preview := self._preview(draft):
            yield from preview.read(going)

    def prefill_cost(self, draft: str = "", after: int | None = None) -> PrefillCost | None:
        """What the next prompt reads again of the chat so far.

        Args:
            draft: Its text: when it is long, old turns may have to leave for it.
            after: The message that it will follow; None for the end of the session.

        Returns:
            None where no model is loaded, the chat has no reply yet, or ``cancel`` is set.
        """
        model = self._model
        if model is None or not model.engine.is_loaded:
            return None
        path = self._path() if after is None else drop_unanswered(self.store.path_to(after))
        try:
            window = self._fitted(model, path, [ChatMessage("user", draft or "?")])
            return self._cost_of(model, path, window)
        except InterruptedError:
            return None

    def _preview(self, draft: str) -> DraftPreview | None:
        model = self._model
        if model is None or not model.engine.is_loaded:
            return None
        from tchat.chat.draft import DraftPreview

        return DraftPreview(model.engine, self._history(), draft, self.settings)

    def _path(self) -> list[Message]:
        """The messages that the next prompt follows."""
        path = drop_unanswered(self.store.branch(self._session.id)) if self._session else []
        # The next prompt stands beside a question that was not answered.
        return path[:-1] if path and path[-1].role is Role.USER else path

    def _history(self) -> list[ChatMessage]:
        """What the next prompt begins with."""
        path = self._path()
        turns = window_turns(group_turns(path), self._first_turn(path), pinned_turns(path))
        return [*self._system(), *(each for turn in turns for each in turn)]

    # For what is sent

    @property
    def paths(self) -> Paths:
        """The user's folders."""
        return self._paths

    def require_model(self) -> ChatModel:
        """The model, loaded, for something else than a reply.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: ``cancel`` was set.
        """
        ready = self._load_model()
        while True:
            try:
                next(ready)
            except StopIteration as ended:
                if ended.value is None:
                    raise InterruptedError from None
                model: ChatModel = ended.value
                return model

    def unload(self) -> None:
        """Free the model, which is loaded anew when it is needed; nothing of it is saved."""
        if self._model is not None:
            self._model.engine.close()
            self._model = None

    def _load_model(self) -> Generator[Event, None, ChatModel | None]:
        """The model, loaded; None when the user stopped that."""
        try:
            if self._model is None:
                from tchat.chat.model import open_model

                self._model = yield from open_model(self.settings, self._paths, self.cancel)
            yield from self._model.engine.load()
        except InterruptedError:
            return None
        return self._model

    def _refuse_stopped(self) -> None:
        if self.cancel.is_set():
            raise InterruptedError

    def _bind_session(self, model: ChatModel) -> None:
        """Let what the model reads from now on be saved for this session, unless it is private."""
        if self._session is not None and self.store.path is not None:
            model.engine.bind_session(self._session.id)
        else:
            model.engine.bind_session("")

    def _prepare(
        self, question: Message, begun: Sequence[ChatMessage]
    ) -> Generator[Event, None, tuple[ChatModel, Sequence[ChatMessage]] | None]:
        """The model, loaded, and the messages of the prompt; None when the user stopped that."""
        model = yield from self._load_model()
        if model is None:
            return None
        try:
            return model, (yield from self._window(model, question, begun))
        except InterruptedError:
            return None

    def _window(
        self, model: ChatModel, question: Message, begun: Sequence[ChatMessage]
    ) -> Generator[Event, None, Sequence[ChatMessage]]:
        """The messages of the prompt: system, the turns that fit, ``question``, ``begun``.

        Raises:
            InterruptedError: ``cancel`` was set meanwhile.
            PromptTooLong: It exceeds the context.
        """
        *path, asked_ = self.store.path_to(question.id)
        path = [*drop_unanswered(path), asked_]
        asked = group_turns(path[-1:])[0]
        window = self._fitted(model, path[:-1], [*asked, *begun])
        self._refuse_stopped()
        self._require_fit(model, window, continue_final=bool(begun))
        if window.first > self._first_turn(path) and window.left_out:
            size = model.engine.context_size
            yield Notice("window", left_out_text(path, window.left_out, size))
        self._cost = self._cost_of(model, path[:-1], window)
        if self._cost is not None and self._cost.is_notable:
            yield Notice("price", str(self._cost))
        self._window_start = turn_starts(path)[window.first]
        self._read = PromptRead(window.messages, [message.id for message in path])
        return window.messages

    def _fitted(
        self, model: ChatModel, path: Sequence[Message], asked: Sequence[ChatMessage]
    ) -> ContextWindow:
        """What goes into a prompt of the turns of ``path`` and the new one, ``asked``."""
        engine = model.engine
        begun = asked[-1].role == "assistant"
        size = engine.context_size

        def count(messages: Sequence[ChatMessage]) -> int:
            self._refuse_stopped()
            return engine.count(messages, self._think, continue_final=begun)

        return fit_window(
            self._system(),
            [*group_turns(path), asked],
            room=size - reply_reserve(size, self.settings.sampling.max_tokens),
            count=count,
            first=self._first_turn(path),
            pinned=pinned_turns(path),
        )

    def _require_fit(
        self, model: ChatModel, window: ContextWindow, *, continue_final: bool
    ) -> None:
        """Refuse a prompt that leaves the reply no token, before anything of a reply is stored."""
        from tchat.engine.prompt.encoder import too_long

        size = model.engine.context_size
        if window.tokens >= size:
            # One that was not counted is refused by this, with a number that is about right.
            tokens = model.engine.count(window.messages, self._think, continue_final=continue_final)
            raise too_long(tokens, size)

    def _cost_of(
        self, model: ChatModel, path: Sequence[Message], window: ContextWindow
    ) -> PrefillCost | None:
        """What a prompt costs beyond the last turn of ``window``."""
        asked = (place for place, each in enumerate(window.messages) if each.role == "user")
        history = window.messages[: max(asked, default=0)]
        last = next((each for each in reversed(path) if each.model), None)
        # The same file may go by two names.
        same = {self.settings.model, model.facts.sha256 or self.settings.model}
        why = prefill_reason(
            self._read,
            history,
            [message.id for message in path],
            other_model=last is not None and same.isdisjoint({last.model, last.model_sha256}),
            turns_left=window.first > self._first_turn(path),
        )
        return prefill_cost_of(model.engine, history, self._think, why)

    def _note_replies(self, *message_ids: int) -> None:
        """Note which messages are replies to the last prompt."""
        if self._read is not None:
            self._read.replies.update(message_ids)

    def _first_turn(self, path: Sequence[Message]) -> int:
        """The turn of ``path`` that the window of the last prompt began with.

        The first on another branch, which need not be as long: there the window begins afresh.
        """
        starts = turn_starts(path)
        return starts.index(self._window_start) if self._window_start in starts else 0

    def _system(self) -> list[ChatMessage]:
        system = self._session.system if self._session else self.settings.system
        return [ChatMessage("system", system)] if system else []

    @property
    def _think(self) -> Think:
        think: Think = self.settings.think  # type: ignore[assignment]  # checked by its choices
        return think
