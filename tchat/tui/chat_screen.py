"""The chat screen: its widgets, and which controller their messages and its keys go to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Offset
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets._toast import ToastRack

from tchat.chat.attachments import complete_paths, existing_files
from tchat.chat.commands import CommandCall, Surface, commands_for, parse_input
from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.controllers import Controllers
from tchat.tui.keys import KEYS, KeyAction, Scope, bindings, declared, show_key
from tchat.tui.textual_patches import FocusPainter, PartialCompositor, attached
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.status import EmptyState, StatusLine
from tchat.tui.widgets.token_meter import TokenMeter

if TYPE_CHECKING:
    from tchat.tui.services.conversation import Conversation, Opened
    from tchat.tui.widgets.candidates import Candidates
    from tchat.tui.widgets.sidebar import Sidebar
    from tchat.tui.widgets.transcript.view import Transcript

FIRST_KEYS = (
    ("prompt.send", "send"),
    ("prompt.newline", "new line"),
    ("/", "commands"),
    ("@", "attach a file"),
    ("chat.sessions", "sessions"),
    ("chat.model", "model"),
    ("chat.theme", "theme"),
    ("chat.help", "all keys"),
)
AT_ONCE = frozenset({"stop", "interrupt", "quit", "suspend_process"})  # need no sessions
TWICE = 2.0  # seconds within which a second Ctrl+C quits


class ChatScreen(Screen[None]):
    """Transcript, prompt, meter, status line; the sessions at the side.

    Args:
        settings: For the first picture.
        paths: The user's folders.
        private: Whether nothing is to be stored.
        draft: Text to begin the prompt with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(
        self, settings: Settings, paths: Paths, *, private: bool = False, draft: str = ""
    ) -> None:
        super().__init__()
        self._compositor = PartialCompositor()
        self._painter = FocusPainter(self)
        self._first_draft = draft
        self._interrupted = 0.0
        self.context = context = ChatContext(self, settings, paths, private=private)
        self.controllers = Controllers(
            context, settle=self.settle, submit=self.submit, on_switch=self._leave_session
        )
        self._bind_actions()

    def compose(self) -> ComposeResult:
        """The column of the chat, then the status line; the side bar comes when it is wanted."""
        with Horizontal(id="body"), Vertical(id="main"):
            yield EmptyState(first_keys(self._keys_at_once()))
            yield Vertical(id="messages")
            yield Prompt()
            yield TokenMeter()
        yield StatusLine()

    def _keys_at_once(self) -> Iterable[KeyAction]:
        """The keys of chat and prompt; without remapping no dialog is imported for them."""
        if self.context.settings.keys:
            return self.controllers.help.keys_in_force()
        return (*KEYS, *declared(PromptArea.BINDINGS, Scope.PROMPT))

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """The widget at a cell and the offset in its content; none that was removed."""
        return attached(super().get_widget_and_offset_at(x, y))

    def on_mount(self) -> None:
        """Show at once; `start` does the rest."""
        prompt = self.prompt
        prompt.offer(
            [
                Candidate(each.name, each.help, each.aliases)
                for each in commands_for(Surface.SCREEN)
            ],
            complete_paths,
            existing_files,
        )
        if self._first_draft:
            prompt.load(self._first_draft)
        prompt.private = self.context.private
        prompt.focus()
        self.controllers.status.refresh()

    def on_unmount(self) -> None:
        """Leave no download behind; what came is kept."""
        self.controllers.downloads.stop()

    def on_resize(self) -> None:
        """Fold the sessions away where there is no room."""
        self.controllers.sessions.fit_sidebar()

    async def _on_idle(self, event: events.Idle) -> None:
        if self._painter.paint():
            event.prevent_default()
        else:
            await super()._on_idle(event)

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.context.prompt

    @property
    def conversation(self) -> Conversation:
        """The open chat, once it is ready."""
        return self.context.conversation

    def start(self, conversation: Conversation, opened: Opened) -> None:
        """Go on with the sessions, which are open now."""
        self.controllers.startup.start(conversation, opened)

    async def settle(self) -> None:
        """A turn is over, or the session changed: what depends on it is shown anew."""
        self.controllers.status.refresh_model()
        self.controllers.draft.count()
        self.controllers.draft.save_soon()
        await self.controllers.sessions.refresh_sidebar()

    def _leave_session(self) -> None:
        """Another session is open: edits and undos of the one before are over."""
        self.controllers.prompt_mode.leave()
        self.controllers.messages.forget_deleted()

    def show_failure(self, error: TchatError) -> bool:
        """Show a failure of a worker among the messages; False before there are any."""
        if self.context.is_ready:
            self.controllers.transcript.show_error(error)
        return self.context.is_ready

    # The prompt

    @on(Prompt.Submitted)
    def _on_submitted(self, event: PromptArea.Submitted) -> None:
        if self.context.is_ready:
            self.submit(event.draft)
        else:
            self.controllers.turn.queue.append(event.draft)

    def submit(self, draft: Draft) -> None:
        """Carry out a command, or send a prompt; behind a command that runs, at its end."""
        if self.controllers.commands.wait(draft):
            return
        try:
            parsed = parse_input(draft.full_text, commands_for(Surface.SCREEN))
        except UsageError as error:
            self.context.notify(str(error), severity="error")
            self.prompt.give_back(draft)
            return
        self.controllers.startup.remember(draft)
        if not self.controllers.turn.is_busy:
            self.controllers.candidates.close()
        if isinstance(parsed, CommandCall):
            self.controllers.commands.run(parsed, draft)
            return
        draft = draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
        if not self.controllers.prompt_mode.submit(draft):
            self.controllers.turn.send(draft)

    @on(Prompt.Changed)
    def _on_draft_changed(self) -> None:
        self.controllers.draft.count_soon()

    @on(Prompt.Resized)
    def _lift_toasts(self) -> None:
        """Keep toasts above what is typed, and above the keys of candidates."""
        below = self.size.height - self.prompt.region.y + 1
        for rack in self.query(ToastRack):  # none where notifications are off
            rack.styles.margin = (0, 0, below, 0)

    @on(Prompt.QueueTaken)
    def _on_queue_taken(self) -> None:
        self.controllers.turn.queue.give_back_last()

    @on(Prompt.QueueReleased)
    def _on_queue_released(self) -> None:
        self.controllers.turn.release_queue()

    @on(Prompt.BlankLeft)
    def _on_blank_left(self) -> None:
        self.context.select_blank()

    @on(Prompt.EditorRequested)
    @background(group="editor", exclusive=True)
    async def _on_editor_requested(self, event: PromptArea.EditorRequested) -> None:
        """Open the draft in the user's editor; the screen gives way meanwhile."""
        from tchat.chat.editor import edit_text

        try:
            with self.app.suspend():
                text = await asyncio.to_thread(edit_text, event.draft.text)
        except TchatError as error:
            self.context.notify(str(error), severity="error")
            return
        self.prompt.load(replace(event.draft, text=text))

    def on_key(self, event: events.Key) -> None:
        """Give to the prompt what is typed elsewhere and means nothing there: no letter is lost."""
        typed = event.character if event.is_printable else None
        prompt = self.prompt
        if typed and not prompt.has_focus_within and not self._means_something(event.key):
            event.stop()
            self.controllers.transcript.view.leave()
            prompt.focus().insert(typed)

    def _means_something(self, key: str) -> bool:
        """Whether what has the focus does something with a key."""
        if self.controllers.transcript.has_focus_without_cursor():
            return False  # its keys act on the message under the cursor
        return key in self.active_bindings

    def on_paste(self, event: events.Paste) -> None:
        """Give to the prompt what is pasted while something else has the focus."""
        event.stop()
        self.prompt.focus().insert(event.text)

    # Other widgets

    def on_transcript_action_requested(self, event: Transcript.ActionRequested) -> None:
        """Act on a message."""
        self.controllers.messages.act_on(event.key, event.action)

    def on_transcript_cursor_moved(self, event: Transcript.CursorMoved) -> None:
        """Go back to the prompt when the cursor leaves the messages."""
        if event.key is None and self.controllers.transcript.view.has_focus:
            self.prompt.focus()

    def on_transcript_code_copy_requested(self, event: Transcript.CodeCopyRequested) -> None:
        """Copy a block of code."""
        self.app.copy_to_clipboard(event.text)

    @background(group="dialog", exclusive=True)
    async def on_transcript_link_clicked(self, event: Transcript.LinkClicked) -> None:
        """Open a link after showing where it leads."""
        from tchat.tui.dialogs.dialog import Confirm

        if await self.app.push_screen_wait(Confirm("Open this address?", event.url, yes="Open")):
            self.app.open_url(event.url)

    def on_candidates_taken(self, event: Candidates.Taken) -> None:
        """Go on with one of several replies."""
        self.controllers.candidates.choose(event.index)

    def on_candidates_stopped(self, event: Candidates.Stopped) -> None:
        """Write no more of one reply."""
        self.controllers.candidates.stop_one(event.index)

    def on_candidates_copied(self, event: Candidates.Copied) -> None:
        """Copy a reply without what acts on a terminal."""
        self.app.copy_to_clipboard(printable(event.text))

    def on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        """Open the session that was chosen at the side."""
        self.controllers.sessions.open_from_sidebar(event.session_id)

    def on_sidebar_left(self) -> None:
        """Go back to the prompt."""
        self.prompt.focus()

    # Keys

    def _bind_actions(self) -> None:
        """Give each action that is a controller's alone to it; `KEYS` names them."""
        of_keys: dict[str, Callable[..., object]] = {
            "help": self.controllers.help.show_help,
            "command_palette": self.controllers.help.show_palette,
            "templates": self.controllers.help.show_templates,
            "new_session": self.controllers.sessions.open_new,
            "sessions": self.controllers.sessions.find,
            "search": partial(self.controllers.sessions.find, full_text=True),
            "sidebar": self.controllers.sessions.toggle_sidebar,
            "tree": self.controllers.sessions.show_tree,
            "private": self.controllers.sessions.switch_private,
            "model": self.controllers.models.show_picker,
            "settings": self.controllers.settings.show_dialog,
            "theme": self.controllers.settings.show_themes,
            "details": partial(self._await, self.controllers.settings.toggle_details),
            "judge": self.controllers.judge.show_dialog,
            "try": self.controllers.candidates.begin,
            "go_on": self.controllers.prompt_mode.continue_reply,
            "copy_reply": partial(self._await, self.controllers.messages.copy_last_reply),
            "undo_delete": partial(self._await, self.controllers.messages.undo_delete),
            "reasoning": partial(self._await, self.controllers.messages.toggle_reasoning),
            "message_up": partial(self.controllers.transcript.move_cursor, -1),
            "message_down": partial(self.controllers.transcript.move_cursor, 1),
        }
        for name, action in of_keys.items():
            setattr(self, f"action_{name}", action)

    @background(group="message")
    async def _await(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key does what it stands for; most of them need the sessions."""
        return self.context.is_ready or action in AT_ONCE

    def action_stop(self) -> None:
        """Esc: stop the reply and hold what waits for it, or leave an edit."""
        if self.context.is_ready:
            self.controllers.turn.queue.hold()
        if self.controllers.turn.is_busy:
            self.controllers.turn.stop()
            if self.controllers.candidates.is_open:
                return
        elif not self.controllers.candidates.close():
            self.controllers.prompt_mode.cancel()
        self.prompt.focus()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else clear the prompt, then stop, then twice quit."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif self.prompt.draft.text:
            self.prompt.load("")
        elif self.controllers.turn.is_busy:
            self.controllers.turn.queue.hold()
            self.controllers.turn.stop()
        elif time.monotonic() - self._interrupted < TWICE:
            await self.action_quit()
        else:
            self._interrupted = time.monotonic()
            self.notify("Press Ctrl+C again to quit.", timeout=TWICE, markup=False)

    async def action_quit(self) -> None:
        """Leave; a reply under way is stopped and kept. Asks first when messages would be lost."""
        if self.context.is_ready and self.context.conversation.failure is not None:
            self._ask_to_quit()
        else:
            await self.app.action_quit()

    @background(group="quit", exclusive=True)
    async def _ask_to_quit(self) -> None:
        if await self.controllers.storage.may_quit():
            await self.app.action_quit()

    def action_suspend_process(self) -> None:
        """Back to the shell that tchat was started from; `fg` returns."""
        self.app.action_suspend_process()

    def action_regenerate(self) -> None:
        """Do again what failed, or write another reply to the last message."""
        if not self.controllers.transcript.retry_last():
            self.controllers.turn.run(lambda chat: chat.regenerate())

    def action_page(self, pages: int) -> None:
        """Scroll the messages, wherever the focus is; in the side bar its list moves."""
        self._skip_in_sidebar()
        if self.controllers.candidates.scroll(pages):
            return
        if pages < 0:
            self.controllers.transcript.view.action_page_up()
        else:
            self.controllers.transcript.view.action_page_down()

    def action_top(self) -> None:
        """Go to the first message."""
        self._skip_in_sidebar()
        self.controllers.transcript.view.action_scroll_home()

    def action_end(self) -> None:
        """Go to the end of the messages, and follow it."""
        self._skip_in_sidebar()
        self.controllers.transcript.view.follow()

    def _skip_in_sidebar(self) -> None:
        if self.controllers.sessions.is_in_sidebar:
            raise SkipAction


def first_keys(actions: Iterable[KeyAction]) -> list[tuple[str, str]]:
    """Keys and what they do, for somebody who begins."""
    shown = {each.id: show_key(each.keys.split(",")[0]) for each in actions}
    return [(shown.get(key, key), does) for key, does in FIRST_KEYS]
