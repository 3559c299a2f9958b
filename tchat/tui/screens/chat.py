"""The chat screen: what its keys and widgets start."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from tchat.chat.commands import Call, parse_input
from tchat.chat.file_names import file_names
from tchat.chat.input_history import Entry as Typed
from tchat.chat.input_history import InputHistory
from tchat.errors import ModelNotFound, TchatError, UsageError
from tchat.models.resolve import STARTER
from tchat.sessions.records import Session
from tchat.tui.conversation import Conversation
from tchat.tui.entries import maker
from tchat.tui.keys import KEYS, KeyAction, Scope, bindings, declared, show_key
from tchat.tui.screens.dialogs import SCREEN_COMMANDS
from tchat.tui.screens.drafts import Drafts
from tchat.tui.screens.trials import TRIALS
from tchat.tui.screens.turns import load
from tchat.tui.widgets.completion_match import Candidate
from tchat.tui.widgets.greeting import Greeting
from tchat.tui.widgets.meter import Meter
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine

if TYPE_CHECKING:
    from tchat.tui.widgets.transcript.view import Transcript

GREETED = (
    ("prompt.send", "send"),
    ("prompt.newline", "new line"),
    ("/", "commands"),
    ("@", "attach a file"),
    ("chat.sessions", "sessions"),
    ("chat.model", "model"),
    ("chat.theme", "theme"),
    ("chat.help", "all keys"),
)
WARM = {"python": "def f(x): return 1", "bash": "ls | wc", "json": "[1]"}
TWICE = 2.0  # seconds within which a second Ctrl+C quits


class ChatScreen(Drafts):
    """Transcript, prompt, meter, status line; the sessions at the side.

    Args:
        conversation: The chat behind the screen.
        session: The session to open with.
        draft: Text to begin the prompt with.
        problem: Why nothing can be stored; None when all is well.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(
        self,
        conversation: Conversation,
        session: Session | None = None,
        draft: str = "",
        problem: TchatError | None = None,
    ) -> None:
        super().__init__(conversation)
        self._first_session = session
        self._first_draft = draft
        self._problem = problem
        self._interrupted = 0.0
        self._model_name = ""
        self._quantization = ""
        self._history = InputHistory(conversation.paths.config)

    def compose(self) -> ComposeResult:
        """The column of the chat, then the status line; the side bar comes when it is wanted."""
        with Horizontal(id="body"), Vertical(id="main"):
            yield Greeting(greeted(self._first_keys()))
            yield Vertical(id="messages")
            yield Prompt()
            yield Meter()
        yield StatusLine()

    def _first_keys(self) -> Iterable[KeyAction]:
        """The keys of chat and prompt; without remapping no dialog is imported for them."""
        if self.conversation.settings.keys:
            return self.keys_in_force()
        return (*KEYS, *declared(PromptArea.BINDINGS, Scope.PROMPT))

    def on_mount(self) -> None:
        """Show at once, then read the disk and load the model."""
        self.prompt.offer(
            [Candidate(each.name, each.help, each.aliases) for each in SCREEN_COMMANDS], file_names
        )
        if self._first_draft:
            self.prompt.load(self._first_draft)
        self.prompt.private = self.conversation.private
        self.prompt.focus()
        self.show_status()
        self.call_after_refresh(self._start_up)

    @work(group="begin", exit_on_error=False)
    async def _start_up(self) -> None:
        """What the first picture did not need: the messages, the disk, the model."""
        await asyncio.to_thread(importlib.import_module, "tchat.tui.widgets.transcript.view")
        self.transcript.show_details(self.conversation.settings.show_details)
        self.transcript.show_scores(self.conversation.settings.show_scores)
        if self._problem is not None:
            self.tell_error(self._problem)
        if self._first_session is not None:
            await self.open_session(self._first_session)
        await self._recall()
        await self._load_or_welcome()
        await self._warm_up()

    async def _load_or_welcome(self) -> None:
        """Load the model; on the first run without one, say how to get it."""
        if self.busy:  # a prompt was sent already, which loads it
            return
        if self.conversation.settings.model == STARTER:
            try:
                await self.conversation.find_model(STARTER)
            except ModelNotFound:
                await self.welcome()
                return
        self.act(load)

    async def _warm_up(self) -> None:
        """Import what the first block of code needs, once the model does not need the processor."""
        await self.until_free()
        await asyncio.to_thread(warm_up)

    async def _recall(self) -> None:
        """Let Up go back through the prompts of earlier sessions."""
        try:
            typed = await asyncio.to_thread(self._history.entries)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        self.prompt.remember(Draft(each.text, each.pastes, each.files) for each in typed)

    # The prompt

    @on(Prompt.Submitted)
    def _submit(self, event: PromptArea.Submitted) -> None:
        draft = event.draft
        try:
            parsed = parse_input(draft.full_text, SCREEN_COMMANDS)
        except UsageError as error:
            self.notify(str(error), severity="error", markup=False)
            self.prompt.load(draft)
            return
        self._remember(draft)
        if not self.busy:
            self.leave_trial()
        if isinstance(parsed, Call):
            if parsed.command.name in TRIALS:
                self.begin_trial(parsed, draft)
            else:
                self.carry_out(parsed)
            return
        draft = draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
        if not self.send_for_purpose(draft):
            self.send(draft)

    @work(group="history", exit_on_error=False)
    async def _remember(self, draft: Draft) -> None:
        entry = Typed(draft.text, draft.pastes, draft.files)
        private = self.conversation.private
        try:
            await asyncio.to_thread(self._history.add, entry, private=private)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)

    @on(Prompt.QueueTaken)
    def _take_queued(self) -> None:
        self.take_queued()

    @on(Prompt.EditorRequested)
    @work(group="editor", exclusive=True, exit_on_error=False)
    async def _edit_draft(self, event: PromptArea.EditorRequested) -> None:
        """Open the draft in the user's editor; the screen gives way meanwhile."""
        from tchat.chat.editor import edit_text

        try:
            with self.app.suspend():
                text = await asyncio.to_thread(edit_text, event.draft.text)
        except TchatError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.prompt.load(replace(event.draft, text=text))

    # The status line

    def status(self) -> StatusData:
        """What the status line says."""
        return replace(
            super().status(),
            model=self._model_name or maker(self.conversation.settings.model),
            quantization=self._quantization,
            device=self.conversation.device,
            context=self._capacity,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            pulling=self.pulls.words,
            private=self.conversation.private,
        )

    async def settled(self) -> None:
        """A turn is over: what depends on it is shown anew."""
        facts = self.conversation.facts
        if facts is not None:
            from tchat.tui.model_rows import model_label

            self._model_name, self._quantization = model_label(facts), facts.quantization
        self.show_status()
        self.query_one(Greeting).show(
            self._model_name, self._quantization, self.conversation.device
        )
        self.count_draft()
        self.save_soon()
        await self.refresh_sessions()

    # Keys

    def action_stop(self) -> None:
        """Esc: stop the reply, or leave an edit."""
        if self.busy:
            self.stop()
            if self.trying:
                return
        elif not self.leave_trial() and self.leave_purpose():
            self.prompt.load("")
        self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else clear the prompt, then stop, then twice quit."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif self.prompt.draft.text:
            self.prompt.load("")
        elif self.busy:
            self.stop()
        elif time.monotonic() - self._interrupted < TWICE:
            await self.action_quit()
        else:
            self._interrupted = time.monotonic()
            self.notify("Press Ctrl+C again to quit.", timeout=TWICE, markup=False)

    async def action_quit(self) -> None:
        """Leave; a reply under way is stopped and kept."""
        await self.app.action_quit()

    def action_suspend_process(self) -> None:
        """Back to the shell that tchat was started from; `fg` returns."""
        self.app.action_suspend_process()

    @work(group="dialog", exclusive=True, exit_on_error=False)
    async def action_new_session(self) -> None:
        """Begin a new session."""
        await self.open_session(None)

    @work(group="dialog", exclusive=True, exit_on_error=False)
    async def action_private(self) -> None:
        """Switch private mode."""
        await self.toggle_private()

    def action_regenerate(self) -> None:
        """Do again what failed, or write another reply to the last message."""
        if not self.retry_last():
            self.act(lambda chat: chat.regenerate())

    @work(group="message", exit_on_error=False)
    async def action_copy_reply(self) -> None:
        """Copy the last reply."""
        await self.copy_last_reply()

    @work(group="message", exit_on_error=False)
    async def action_reasoning(self) -> None:
        """Fold or unfold the reasoning of the last reply that has any."""
        branch = await self.conversation.branch()
        last = next((each for each in reversed(branch) if each.reasoning), None)
        if last is not None and self.transcript.has(last.id):
            self.transcript.toggle_reasoning(last.id)

    @work(group="message", exit_on_error=False)
    async def action_details(self) -> None:
        """Show or hide times, models and token counts."""
        shown = not self.conversation.settings.show_details
        await self.conversation.change({"show_details": shown})
        self.wear(self.conversation.settings)

    def action_message_up(self) -> None:
        """Put the message cursor on the message above."""
        self.transcript.focus()
        self.transcript.move_cursor(-1)

    def action_message_down(self) -> None:
        """Put the message cursor on the message below."""
        self.transcript.focus()
        self.transcript.move_cursor(1)

    def action_page(self, pages: int) -> None:
        """Scroll the messages, wherever the focus is; in the side bar its list moves."""
        self._refuse_in_side()
        if self.page_trial(pages):
            return
        if pages < 0:
            self.transcript.action_page_up()
        else:
            self.transcript.action_page_down()

    def action_top(self) -> None:
        """Go to the first message."""
        self._refuse_in_side()
        self.transcript.action_scroll_home()

    def action_end(self) -> None:
        """Go to the end of the messages, and follow it."""
        self._refuse_in_side()
        self.transcript.follow()

    def _refuse_in_side(self) -> None:
        if self._sidebar is not None and self._sidebar.has_focus_within:
            raise SkipAction

    # The transcript

    def on_transcript_cursor_moved(self, event: Transcript.CursorMoved) -> None:
        """Go back to the prompt when the cursor leaves the messages."""
        if event.key is None and self.transcript.has_focus:
            self.prompt.focus()

    def on_transcript_code_copy_requested(self, event: Transcript.CodeCopyRequested) -> None:
        """Copy a block of code."""
        self.app.copy_to_clipboard(event.text)

    def on_transcript_link_clicked(self, event: Transcript.LinkClicked) -> None:
        """Ask whether to open a link."""
        self.ask_to_open(event.url)


def greeted(actions: Iterable[KeyAction]) -> list[tuple[str, str]]:
    """Keys and what they do, for somebody who begins."""
    shown = {each.id: show_key(each.keys.split(",")[0]) for each in actions}
    return [(shown.get(key, key), does) for key, does in GREETED]


def warm_up() -> None:
    """Import and compile what the first block of code needs: it would stutter otherwise."""
    from tchat.markdown.highlight import Highlighter
    from tchat.tui.widgets.transcript.palette import DARK_CODE

    for language, line in WARM.items():
        Highlighter(language, DARK_CODE).line(line)
