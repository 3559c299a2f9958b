"""The chat screen: its widgets; their messages and its keys go to the controllers."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeGuard

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Offset
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets._toast import ToastRack

from tchat.errors import TchatError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.keys import KEYS, KeyAction, Scope, bindings, declared, first_keys, shown_by_id
from tchat.tui.textual_patches import (
    FocusPainter,
    PartialCompositor,
    attached,
    let_queued_keys_act,
)
from tchat.tui.widgets.first_screen import FirstScreen
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.header import ChatHeader
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.status import StatusLine

if TYPE_CHECKING:
    from tchat.tui.controllers.controllers import Controllers
    from tchat.tui.services.conversation import Conversation, StartupState
    from tchat.tui.widgets.candidates import Candidates
    from tchat.tui.widgets.sidebar import Sidebar
    from tchat.tui.widgets.transcript.message_bar import MessageBar
    from tchat.tui.widgets.transcript.view import Transcript

AT_ONCE = frozenset({"stop", "interrupt", "quit", "suspend_process"})  # need no sessions


class ChatScreen(Screen[None]):
    """Header, transcript, prompt, status line; the sessions at the side."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]
    VERTICAL_BREAKPOINTS = [(0, "-very-low"), (8, "-usual")]  # noqa: RUF012
    DEFAULT_CSS = """
    ChatScreen { layers: base above; }
    """

    def __init__(
        self, settings: Settings, paths: Paths, *, private: bool = False, draft: str = ""
    ) -> None:
        super().__init__()
        self._compositor = PartialCompositor()
        self._painter = FocusPainter(self)
        self._first_draft = draft
        self.context = ChatContext(self, settings, paths, private=private)

    @cached_property
    def controllers(self) -> Controllers:
        """Created on first use, after the first picture, so that their imports wait too."""
        from tchat.tui.controllers.controllers import Controllers

        return Controllers(self.context)

    def compose(self) -> ComposeResult:
        """The chat column between two lines; the sidebar is mounted when first opened."""
        header = ChatHeader()
        header.fit_height(self.app.size.height)
        yield header
        keys = tuple(self._first_keys())
        with Horizontal(id="body"), Vertical(id="main"):
            select = shown_by_id(keys).get("prompt.complete", "")
            yield FirstScreen(first_keys(keys), select)
            messages = Vertical(id="messages")
            messages.display = False  # until it has any
            yield messages
            yield Prompt(keys)
        yield StatusLine()

    def _first_keys(self) -> Iterable[KeyAction]:
        """The keys of chat and prompt; without remapping no dialog is imported for them."""
        if self.context.has_own_keys:
            return self.context.keys_in_force()
        return (*KEYS, *declared(PromptArea.BINDINGS, Scope.PROMPT))

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """The widget at a cell and the offset in its content; none that was removed."""
        return attached(super().get_widget_and_offset_at(x, y))

    def on_mount(self) -> None:
        """Show at once; `start` does the rest."""
        prompt = self.prompt
        if self._first_draft:
            prompt.load(self._first_draft)
        prompt.private = self.context.private
        if self.context.settings.keymap == "vim":
            prompt.edit_with_vim()
        prompt.focus()
        self.context.status.refresh()

    def offer_completions(self) -> None:
        """Let the prompt complete commands and file names; the first picture does not need it."""
        from tchat.chat.attachments import complete_paths, existing_files
        from tchat.chat.commands import Surface, commands_for

        commands = [
            Candidate(each.name, each.help, each.aliases) for each in commands_for(Surface.SCREEN)
        ]
        self.prompt.offer(commands, complete_paths, existing_files)

    def on_unmount(self) -> None:
        """Stop the download; the part that was downloaded is kept."""
        self.context.downloads.stop()

    def on_resize(self) -> None:
        """Hide header and sidebar where there is no room."""
        self.query_one(ChatHeader).fit_height(self.size.height)
        self.context.status.refresh()
        if self.context.is_ready:
            self.controllers.sessions.fit_sidebar()

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        """Textual's handler follows; at the start the styles were computed a moment ago."""
        if not self.stack_updates:
            event.refresh_styles = False

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

    def start(self, conversation: Conversation, state: StartupState) -> None:
        """Go on with the sessions, which are open now."""
        self.controllers.startup.start(conversation, state)

    def show_failure(self, error: TchatError) -> bool:
        """Show a failure of a worker among the messages; False before there are any."""
        if self.context.is_ready:
            self.controllers.transcript.show_error(error)
        return self.context.is_ready

    # The prompt

    @on(Prompt.Submitted)
    def _on_submitted(self, event: PromptArea.Submitted) -> None:
        if self.context.is_ready:
            self.controllers.submit(event.draft)
        else:
            self.controllers.turn.queue.append(event.draft)

    @on(Prompt.Changed)
    def _on_draft_changed(self) -> None:
        if self.context.is_ready:
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

    @on(Prompt.EditorRequested)
    def _on_editor_requested(self, event: PromptArea.EditorRequested) -> None:
        self.controllers.draft.open_editor(event.draft)

    @on(Prompt.HelpRequested)
    def _on_help_requested(self) -> None:
        self.action_run("help")

    @on(Prompt.QuitRequested)
    async def _on_quit_requested(self) -> None:
        await self.action_quit()

    @on(Prompt.BlankLeft)
    def _on_blank_left(self) -> None:
        self.context.select_blank()

    @on(Prompt.TabPressed)
    def _on_tab_pressed(self) -> None:
        state = self.query_one(FirstScreen)
        if state.display:
            state.select()

    @on(Prompt.EnterPressed)
    def _on_enter_pressed(self) -> None:
        if self.context.is_ready:
            self.controllers.first_screen.accept_offer()

    @on(FirstScreen.Chosen)
    def _on_choice(self, event: FirstScreen.Chosen) -> None:
        self.controllers.first_screen.choose(event.choice)

    @on(FirstScreen.Left)
    def _on_choices_left(self) -> None:
        self.prompt.focus()

    async def _type_into_prompt(self, event: events.Event) -> bool:
        """Put what is typed or pasted elsewhere, and not bound there, into the prompt.

        This happens before the event is forwarded: what is typed after it finds the focus there.
        """
        prompt = self.prompt
        if prompt.has_focus_within or not self._is_free(event):
            return False
        await let_queued_keys_act(self.app)
        if prompt.has_focus_within or not self._is_free(event):
            return False  # the keys before it moved the focus
        typed = event.text if isinstance(event, events.Paste) else event.character
        self.controllers.transcript.view.leave()
        prompt.focus_at_once().insert(typed or "")
        return True

    def _is_free(self, event: events.Event) -> TypeGuard[events.Key | events.Paste]:
        """Whether an event is text that means nothing where the focus is."""
        focused = self.focused
        if isinstance(event, events.Paste):
            return focused is None or not focused.check_consume_key("a", "a")
        if not isinstance(event, events.Key) or not event.is_printable or not event.character:
            return False
        if focused is not None and focused.check_consume_key(event.key, event.character):
            return False
        if self.controllers.transcript.has_focus_without_cursor():
            return True  # its keys act on the message under the cursor
        return event.key not in self.active_bindings

    # Other widgets

    def _on_transcript_action_requested(self, event: Transcript.ActionRequested) -> None:
        if event.action == "redact":
            self.controllers.commands.redact(event.key)
        else:
            self.controllers.messages.act_on(event.key, event.action)

    def _on_transcript_cursor_moved(self, event: Transcript.CursorMoved) -> None:
        self._complete(self.controllers.find.show_cursor(event.key))
        # Go back to the prompt when the cursor leaves the messages.
        if event.key is None and self.controllers.transcript.view.has_focus:
            self.prompt.focus()

    def _on_transcript_find_requested(self) -> None:
        self.controllers.find.open()

    def _on_transcript_find_stepped(self, event: Transcript.FindStepped) -> None:
        self.controllers.find.step(event.step)

    def _on_message_bar_changed(self, event: MessageBar.Changed) -> None:
        self.controllers.find.search(event.text)

    def _on_message_bar_closed(self, event: MessageBar.Closed) -> None:
        self.controllers.find.close(entered=event.entered)

    def _on_transcript_link_clicked(self, event: Transcript.LinkClicked) -> None:
        self.controllers.messages.open_link(event.url)

    def _on_transcript_code_copy_requested(self, event: Transcript.CodeCopyRequested) -> None:
        self.app.copy_to_clipboard(event.text)

    def _on_candidates_taken(self, event: Candidates.Taken) -> None:
        self.controllers.candidates.choose(event.index)

    def _on_candidates_stopped(self, event: Candidates.Stopped) -> None:
        self.controllers.candidates.stop_one(event.index)

    def _on_candidates_copied(self, event: Candidates.Copied) -> None:
        # Copy a reply without what acts on a terminal.
        self.app.copy_to_clipboard(printable(event.text))

    def _on_chat_header_model_clicked(self) -> None:
        self._run_when_ready("model")

    def _on_chat_header_branch_clicked(self) -> None:
        self._run_when_ready("tree")

    def _on_chat_header_tools_clicked(self) -> None:
        self._run_when_ready("tools")

    def _on_chat_header_title_clicked(self) -> None:
        self._run_when_ready("rename")

    def _run_when_ready(self, name: str) -> None:
        if self.context.is_ready:
            self.action_run(name)

    def _on_chat_header_renamed(self, event: ChatHeader.Renamed) -> None:
        self.controllers.sessions.rename(event.title)

    def _on_chat_header_left(self) -> None:
        self.prompt.focus()

    def _on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        self.controllers.sessions.open_by_id(event.session_id)

    def _on_sidebar_left(self) -> None:
        self.prompt.focus()

    # Keys

    def action_run(self, name: str) -> None:
        """Run an action of `Controllers.actions`."""
        done = self.controllers.actions[name]()
        if isinstance(done, Coroutine):
            self._complete(done)

    @background(group="message")
    async def _complete(self, work: Coroutine[object, object, None]) -> None:
        await work

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether an action is available; most need the sessions to be open."""
        return self.context.is_ready or action in AT_ONCE

    def needs_sessions(self, event: events.Event) -> bool:
        """Whether a key starts an action that has to wait until the sessions are open."""
        if self.context.is_ready or not isinstance(event, events.Key):
            return False
        bound = self._bindings.key_to_bindings.get(event.key, ())
        return any(each.action.startswith("run(") for each in bound)

    @property
    def may_move_focus(self) -> bool:
        """Whether a letter may move the focus: it acts on messages, or is a command of Vim.

        So does Enter behind a text to be found.
        """
        if not self.context.is_ready:
            return False
        transcript, find = self.controllers.transcript, self.controllers.find
        return transcript.has_focus_with_cursor() or find.is_typed or self.prompt.takes_commands

    async def follow_leader(self, event: events.Event) -> bool:
        """Whether the leader key came before ``event``; a key after it starts an action.

        Also whether it is a key of Vim's modes, which come before the screen's own keys, or text
        for the prompt that is typed elsewhere.
        """
        if not self.context.is_ready or not self.controllers.leader.is_pending:
            if isinstance(event, events.Key) and await self.prompt.takes_first(event):
                return True
            return await self._type_into_prompt(event)
        if isinstance(event, events.Key):
            await self.controllers.leader.follow(event)
            return True
        self.controllers.leader.cancel()
        return False

    def action_stop(self) -> None:
        """Esc: leave an edit, else stop the reply and hold what waits for it."""
        self.controllers.stop()

    async def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else clear the prompt, then stop, then twice quit."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif self.controllers.interrupt():
            await self.action_quit()

    async def action_quit(self) -> None:
        """Leave; a reply under way is stopped and kept. Asks first when messages would be lost."""
        if self.context.is_ready and self.context.conversation.is_lost_at_quit:
            self._ask_to_quit()
        else:
            await self.app.action_quit()

    @background(group="quit", exclusive=True)
    async def _ask_to_quit(self) -> None:
        controllers = self.controllers
        if await controllers.sessions.may_quit() and await controllers.storage.may_quit():
            await self.app.action_quit()

    def action_suspend_process(self) -> None:
        """Back to the shell that tchat was started from; `fg` returns."""
        self.app.action_suspend_process()
