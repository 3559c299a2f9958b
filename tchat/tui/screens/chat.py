"""The chat screen: what its keys and widgets start."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer

from tchat.chat.commands import Call, parse_input
from tchat.chat.file_names import file_names
from tchat.chat.input_history import Entry as Typed
from tchat.chat.input_history import InputHistory
from tchat.errors import TchatError, UsageError
from tchat.sessions.records import Role, Session
from tchat.tui.clipboard import copy
from tchat.tui.conversation import Conversation
from tchat.tui.keys import Scope, bindings
from tchat.tui.screens.commands import Commands
from tchat.tui.screens.dialogs import SCREEN_COMMANDS
from tchat.tui.widgets.completion_match import Candidate
from tchat.tui.widgets.meter import Meter
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import StatusData, StatusLine
from tchat.tui.widgets.transcript import Transcript

COUNT_DELAY = 0.12  # seconds of rest before a draft is counted
MESSAGE_ACTIONS = ("copy", "edit", "regenerate", "branch", "delete", "previous", "next")
TWICE = 2.0  # seconds within which a second Ctrl+C quits


class ChatScreen(Commands):
    """Transcript, prompt, meter, status line; the sessions at the side.

    Args:
        conversation: The chat behind the screen.
        session: The session to open with.
        draft: Text to begin the prompt with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(
        self, conversation: Conversation, session: Session | None = None, draft: str = ""
    ) -> None:
        super().__init__(conversation)
        self._first_session = session
        self._first_draft = draft
        self._count_timer: Timer | None = None
        self._interrupted = 0.0
        self._capacity = 0
        self._model_name = ""
        self._quantization = ""
        self._editing: int | None = None
        self._after: int | None = None
        self._history = InputHistory(conversation.paths.config)

    def compose(self) -> ComposeResult:
        """Side bar, then the column of the chat, then the status line."""
        with Horizontal(id="body"):
            yield self.make_sidebar()
            with Vertical(id="main"):
                yield Transcript()
                yield Prompt()
                yield Meter()
        yield StatusLine()

    async def on_mount(self) -> None:
        """Show at once, then read the disk and load the model."""
        self.prompt.offer(
            [Candidate(command.name, command.help) for command in SCREEN_COMMANDS], file_names
        )
        if self._first_draft:
            self.prompt.load(self._first_draft)
        self.prompt.private = self.conversation.private
        self.prompt.focus()
        self.show_status()
        self._start_up()

    @work(group="begin")
    async def _start_up(self) -> None:
        if self._first_session is not None:
            await self.open_session(self._first_session)
        await self._recall()
        await self.refresh_sessions()
        await self.greet()
        self.act(lambda chat: chat.load())

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
    async def _submit(self, event: PromptArea.Submitted) -> None:
        draft = event.draft
        try:
            parsed = parse_input(draft.full_text, SCREEN_COMMANDS)
        except UsageError as error:
            self.notify(str(error), severity="error", markup=False)
            self.prompt.load(draft)
            return
        self._remember(draft)
        if isinstance(parsed, Call):
            await self.carry_out(parsed)
        elif self._editing is not None:
            self._send_edit(self._editing, parsed)
        elif self._after is not None:
            self._send_branch(self._after, parsed)
        else:
            self.send(draft if parsed == draft.full_text else Draft(parsed))

    @work(group="history")
    async def _remember(self, draft: Draft) -> None:
        entry = Typed(draft.text, draft.pastes, draft.files)
        private = self.conversation.private
        try:
            await asyncio.to_thread(self._history.add, entry, private=private)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)

    def begin_edit(self, message_id: int, text: str) -> None:
        """Put an earlier message into the prompt; sending makes a branch."""
        self._editing = message_id
        self.prompt.mode = "editing an earlier message, Esc leaves it"
        self.prompt.load(text)
        self.prompt.focus()

    def begin_branch(self, message_id: int) -> None:
        """Let the next prompt follow an earlier message; what follows it stays, as a branch."""
        self._after = message_id
        self.prompt.mode = "a new branch from an earlier message, Esc leaves it"
        self.prompt.focus()

    def _send_branch(self, message_id: int, text: str) -> None:
        self._leave_edit()
        self.act(lambda chat: chat.send(text, after=message_id))

    def _send_edit(self, message_id: int, text: str) -> None:
        self._leave_edit()
        self.act(lambda chat: chat.edit(message_id, text))

    def _leave_edit(self) -> None:
        self._editing = self._after = None
        self.prompt.mode = ""

    @on(Prompt.QueueTaken)
    def _take_queued(self) -> None:
        self.take_queued()

    @on(Prompt.EditorRequested)
    @work(group="editor", exclusive=True)
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

    # The meter

    @on(Prompt.Changed)
    def _count_soon(self) -> None:
        if self._count_timer is not None:
            self._count_timer.stop()
        self._count_timer = self.set_timer(COUNT_DELAY, self.count_draft)

    @work(group="count", exclusive=True)
    async def count_draft(self) -> None:
        """Count the draft, exactly, beside whatever the engine does."""
        text = self.prompt.draft.full_text
        measure = await self.conversation.measure(text)
        if measure is not None:
            self._capacity = measure.context
            self.query_one(Meter).show(measure.draft if text else 0, measure.used, measure.context)
            self.show_status()

    # The status line

    def status(self) -> StatusData:
        """What the status line says."""
        return replace(
            super().status(),
            model=self._model_name or self.conversation.settings.model,
            quantization=self._quantization,
            device=self.conversation.device,
            context=self._capacity,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            private=self.conversation.private,
        )

    async def settled(self) -> None:
        """A turn is over: what depends on it is shown anew."""
        facts = self.conversation.facts
        if facts is not None:
            self._model_name, self._quantization = facts.name, facts.quantization
        self.show_status()
        self.count_draft()
        await self.refresh_sessions()

    # Keys

    def action_stop(self) -> None:
        """Esc: stop the reply, or leave an edit."""
        if self.busy:
            self.stop()
        elif self._editing is not None or self._after is not None:
            self._leave_edit()
            self.prompt.load("")
        else:
            self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else clear the prompt, then stop, then twice quit."""
        if selected := self.get_selected_text():
            self.copy_text(selected)
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

    async def action_new_session(self) -> None:
        """Begin a new session."""
        await self.open_session(None)

    async def action_private(self) -> None:
        """Switch private mode."""
        await self.toggle_private()

    def action_regenerate(self) -> None:
        """Another reply to the last message."""
        self.act(lambda chat: chat.regenerate())

    async def action_copy_reply(self) -> None:
        """Copy the last reply."""
        await self.copy_last_reply()

    async def action_reasoning(self) -> None:
        """Fold or unfold the reasoning of the last reply that has any."""
        branch = await self.conversation.branch()
        last = next((each for each in reversed(branch) if each.reasoning), None)
        if last is not None:
            self.transcript.toggle_reasoning(last.id)

    def action_message_up(self) -> None:
        """Put the message cursor on the message above."""
        self.transcript.focus()
        self.transcript.action_cursor(-1)

    def action_message_down(self) -> None:
        """Put the message cursor on the message below."""
        self.transcript.focus()
        self.transcript.action_cursor(1)

    # The transcript

    @on(Transcript.ActionRequested)
    async def _act_on_message(self, event: Transcript.ActionRequested) -> None:
        if event.action == "retry":
            self.retry()
            return
        if event.action == "continue":
            self.act(lambda chat: chat.continue_reply())
            return
        if not isinstance(event.key, int) or event.action not in MESSAGE_ACTIONS:
            return
        try:
            await self.do_with_message(event.key, event.action)
        except TchatError as error:
            self.notify(str(error), severity="error", markup=False)

    async def do_with_message(self, key: int, action: str) -> None:
        """Copy, edit, regenerate, branch, delete, or flip to a sibling."""
        entry = self.transcript.entry(key)
        if action == "copy":
            self.copy_text(entry.text)
        elif action == "edit":
            self.begin_edit(key, entry.text)
        elif action == "regenerate":
            self.act(lambda chat: chat.regenerate(key))
        elif action == "branch":
            self.begin_branch(key)
        elif action == "delete":
            await self.delete_at(key)
        elif await self.conversation.flip(key, -1 if action == "previous" else 1):
            await self.reload()

    async def copy_last_reply(self) -> None:
        """Copy the last reply as it was written."""
        branch = await self.conversation.branch()
        reply = next((each for each in reversed(branch) if each.role is Role.ASSISTANT), None)
        if reply is None:
            self.notify("There is no reply yet.", markup=False)
        else:
            self.copy_text(reply.text)

    def copy_text(self, text: str) -> None:
        """Copy, and say by what."""
        self._copy(text)

    @work(group="copy", exclusive=True)
    async def _copy(self, text: str) -> None:
        used = await asyncio.to_thread(copy, text, self.app.copy_to_clipboard)
        if used:
            self.notify(f"Copied {len(text):,} characters by {used}.", markup=False)
        else:
            self.notify(
                "Too long for the terminal; install xclip or wl-copy.",
                severity="error",
                markup=False,
            )

    @on(Transcript.CodeCopyRequested)
    def _copy_code(self, event: Transcript.CodeCopyRequested) -> None:
        self.copy_text(event.text)

    @on(Transcript.LinkClicked)
    def _open_link(self, event: Transcript.LinkClicked) -> None:
        self.ask_to_open(event.url)
