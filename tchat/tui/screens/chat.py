"""The chat screen: what its keys and widgets start."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Key, Paste

from tchat.chat.commands import CommandCall, parse_input
from tchat.chat.path_completion import complete_paths, existing_files
from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.keys import KEYS, KeyAction, Scope, bindings, declared, show_key
from tchat.tui.model_label import short_model_name
from tchat.tui.screens.beginning import Beginning
from tchat.tui.screens.dialogs import SCREEN_COMMANDS
from tchat.tui.screens.trials import TRIALS
from tchat.tui.widgets.completion_match import Candidate
from tchat.tui.widgets.empty_state import EmptyState
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine
from tchat.tui.widgets.token_meter import TokenMeter

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
TWICE = 2.0  # seconds within which a second Ctrl+C quits


class ChatScreen(Beginning):
    """Transcript, prompt, meter, status line; the sessions at the side.

    Args:
        settings: For the first picture.
        paths: The user's folders.
        private: Whether nothing is to be stored.
        draft: Text to begin the prompt with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        *,
        private: bool = False,
        draft: str = "",
    ) -> None:
        super().__init__(settings, paths)
        self._first_private = private
        self._first_draft = draft
        self._interrupted = 0.0
        self._model_name = ""
        self._quantization = ""

    def compose(self) -> ComposeResult:
        """The column of the chat, then the status line; the side bar comes when it is wanted."""
        with Horizontal(id="body"), Vertical(id="main"):
            yield EmptyState(greeted(self._first_keys()))
            yield Vertical(id="messages")
            yield Prompt()
            yield TokenMeter()
        yield StatusLine()

    def _first_keys(self) -> Iterable[KeyAction]:
        """The keys of chat and prompt; without remapping no dialog is imported for them."""
        if self.settings.keys:
            return self.keys_in_force()
        return (*KEYS, *declared(PromptArea.BINDINGS, Scope.PROMPT))

    def on_mount(self) -> None:
        """Show at once; `begin` does the rest."""
        self.prompt.offer(
            [Candidate(each.name, each.help, each.aliases) for each in SCREEN_COMMANDS],
            complete_paths,
            existing_files,
        )
        if self._first_draft:
            self.prompt.load(self._first_draft)
        self.prompt.private = self._first_private
        self.prompt.focus()
        self.show_status()

    # The prompt

    @on(Prompt.Submitted)
    def _submit(self, event: PromptArea.Submitted) -> None:
        if self.begun:
            self.take(event.draft)
        else:
            self.wait_with(event.draft)

    def take(self, draft: Draft) -> None:
        """Carry out a command, or send a prompt."""
        try:
            parsed = parse_input(draft.full_text, SCREEN_COMMANDS)
        except UsageError as error:
            self.notify(str(error), severity="error", markup=False)
            self.prompt.give_back(draft)
            return
        self.remember(draft)
        if not self.busy:
            self.leave_trial()
        if isinstance(parsed, CommandCall):
            if parsed.command.name in TRIALS:
                self.begin_trial(parsed, draft)
            else:
                self.carry_out(parsed)
            return
        draft = draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
        if not self.send_for_purpose(draft):
            self.send(draft)

    @on(Prompt.QueueTaken)
    def _take_queued(self) -> None:
        self.take_queued()

    @on(Prompt.QueueReleased)
    def _release_queue(self) -> None:
        self.go_on_with_queue(wanted=True)

    @on(Prompt.BlankLeft)
    def _ask_to_fill_in(self) -> None:
        self.has_blank()

    @on(Prompt.EditorRequested)
    @background(group="editor", exclusive=True)
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
            model=self._model_name or short_model_name(self.settings.model),
            quantization=self._quantization,
            device=self.conversation.device if self.begun else "",
            context=self._capacity,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            pulling=self.pulls.words,
            private=self.conversation.private if self.begun else self._first_private,
        )

    async def settled(self) -> None:
        """A turn is over: what depends on it is shown anew."""
        facts = self.conversation.facts
        if facts is not None:
            from tchat.tui.model_rows import model_label

            self._model_name, self._quantization = model_label(facts), facts.quantization
        self.show_status()
        self.query_one(EmptyState).show(
            self._model_name, self._quantization, self.conversation.device
        )
        self.count_draft()
        self.save_soon()
        await self.refresh_sessions()

    # Keys

    def action_stop(self) -> None:
        """Esc: stop the reply and hold what waits for it, or leave an edit."""
        if self.begun:
            self.hold_queue()
        if self.busy:
            self.stop()
            if self.trying:
                return
        elif not self.leave_trial():
            self.cancel_purpose()
        self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else clear the prompt, then stop, then twice quit."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif self.prompt.draft.text:
            self.prompt.load("")
        elif self.busy:
            self.hold_queue()
            self.stop()
        elif time.monotonic() - self._interrupted < TWICE:
            await self.action_quit()
        else:
            self._interrupted = time.monotonic()
            self.notify("Press Ctrl+C again to quit.", timeout=TWICE, markup=False)

    async def action_quit(self) -> None:
        """Leave; a reply under way is stopped and kept. Asks first when messages would be lost."""
        if self.begun and self.conversation.failure is not None:
            self._ask_to_quit()
        else:
            await self.app.action_quit()

    @background(group="dialog", exclusive=True)
    async def _ask_to_quit(self) -> None:
        """Store what is in memory only; where that fails, let the user decide."""
        from tchat.tui.dialogs.confirm import Confirm

        await self._try_to_store()
        if failure := self.conversation.failure:
            ask = Confirm(
                "Quit, and lose what is not stored?", failure.message, yes="Quit", danger=True
            )
            if not await self.app.push_screen_wait(ask):
                return
        await self.app.action_quit()

    def action_suspend_process(self) -> None:
        """Back to the shell that tchat was started from; `fg` returns."""
        self.app.action_suspend_process()

    @background(group="dialog", exclusive=True)
    async def action_new_session(self) -> None:
        """Begin a new session."""
        await self.open_session(None)

    @background(group="dialog", exclusive=True)
    async def action_private(self) -> None:
        """Switch private mode."""
        await self.toggle_private()

    def action_regenerate(self) -> None:
        """Do again what failed, or write another reply to the last message."""
        if not self.retry_last():
            self.act(lambda chat: chat.regenerate())

    @background(group="message")
    async def action_copy_reply(self) -> None:
        """Copy the last reply."""
        await self.copy_last_reply()

    @background(group="message")
    async def action_reasoning(self) -> None:
        """Fold or unfold the reasoning of the last reply that has any."""
        branch = await self.conversation.branch()
        last = next((each for each in reversed(branch) if each.reasoning), None)
        if last is not None and self.transcript.has(last.id):
            self.transcript.toggle_reasoning(last.id)

    @background(group="message")
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

    def on_key(self, event: Key) -> None:
        """Give to the prompt what is typed elsewhere and means nothing there: no letter is lost."""
        typed = event.character if event.is_printable else None
        if typed and not self.prompt.has_focus_within and not self._means_something(event.key):
            event.stop()
            self.transcript.leave()
            self.prompt.focus().insert(typed)

    def _means_something(self, key: str) -> bool:
        """Whether what has the focus does something with a key."""
        if self.focused is self._transcript and self.transcript.cursor is None:
            return False  # its keys act on the message under the cursor
        return key in self.active_bindings

    def on_paste(self, event: Paste) -> None:
        """Give to the prompt what is pasted while something else has the focus."""
        event.stop()
        self.prompt.focus().insert(event.text)

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
