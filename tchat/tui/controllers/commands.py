"""The screen as the host of the slash commands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tchat.chat.attachments import check_file
from tchat.chat.commands import CommandCall, CommandDialog, Surface
from tchat.engine.events import Event
from tchat.errors import ModelNotFound, TchatError, UsageError
from tchat.paths import Paths, expanded, is_directory
from tchat.sanitize import printable, single_line
from tchat.sessions.records import Message, Session
from tchat.settings import Settings, Value
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.draft import DraftController
from tchat.tui.controllers.help import HelpController
from tchat.tui.controllers.messages import MessagesController
from tchat.tui.controllers.prompt_mode import PromptModeController
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.shell import ShellController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import LONG, TurnController
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.sessions.store import Store
    from tchat.tools.mcp.servers import McpServers

T = TypeVar("T")


DIALOGS = {  # the action that opens each
    CommandDialog.HELP: "help",
    CommandDialog.SESSIONS: "sessions",
    CommandDialog.BRANCHES: "tree",
    CommandDialog.MODELS: "model",
    CommandDialog.TEMPLATES: "templates",
    CommandDialog.THEMES: "theme",
    CommandDialog.JUDGE: "judge",
    CommandDialog.EXPORT: "export",
    CommandDialog.TOOLS: "tools",
    CommandDialog.MCP: "servers",
}


class CommandController:
    """The `CommandHost` of the screen: each command becomes what another controller does."""

    surface = Surface.SCREEN

    def __init__(
        self,
        context: ChatContext,
        *,
        actions: Mapping[str, Callable[[], object]],
        turn: TurnController,
        messages: MessagesController,
        sessions: SessionsController,
        settings: SettingsController,
        draft: DraftController,
        candidates: CandidatesController,
        prompt_mode: PromptModeController,
        help: HelpController,  # noqa: A002  as the screen calls it
        transcript: TranscriptController,
        submit: Callable[[Draft], None],
        lock: Callable[[], None],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._actions = actions
        self._turn = turn
        self._messages = messages
        self._sessions = sessions
        self._settings = settings
        self._draft = draft
        self._candidates = candidates
        self._prompt_mode = prompt_mode
        self._help = help
        self._transcript = transcript
        self._submit = submit
        self._lock = lock
        self._shell = ShellController(context)
        self._typed = Draft("")
        self._running = False
        self._waiting: deque[Draft] = deque()
        self.listed_sessions: list[str] = []  # none: a dialog lists them

    def wait(self, draft: Draft) -> bool:
        """Queue a draft behind the running command; False when none runs."""
        if self._running:
            self._waiting.append(draft)
        return self._running

    def run(self, call: CommandCall, draft: Draft | None = None) -> None:
        """Carry out a command that was typed in ``draft``.

        What begins a turn does so now, before what is typed behind it.
        """
        self._typed = draft or Draft("")
        if not call.command.takes_prompt:
            self._running = True
            self._run(call)
            return
        try:
            call.run_now(self)
        except UsageError as error:
            self._context.notify_error(error)
            self._context.prompt.give_back(self._typed)

    @background(group="command")
    async def _run(self, call: CommandCall) -> None:
        """Show a usage error as a toast, and any other failure in the transcript."""
        typed = self._typed
        try:
            await call.run(self)
        except (UsageError, ModelNotFound) as error:
            self._context.notify_error(error, timeout=LONG)
            if call.argument or call.command.needs_argument:
                self._context.prompt.give_back(typed)
        except TchatError as error:
            self._transcript.show_error(error)
            self._transcript.view.follow()
        finally:
            self._running = False
            while self._waiting and not self._running and self.screen.is_running:
                self._submit(self._waiting.popleft())

    def redact(self, key: int | str) -> None:
        """Redact the text that is selected, wherever it stands, else the message ``key``."""
        if not self._running and not self._turn.reject_if_busy():
            self._redact(key, (self.screen.get_selected_text() or "").strip())

    @background(group="command")
    async def _redact(self, key: int | str, selected: str) -> None:
        from tchat.chat.commands.redaction import redact_message, redact_selected

        try:
            if selected:
                await redact_selected(self, selected)
                self.screen.clear_selection()
            elif isinstance(key, int):
                await redact_message(self, key)
        except TchatError as error:
            self._context.notify_error(error, timeout=LONG)

    # What the commands see

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._context.settings

    @property
    def settings_for_model(self) -> Settings:
        """Those in force, with what the open model recommends."""
        return self._context.conversation.chat.settings_for_model

    @property
    def session(self) -> Session | None:
        """The open session."""
        return self._context.conversation.session

    @property
    def paths(self) -> Paths:
        """The user's folders."""
        return self._context.paths

    @property
    def candidate_ids(self) -> Sequence[int]:
        """None: candidates are chosen where they are shown."""
        return ()

    def show(self, text: str) -> None:
        """Show a notice in the transcript."""
        self._transcript.show_notice(text)
        self._transcript.view.follow()  # while a reply is being written, too

    def acknowledge(self, text: str) -> None:
        """Nothing: the screen shows what is done."""

    def open_dialog(self, dialog: CommandDialog, query: str = "") -> bool:
        """Open a dialog."""
        if dialog is CommandDialog.SEARCH:
            self._sessions.find(full_text=True, query=query)
        elif dialog is CommandDialog.MANUAL:
            self._help.show_manual(query)
        else:
            self._actions[DIALOGS[dialog]]()
        return True

    async def confirm(self, question: str, lines: Sequence[str]) -> bool:
        """Ask in a dialog."""
        from tchat.tui.dialogs.dialog import Confirm

        detail = printable("\n".join(lines))
        dialog = Confirm(question, detail, yes=tr("Replace"), no=tr("Cancel"), danger=True)
        answer: bool | None = await self.screen.app.push_screen_wait(dialog)
        return answer is True

    async def copy(self, text: str) -> None:
        """Copy ``text`` without what acts on a terminal."""
        self.screen.app.copy_to_clipboard(printable(text))

    # Stored data

    async def read(self, work: Callable[[Store], T]) -> T:
        """Read from the store of the open session, off the event loop."""
        return await self._context.messages.with_store(work)

    async def read_all(self, work: Callable[[Store], T]) -> T:
        """Read from the store of all sessions, off the event loop."""
        return await asyncio.to_thread(work, self._context.conversation.persistent)

    async def rename(self, title: str) -> None:
        """Give the session another title, also at the side."""
        if self.session is not None:
            await self._sessions.set_title(title)

    async def rate(self, message_id: int, rating: int) -> None:
        """Rate a reply."""
        await self._messages.set_rating(message_id, rating)

    async def pin(self, message_id: int, pinned: bool) -> None:
        """Pin a message, or take its pin away."""
        await self._messages.set_pin(message_id, pinned)

    async def delete(self, message_id: int) -> None:
        """Delete a message."""
        await self._messages.delete(message_id)

    async def undo_delete(self) -> None:
        """Bring back what was deleted."""
        await self._messages.undo_delete()

    async def show_rewritten(self, session: Session, change: Callable[[str], str]) -> None:
        """Show the open session anew, and forget what was made from its former texts."""
        app = self.screen.app
        app._clipboard = change(app.clipboard)
        self._context.prompt.rewrite(change)
        await self._messages.show_rewritten(session)

    async def pick(self, message_id: int) -> None:
        """Go on with a reply."""
        await self.read(lambda store: store.pick(message_id))
        await self._sessions.show_message(message_id)

    async def go_to(self, message_id: int) -> None:
        """Show the branch of a message."""
        await self._sessions.show_message(message_id)

    async def open_session(self, session: Session | None) -> None:
        """Open a session, or a new one."""
        await self._sessions.open(session)

    async def toggle_private(self) -> None:
        """Begin a private session, or one that is stored."""
        await self._sessions.toggle_private()

    # The chat

    async def change(self, values: Mapping[str, Value]) -> None:
        """Change settings for this chat."""
        if set(values) == {"system"}:
            await self._context.conversation.change(values)
            self._draft.count()
        else:
            about_tools = set(values) == {"tools.enabled"}
            await self._settings.change(values, told=not about_tools)
            if about_tools:
                from tchat.chat.commands.tools import enabled_text

                self._context.notify(enabled_text(self.settings.tools.enabled))

    async def toggle_details(self) -> None:
        """Show or hide times and token counts."""
        await self._settings.toggle_details()

    async def set_theme(self, name: str) -> None:
        """Use a theme from now on."""
        await self._settings.set_theme(name)

    async def reply(
        self,
        call: Callable[[Chat], Iterator[Event]],
        reply_prefix: str = "",  # noqa: ARG002 - the screen shows the message that begins so
    ) -> None:
        """Begin a turn."""
        if self._turn.is_busy:
            self._context.prompt.give_back(self._typed)
        self._turn.run(call)

    async def write_candidates(self, count: int, prompt: str, ranker: str = "") -> None:
        """Begin several replies, with the files of the draft that the command was typed in."""
        self._candidates.write(count, prompt, ranker, self._typed)

    async def compare_models(self, models: Sequence[str], prompt: str) -> None:
        """Begin a reply of each model, with the files of the draft."""
        self._candidates.compare(models, prompt, self._typed)

    async def edit(self, message: Message) -> None:
        """Put a message into the prompt."""
        self._prompt_mode.edit(message)

    async def attach(self, path: str) -> None:
        """Name a file in the draft; of a folder, put its text files there."""
        if await asyncio.to_thread(is_directory, expanded(path)):
            await self._attach_folder(path)
            return
        await asyncio.to_thread(check_file, expanded(path))
        draft = self._context.prompt.draft
        label = f"@{single_line(path)}"
        text = f"{draft.text} {label} ".lstrip()
        files = (*draft.files, (label, path))
        self._context.prompt.load(replace(draft, text=text, files=files))

    async def _attach_folder(self, path: str) -> None:
        from tchat.chat.attachments import join_parts
        from tchat.chat.folder_files import read_folder

        found = await asyncio.to_thread(read_folder, expanded(path), self.settings.encoding)
        label = f"[{found.summary}]"
        text = join_parts(map(str, found.attachments))
        self._context.prompt.give_back(Draft(label, pastes=((label, text),)))

    async def run_shell(self, command: str) -> None:
        """Run a shell command once the user agrees, and put its output into the draft."""
        if not await self._shell.run(command):
            self._context.prompt.give_back_selected(self._typed)

    def stop_shell(self) -> bool:
        """Stop the shell command that runs; False when none does."""
        return self._shell.stop()

    async def insert_template(self, name: str, text: str) -> None:
        """Put a prompt template into the prompt."""
        await self._help.insert_template(name, text)

    async def insert_text(self, text: str) -> None:
        """Put a text into the prompt."""
        self._context.prompt.load(Draft(text))
        self._context.prompt.focus()

    async def with_servers(self, work: Callable[[McpServers], T]) -> T:
        """The result of ``work`` with the MCP servers of the chat, off the event loop."""
        servers, settings = self._context.conversation.servers, self.settings
        return await asyncio.to_thread(lambda: work(servers.open(settings)))

    async def lock(self) -> None:
        """Hide the chat until the store is unlocked."""
        self._lock()

    async def quit(self) -> None:
        """End the chat, as its key does."""
        await self.screen.run_action("quit")
