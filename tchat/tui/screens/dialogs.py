"""Dialogs of the chat screen: what they are given, and what follows from their results."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from textual import on, work

from tchat.chat.attachments import expand_user
from tchat.chat.commands import Surface, commands_for
from tchat.errors import StorageError, TchatError, UsageError
from tchat.sanitize import single_line
from tchat.sessions.records import Deleted, Hit, Role, Session
from tchat.settings import Key, Value, find_key, load, spell
from tchat.settings.write import set_value
from tchat.tui.conversation import Conversation
from tchat.tui.keymap import remap
from tchat.tui.keys import KeyAction, Scope, with_keymap
from tchat.tui.model_rows import model_rows
from tchat.tui.screens.confirm import Confirm
from tchat.tui.screens.help import HelpScreen
from tchat.tui.screens.models import ModelPicker
from tchat.tui.screens.palette import Palette
from tchat.tui.screens.sessions import SessionsScreen
from tchat.tui.screens.settings import SettingsScreen
from tchat.tui.screens.templates import TemplatePicker
from tchat.tui.screens.themes import ThemePicker
from tchat.tui.screens.tree import TreePicker
from tchat.tui.screens.turns import Turns
from tchat.tui.widgets.sidebar import Sidebar

SCREEN_COMMANDS = commands_for(Surface.SCREEN)


class Desk:
    """The sessions for `SessionsScreen`; what was deleted can be brought back."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._deleted: dict[str, Deleted] = {}

    async def search(self, query: str) -> Sequence[Hit]:
        """The messages that contain the words of ``query``."""
        return await self._conversation.search(query)

    async def rename(self, session_id: str, title: str) -> object:
        """Give a session another title."""
        await self._conversation.rename(session_id, title)
        return None

    async def delete(self, session_id: str) -> object:
        """Delete a session, so that `restore` can bring it back."""
        self._deleted[session_id] = await self._conversation.delete(session_id)
        return None

    async def restore(self, session_id: str) -> object:
        """Bring back a session that `delete` took."""
        return await self._conversation.restore(self._deleted.pop(session_id))

    async def export(self, session_id: str) -> str:
        """Write a session as Markdown; where it was written."""
        return await export_to_file(self._conversation, session_id)


class Dialogs(Turns):
    """The part of the chat screen that asks, by dialogs, and does what was chosen."""

    def begin_edit(self, message_id: int, text: str) -> None:
        """Put an earlier message into the prompt; sending makes a branch."""
        raise NotImplementedError

    async def copy_last_reply(self) -> None:
        """Copy the last reply."""
        raise NotImplementedError

    def make_sidebar(self) -> Sidebar:
        """The sessions at the side, folded at first."""
        return Sidebar()

    # Sessions

    @work(group="dialog", exclusive=True)
    async def action_sessions(self) -> None:
        """Find a session."""
        await self._find_session(full_text=False)

    @work(group="dialog", exclusive=True)
    async def action_search(self) -> None:
        """Search in all messages."""
        await self._find_session(full_text=True)

    def find_messages(self, words: str) -> None:
        """Search in all messages for ``words``."""
        self.run_worker(self._find_session(full_text=True, query=words), group="dialog")

    async def _find_session(self, *, full_text: bool, query: str = "") -> None:
        sessions = await self.conversation.sessions()
        open_one = self.conversation.session
        choice = await self.app.push_screen_wait(
            SessionsScreen(
                sessions,
                Desk(self.conversation),
                current=open_one.id if open_one else "",
                full_text=full_text,
                query=query,
            )
        )
        if choice is not None:
            await self.open_session(await self.conversation.find(choice.session_id))
            if choice.message_id is not None:
                await self._show_message(choice.message_id, choice.words)
        elif open_one is not None and self.conversation.session is None:
            await self.reload()
        await self.refresh_sessions()

    async def _show_message(self, message_id: int, words: str) -> None:
        await self.conversation.activate(message_id)
        await self.reload()
        self.transcript.reveal(message_id, words)

    async def open_session(self, session: Session | None) -> None:
        """Go on in ``session``, or in a new one."""
        await self.conversation.open(session)
        await self.reload()
        await self.refresh_sessions()
        if session is not None:
            branch = await self.conversation.branch()
            if branch and branch[-1].role is Role.USER:
                self.tell("The last message has no reply yet: /continue writes one.")
        self.prompt.focus()
        await self.settled()

    async def reload(self) -> None:
        """Show the active path of the session as it is stored."""
        self.transcript.show(await self.conversation.entries())

    async def greet(self) -> None:
        """Say what to do, where there is nothing to see yet."""
        if self.conversation.session is None:
            self.tell("Type a message. / lists the commands, @ attaches a file, F1 shows the keys.")

    async def refresh_sessions(self) -> None:
        """Show the sessions at the side as they are stored."""
        session = self.conversation.session
        sidebar = self.query_one(Sidebar)
        sidebar.show(await self.conversation.sessions(), session.id if session else "")

    @on(Sidebar.Opened)
    async def _open_from_side(self, event: Sidebar.Opened) -> None:
        await self.open_session(await self.conversation.find(event.session_id))

    @on(Sidebar.Left)
    def _leave_side(self) -> None:
        self.prompt.focus()

    def action_sidebar(self) -> None:
        """Show or fold the sessions at the side."""
        sidebar = self.query_one(Sidebar)
        if sidebar.toggle():
            sidebar.focus()

    def on_resize(self) -> None:
        """Fold the sessions away where there is no room."""
        self.query_one(Sidebar).fit(self.size.width)

    async def export_session(self, session_id: str, name: str = "") -> None:
        """Write a session as Markdown, and say where."""
        self.tell(f"Written to {await export_to_file(self.conversation, session_id, name)}.")

    async def toggle_private(self) -> None:
        """Begin a session that leaves nothing behind, or one that is stored."""
        try:
            await self.conversation.set_private(not self.conversation.private)
        except UsageError as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        self.prompt.private = self.conversation.private
        await self.reload()
        self.tell(
            "Private: nothing of this session is stored."
            if self.conversation.private
            else "Sessions are stored again."
        )
        self.show_status()

    # Branches

    @work(group="dialog", exclusive=True)
    async def action_tree(self) -> None:
        """Show all branches of the session."""
        messages = await self.conversation.tree()
        active = {each.id for each in await self.conversation.branch()}
        chosen = await self.app.push_screen_wait(TreePicker(messages, active))
        if chosen is not None:
            await self._show_message(int(chosen), "")

    async def delete_at(self, key: int) -> None:
        """Delete a message and what follows, after asking."""
        self._delete(key)

    @work(group="dialog", exclusive=True)
    async def _delete(self, key: int) -> None:
        text = single_line(self.transcript.entry(key).text, 200)
        sure = await self.app.push_screen_wait(
            Confirm("Delete this message and all that follows it?", text, yes="Delete", danger=True)
        )
        if sure:
            await self.conversation.delete_message(key)
            await self.reload()
            await self.settled()

    # Settings

    async def change(self, values: dict[str, Value]) -> None:
        """Change settings for this chat; the model is loaded anew when it must be."""
        settings = self.conversation.settings
        for name, value in values.items():
            settings = find_key(name).put(settings, value)
        if await self.conversation.use(settings):
            await self.reload()
            self.tell(f"The model is opened anew: {single_line(settings.model)}.")
            self.act(lambda chat: chat.load())
            return
        changed = (f"{name} = {spell(value) or '(empty)'}" for name, value in values.items())
        self.notify(", ".join(changed), markup=False)

    @work(group="dialog", exclusive=True)
    async def action_model(self) -> None:
        """Choose the model."""
        facts = self.conversation.facts
        rows = await asyncio.to_thread(
            model_rows, self.conversation.paths, facts.path if facts else None
        )
        choice = await self.app.push_screen_wait(ModelPicker(rows))
        if choice is not None:
            await self.change({"model": str(expand_user(choice)) if "/" in choice else choice})

    @work(group="dialog", exclusive=True)
    async def action_settings(self) -> None:
        """Show and change the settings."""
        paths = self.conversation.paths
        origins = (await asyncio.to_thread(load, paths)).origins
        await self.app.push_screen_wait(
            SettingsScreen(self.conversation.settings, origins, self._apply_setting)
        )

    async def _apply_setting(self, key: Key, value: Value, save: bool) -> None:
        """Use a value in this chat, and keep it for good when asked to."""
        await self.change({key.name: value})
        if save:
            file = self.conversation.paths.config_file
            await asyncio.to_thread(set_value, file, key, spell(value))

    @work(group="dialog", exclusive=True)
    async def action_theme(self) -> None:
        """Choose the colours."""
        themes = list(self.app.available_themes.values())
        name = await self.app.push_screen_wait(ThemePicker(themes, self.app.theme))
        if name is not None:
            await self.keep_theme(name)

    async def choose_theme(self, name: str) -> None:
        """Wear a theme by its name.

        Raises:
            UsageError: There is none of that name.
        """
        if name not in self.app.available_themes:
            raise UsageError(f"there is no theme {single_line(name)}", "/theme lists them")
        self.app.theme = name
        await self.keep_theme(name)

    async def keep_theme(self, name: str) -> None:
        """Write the theme into config.toml."""
        file = self.conversation.paths.config_file
        try:
            await asyncio.to_thread(set_value, file, find_key("theme"), name)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)

    # Templates, help, links

    @work(group="dialog", exclusive=True)
    async def action_templates(self) -> None:
        """Insert a prompt template."""
        from tchat.chat.prompts import list_templates

        templates, broken = await asyncio.to_thread(list_templates, self.conversation.paths)
        for problem in broken:
            self.notify(problem, severity="warning", markup=False)
        name = await self.app.push_screen_wait(TemplatePicker(templates))
        if name is not None:
            await self.insert_template(name)

    async def insert_template(self, name: str) -> None:
        """Put a template into the prompt, with what is typed as its input.

        Raises:
            UsageError: There is none of that name.
        """
        from tchat.chat.prompts import find_template

        template = await asyncio.to_thread(find_template, name, self.conversation.paths)
        typed = self.prompt.draft.text
        try:
            text = template.fill(typed, {}).prompt
        except UsageError:  # a variable without a value, or no input yet: the user fills it in
            text = template.prompt
        self.prompt.load(text)
        self.prompt.focus()

    @work(group="dialog", exclusive=True)
    async def action_help(self) -> None:
        """Show keys and commands; a command that is chosen goes into the prompt."""
        chosen = await self.app.push_screen_wait(HelpScreen(self._keys(), SCREEN_COMMANDS))
        if chosen is not None:
            self._begin_command(chosen)

    @work(group="dialog", exclusive=True)
    async def action_command_palette(self) -> None:
        """Everything that can be done, by name."""
        actions = [each for each in self._keys() if each.scope is Scope.CHAT]
        chosen = await self.app.push_screen_wait(Palette(actions, SCREEN_COMMANDS))
        if chosen is None:
            return
        if chosen.startswith("/"):
            self._begin_command(chosen)
        else:
            action = next(each.action for each in actions if each.id == chosen)
            self.call_later(self.run_action, action)

    def _keys(self) -> tuple[KeyAction, ...]:
        return with_keymap(remap(self.conversation.settings.keys).keymap)

    def _begin_command(self, command: str) -> None:
        self.prompt.load(f"{command} ")
        self.prompt.focus()

    @work(group="dialog", exclusive=True)
    async def ask_to_open(self, url: str) -> None:
        """Open a link after showing where it leads."""
        if await self.app.push_screen_wait(Confirm("Open this address?", url, yes="Open")):
            self.app.open_url(url)


async def export_to_file(conversation: Conversation, session_id: str, name: str = "") -> str:
    """Write a session as Markdown into a new file; returns its path.

    Raises:
        UsageError: The file is there already.
        StorageError: It cannot be written.
    """
    text = await conversation.export(session_id)
    path = expand_user(name) if name else Path(f"tchat-{session_id}.md")

    def write() -> None:
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise UsageError(f"{path} is there already", "/export NAME writes another") from error
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    await asyncio.to_thread(write)
    return str(path)
