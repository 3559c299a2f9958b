"""Candidates: several replies side by side, one of which is chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.chat.commands.command import DEFAULT_CANDIDATES
from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    MessageStored,
    Notice,
    Ranked,
    Reason,
    ReasoningDelta,
    ReplyDelta,
    TextDelta,
)
from tchat.errors import TchatError, UsageError
from tchat.sessions.records import Role, Status
from tchat.translation import N_, tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.sessions.store import Store
    from tchat.tui.widgets.candidates import Candidates

WriteCandidates = Callable[["Chat", str, "CandidateRun"], Iterator[Event]]
NOTHING = N_("This reply is empty; choose another one.")


class CandidatesController:
    """Runs candidates: several replies to choose from; follows the turn that writes them."""

    def __init__(
        self, context: ChatContext, turn: TurnController, transcript: TranscriptController
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._run: CandidateRun | None = None

    @property
    def is_open(self) -> bool:
        """Whether there are replies to choose from."""
        return self._run is not None

    def write(self, count: int, prompt: str, ranker: str, typed: Draft) -> None:
        """Write several replies to ``prompt`` with the files of the draft it was ``typed`` in."""
        self._begin(count, Draft(prompt, files=typed.files), ranker=ranker, typed=typed)

    def begin(self) -> None:
        """Write several replies to the draft, or more of them to the last question."""
        if self._context.select_blank():
            return
        prompt = self._context.prompt
        draft = prompt.draft
        prompt.load("")
        self._begin(DEFAULT_CANDIDATES, draft, ranker="", typed=draft)

    def compare(self, models: Sequence[str], prompt: str, typed: Draft) -> None:
        """Let each of several models reply to ``prompt``, or to the last question."""

        def write(chat: Chat, text: str, run: CandidateRun) -> Iterator[Event]:
            from tchat.chat.compare import compare_models

            return compare_models(chat, models, text, stopped=run.stopped)

        self._start(CandidateRun(len(models), names=models), prompt, write, typed)

    def _begin(self, count: int, draft: Draft, *, ranker: str, typed: Draft) -> None:
        def write(chat: Chat, text: str, run: CandidateRun) -> Iterator[Event]:
            return chat.candidates(count, text, stopped=run.stopped, ranker=ranker, fallback=True)

        run = CandidateRun(count, details=self._context.settings.show_details, ranks=bool(ranker))
        self._start(run, draft, write, typed)

    def _start(
        self, run: CandidateRun, draft: Draft | str, write: WriteCandidates, typed: Draft
    ) -> None:
        if self._turn.reject_if_busy():
            self._context.prompt.give_back(typed)
            return

        def unsent(_: Draft) -> None:
            self.close()
            self._context.prompt.give_back(typed)

        if isinstance(draft, str):
            draft = Draft(draft, files=typed.files)
        if draft.text.strip():
            self._turn.run_draft(
                draft, lambda chat, text: write(chat, text, run), shown=True, unsent=unsent
            )
        else:
            self._turn.run(lambda chat: write(chat, "", run))
        self._run = run

    # While they are written

    async def on_events(self, batch: Sequence[Event]) -> None:
        """Show what came of each reply."""
        if self._run is None:
            return
        for event in batch:
            if isinstance(event, Notice) and event.kind in ("judge", "compare"):
                self._context.notify(event.text)  # the transcript is hidden
            elif isinstance(event, CandidateEvent):
                await self._show(self._run, event)
            elif isinstance(event, Ranked):
                self._run.rank(event.ranker, event.scores)
        self._feed_taken(self._run)
        self._run.flush()

    def _feed_taken(self, run: CandidateRun) -> None:
        """Let the reply that was chosen go on among the messages."""
        if run.taken is None or run.view is not None:
            return
        reply, view = run.ids[run.taken], self._transcript.view
        text, reasoning, _ = run.drain(run.taken)
        if (text or reasoning) and view.has(reply):
            view.feed(reply, text, reasoning)

    async def _show(self, run: CandidateRun, event: CandidateEvent) -> None:
        inner = event.event
        if isinstance(inner, MessageStored):
            run.ids[event.index] = inner.reply
            self._turn.state.replies.add(inner.reply)
            if run.view is None:
                await self._open(run, inner)
        elif isinstance(inner, Finished):
            run.finish(event.index, inner)
        elif isinstance(inner, ReplyDelta):
            self._turn.state.progress.record(inner)
            run.buffer(event.index, inner)

    async def _open(self, run: CandidateRun, first: MessageStored) -> None:
        """Put the candidates in the place of the messages."""
        from tchat.chat.compare import shown_model
        from tchat.tui.widgets.candidates import Candidates

        message = await self._context.messages.message(first.question)
        last = await self._context.messages.branch(last=1)
        replies = (each for each in last if each.role is Role.ASSISTANT)
        run.before = next((each.id for each in replies if each.id != first.reply), None)
        self._transcript.drop_pending()  # the messages are read again at the end
        servers = self._context.settings.servers
        names = [shown_model(name, servers) for name in run.names]
        keys = self._context.keys_in_force() if self._context.has_own_keys else ()
        run.view = Candidates(message.text, run.count, names, keys)
        self._transcript.view.display = False
        await self.screen.query_one("#messages").mount(run.view)
        self._focus(run.view)

    def _focus(self, view: Candidates) -> None:
        """Let the keys act on the candidates, unless something is being typed."""
        if not self._context.prompt.draft.text:
            view.focus()

    async def on_failure(self) -> None:
        """Read what was written of them."""
        if self._run is not None and self._run.view is not None:
            await self._transcript.reload()

    async def on_end(self, failure: TchatError | None) -> None:
        """Let the user choose, or go on with what was chosen meanwhile."""
        run = self._run
        if run is None:
            return
        if failure is None and run.taken is not None:
            await self._go_on_with(run, run.taken)
        elif run.view is None or failure is not None:
            self.close()
        else:
            await self._mark_active(run)
            if run.view is not None:
                self._focus(run.view)

    async def _mark_active(self, run: CandidateRun) -> None:
        """Mark the reply that the chat goes on with when none is chosen: the active one.

        That is the reply from before, unless the best one was asked for.
        """
        if run.before is not None and not run.ranks:
            await self._context.messages.activate(run.before)
        last = await self._context.messages.branch(last=1)
        active = (index for index, key in run.ids.items() if last and last[0].id == key)
        if run.view is not None:
            run.view.keep(next(active, None))

    # Choosing

    @background(group="message")
    async def choose(self, index: int) -> None:
        """Go on with a reply; the others stop, if they are still being written."""
        run = self._run
        if run is None or run.view is None:
            return
        if index not in run.ids:  # a model that was left out, or has not begun
            self._context.notify(NOTHING)
        elif self._turn.is_busy:
            await self._choose_early(run, index)
        else:
            await self._go_on_with(run, index)

    async def _choose_early(self, run: CandidateRun, index: int) -> None:
        """Go on with a reply while others, or itself, are still being written."""
        reply, messages = run.ids[index], self._transcript.view
        try:
            await self._context.messages.activate(reply)
        except TchatError:
            self._context.notify(tr(NOTHING))
            return
        run.take(index)
        await self._transcript.reload()
        if self._run is not run or run.view is None or not messages.has(reply):
            return  # all of them have ended meanwhile, or another session is open
        run.flush()
        shown = messages.entry(reply)
        if shown.status == "streaming":  # more has come than is stored
            text, reasoning = run.view.written(index)
            messages.update(replace(shown, text=text, reasoning=reasoning))
        self._turn.state.reply = reply
        self._close_view(run)

    def stop_one(self, index: int) -> None:
        """Write no more of one reply."""
        if self._run is not None:
            self._run.stopped.add(index)

    async def _go_on_with(self, run: CandidateRun, index: int) -> None:
        try:
            await self._context.messages.with_store(lambda store: store.pick(run.ids[index]))
        except TchatError:
            self._context.notify(tr(NOTHING))
            run.taken = None
            if run.view is not None:
                return
        self.close()
        await self._transcript.reload()
        await self._context.settle()

    @background(group="message")
    async def leave(self) -> None:
        """Choose none: where a reply from before stays, what was stopped beside it is deleted."""
        run = self._run
        if not self.close() or run is None or run.before is None:
            return
        before = run.before

        def delete_broken_off(store: Store) -> None:
            for key in run.ids.values():
                with suppress(UsageError):  # an empty one is gone already
                    if store.message(key).status in (Status.STOPPED, Status.INTERRUPTED):
                        store.delete_message(key)
            store.activate(before)

        if not run.ranks:
            await self._context.messages.with_store(delete_broken_off)
        await self._transcript.reload()
        await self._context.settle()

    def close(self) -> bool:
        """Show the messages again; whether there were replies to choose from."""
        run, self._run = self._run, None
        if run is None or run.view is None:
            return False
        self._close_view(run)
        self._turn.advance_queue()
        return True

    def _close_view(self, run: CandidateRun) -> None:
        if run.view is not None:
            run.view.remove()
            run.view = None
        self._transcript.view.display = True
        self._transcript.view.follow()
        self._context.prompt.focus()

    def scroll(self, pages: int) -> bool:
        """Scroll the current one of several replies; False when there are none."""
        if self._run is None or self._run.view is None:
            return False
        self._run.view.action_scroll(pages)
        return True


class CandidateRun:
    """One set of replies, from its first event until one is taken.

    Attributes:
        stopped: Indexes of those that shall end; the engine looks at it between two tokens.
        ids: The messages that they are.
        view: Where they are shown; None until they begin.
        names: The models that write them, where each has its own.
        taken: The index of the one that the user goes on with.
        before: The reply that the question had before; None for none.
        ranks: Whether the best one is chosen.
    """

    def __init__(
        self,
        count: int,
        *,
        details: bool = False,
        names: Sequence[str] = (),
        ranks: bool = False,
    ) -> None:
        self.count = count
        self.names = names
        self.ranks = ranks
        self.before: int | None = None
        self._details = details
        self.stopped: set[int] = set()
        self.ids: dict[int, int] = {}
        self.view: Candidates | None = None
        self.taken: int | None = None
        self._pieces: defaultdict[int, list[ReplyDelta]] = defaultdict(list)

    def buffer(self, index: int, piece: ReplyDelta) -> None:
        """Keep a piece until the next `flush`."""
        self._pieces[index].append(piece)

    def flush(self) -> None:
        """Show what came since the last time."""
        if self.view is not None:
            for index in list(self._pieces):
                self.view.feed(index, *self.drain(index))
        self._pieces.clear()

    def drain(self, index: int) -> tuple[str, str, int]:
        """Text, reasoning and tokens of one that came since the last `flush`; takes them away."""
        pieces = self._pieces.pop(index, [])
        text = "".join(each.text for each in pieces if isinstance(each, TextDelta))
        thought = "".join(each.text for each in pieces if isinstance(each, ReasoningDelta))
        return text, thought, sum(each.tokens for each in pieces)

    def finish(self, index: int, end: Finished) -> None:
        """Show the end of one."""
        from tchat.tui.widgets.candidates import Stage

        self._pieces.pop(index, None)
        stages = {
            Reason.LENGTH: Stage.CUT_OFF,
            Reason.LOOP: Stage.LOOPED,
            Reason.CANCELLED: Stage.STOPPED,
        }
        if self.view is not None:
            stage, tokens = stages.get(end.reason, Stage.DONE), end.usage.completion
            self.view.finish(index, stage, end.text, end.reasoning, tokens)
            if self._details and end.log_probability is not None:
                self.view.label(index, f"log p {end.log_probability:.2f}")

    def rank(self, ranker: str, scores: tuple[tuple[int, float], ...]) -> None:
        """Show a ranker's score of each, the best first."""
        if self.view is None:
            return
        for place, (index, score) in enumerate(scores):
            self.view.label(index, f"{'★ ' if not place else ''}{ranker} {score:.2f}")
        if scores:
            self.view.keep(scores[0][0])
            self.view.point_at(scores[0][0])

    def take(self, index: int) -> None:
        """Go on with one: the others shall end, also while they are being written."""
        self.taken = index
        self.stopped |= set(range(self.count)) - {index}
