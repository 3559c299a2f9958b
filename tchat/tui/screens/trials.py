"""Several replies side by side on the chat screen: begun, shown, stopped, and one of them taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tchat.chat.commands import CommandCall
from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.screens.turns import Turns
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.engine.cancel import Request
    from tchat.engine.events import CandidateEvent, Event
    from tchat.tui.candidate_run import CandidateRun
    from tchat.tui.services.conversation import Act
    from tchat.tui.widgets.candidates.view import Candidates

TRIALS = frozenset({"try", "best"})  # the commands that begin one


class Trials(Turns):
    """The part of the chat screen that lets the model write several replies to choose from."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self._trial: CandidateRun | None = None

    @property
    def trying(self) -> bool:
        """Whether there are replies to choose from."""
        return self._trial is not None

    def begin_trial(self, call: CommandCall, draft: Draft) -> None:
        """Carry out ``/try`` or ``/best`` with the files of the draft that it was typed in."""
        from tchat.chat.candidates import parse_candidates

        try:
            count, prompt = parse_candidates(call.argument, call.command.name)
        except UsageError as error:
            self.notify(str(error), severity="error", markup=False)
            self.prompt.give_back(draft)
            return
        judge = self.conversation.settings.judge if call.command.name == "best" else ""
        self._try(count, Draft(prompt, files=draft.files), judge=judge, typed=draft)

    def action_try(self) -> None:
        """Write several replies to the draft, or more of them to the last question."""
        from tchat.chat.candidates import DEFAULT_CANDIDATES

        if self.has_blank():
            return
        draft = self.prompt.draft
        self.prompt.load("")
        self._try(DEFAULT_CANDIDATES, draft, judge="", typed=draft)

    def _try(self, count: int, draft: Draft, *, judge: str, typed: Draft) -> None:
        if self.refuses():
            self.prompt.give_back(typed)
            return
        from tchat.tui.candidate_run import CandidateRun

        trial = CandidateRun(count, details=self.conversation.settings.show_details)

        def how(text: str) -> Act:
            return lambda chat: chat.candidates(
                count, text, stopped=trial.stopped, judge=judge, fallback=True
            )

        def unsent(_: Draft) -> None:
            self.leave_trial()
            self.prompt.give_back(typed)

        if draft.text.strip():
            self.submit(draft, how, shown=True, unsent=unsent)
        else:
            self.act(how(""))
        self._trial = trial

    # While they are written

    def _claim(self) -> Request | None:
        request = super()._claim()
        if request is not None:
            self.leave_trial()
        return request

    async def _show(self, batch: Sequence[Event]) -> None:
        if self._trial is not None:
            from tchat.engine.events import CandidateEvent, Notice, Ranked

            for event in batch:
                if isinstance(event, Notice) and event.kind == "judge":
                    self.notify(event.text, markup=False)  # the transcript is hidden
                elif isinstance(event, CandidateEvent):
                    await self._show_candidate(self._trial, event)
                elif isinstance(event, Ranked):
                    self._trial.rank(event.judge, event.scores)
            self._trial.flush()
        await super()._show(batch)

    async def _show_candidate(self, trial: CandidateRun, event: CandidateEvent) -> None:
        from tchat.engine.events import Finished, MessageStored, Reasoning, Token

        inner = event.event
        if isinstance(inner, MessageStored):
            trial.ids[event.index] = inner.reply
            if trial.view is None:
                await self._open(trial, inner.question)
        elif isinstance(inner, Finished):
            trial.finish(event.index, inner)
        elif isinstance(inner, Token | Reasoning):
            self._progress.take(inner)
            trial.hear(event.index, inner)

    async def _open(self, trial: CandidateRun, question: int) -> None:
        """Put the view in the place of the messages."""
        from tchat.tui.widgets.candidates.view import Candidates

        asked = await self.conversation.message(question)
        self._drop_pending()  # the messages are read again at the end
        trial.view = Candidates(asked.text, trial.count)
        self.transcript.display = False
        await self.query_one("#messages").mount(trial.view)
        trial.view.focus()

    async def _ended(self, act: Act, failure: TchatError | None) -> None:
        await super()._ended(act, failure)
        trial = self._trial
        if trial is None:
            return
        if trial.view is None or failure is not None:
            self.leave_trial()
        elif trial.taken is not None:
            await self._go_on_with(trial, trial.taken)
        else:
            await self._tell_kept(trial)

    async def _tell_kept(self, trial: CandidateRun) -> None:
        """Say what the chat goes on with when none is taken, which is the active one now."""
        last = await self.conversation.branch(last=1)
        kept = (index for index, key in trial.ids.items() if last and last[0].id == key)
        if trial.view is not None:
            trial.view.keep(next(kept, None))

    async def _fail(self, act: Act, error: TchatError) -> None:
        if self._trial is not None and self._trial.view is not None:
            await self.reload()  # what was written of them
        await super()._fail(act, error)

    def _next(self, *, dropped: bool) -> None:
        if self._trial is None:  # else it waits until one is taken
            super()._next(dropped=dropped)

    # Choosing

    @background(group="message")
    async def on_candidates_taken(self, event: Candidates.Taken) -> None:
        """Go on with a reply; the others stop, if they are still being written."""
        trial = self._trial
        if trial is None or trial.view is None:
            return
        if self.busy:
            trial.take(event.index)
        else:
            await self._go_on_with(trial, event.index)

    def on_candidates_stopped(self, event: Candidates.Stopped) -> None:
        """Write no more of one reply."""
        if self._trial is not None:
            self._trial.stopped.add(event.index)

    def on_candidates_copied(self, event: Candidates.Copied) -> None:
        """Copy a reply without what acts on a terminal."""
        self.app.copy_to_clipboard(printable(event.text))

    async def _go_on_with(self, trial: CandidateRun, index: int) -> None:
        try:
            await self.conversation.pick(trial.ids[index])
        except TchatError:
            self.notify("Nothing was written there; another one can be taken.", markup=False)
            trial.taken = None
            return
        self.leave_trial()
        await self.reload()
        await self.settled()

    def leave_trial(self) -> bool:
        """Show the messages again; whether there was anything to leave."""
        trial, self._trial = self._trial, None
        if trial is None or trial.view is None:
            return False
        trial.view.remove()
        self.transcript.display = True
        self.transcript.follow()
        self.prompt.focus()
        self.go_on_with_queue()
        return True

    async def end_turn(self) -> None:
        """Stop what the engine does; replies to choose from are left as they are."""
        await super().end_turn()
        self.leave_trial()

    def page_trial(self, pages: int) -> bool:
        """Scroll the current one of several replies; False when there are none."""
        if self._trial is None or self._trial.view is None:
            return False
        self._trial.view.action_scroll(pages)
        return True
