"""Dialogs of the chat screen: what they are given, and what follows from their results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tchat.chat.attachments import expand_user
from tchat.chat.commands import Surface, commands_for
from tchat.chat.session_settings import usable_settings
from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.tui.background import background, report
from tchat.tui.keys import KeyAction, Scope, with_keymap
from tchat.tui.screens.preferences import Preferences
from tchat.tui.screens.turns import load as load_model
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.sessions.records import Session
    from tchat.tui.services.sessions import SessionService
    from tchat.tui.widgets.sidebar import Sidebar

SCREEN_COMMANDS = commands_for(Surface.SCREEN)


class Dialogs(Preferences):
    """The part of the chat screen that asks, by dialogs, and does what was chosen.

    Attributes:
        desk: All stored sessions, once the chat has `begun`.
    """

    desk: SessionService

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self.pulls = Downloads(paths)
        self._sidebar: Sidebar | None = None  # until it is first switched on

    # Sessions

    @background(group="dialog", exclusive=True)
    async def action_sessions(self) -> None:
        """Find a session."""
        await self._find_session(full_text=False)

    @background(group="dialog", exclusive=True)
    async def action_search(self) -> None:
        """Search in all messages."""
        await self._find_session(full_text=True)

    @background(group="dialog", exclusive=True)
    async def find_messages(self, words: str) -> None:
        """Search in all messages for ``words``."""
        await self._find_session(full_text=True, query=words)

    async def _find_session(self, *, full_text: bool, query: str = "") -> None:
        from tchat.tui.dialogs.sessions import SessionsScreen

        sessions = await self.desk.sessions()
        open_one = self.conversation.session
        choice = await self.app.push_screen_wait(
            SessionsScreen(
                sessions,
                self.desk,
                current=open_one.id if open_one else "",
                full_text=full_text,
                query=query,
            )
        )
        if choice is not None:
            await self.open_session(await self.desk.find(choice.session_id))
            if choice.message_id is not None:
                await self.show_message(choice.message_id, choice.words)
        elif open_one is not None and self.conversation.session is None:  # it was deleted
            again = (each for each in await self.desk.sessions() if each.id == open_one.id)
            await self.open_session(next(again, None))
        await self.refresh_sessions()

    async def show_message(self, message_id: int, words: str = "") -> None:
        """Go to a message of this session, with ``words`` marked in it."""
        await self.conversation.activate(message_id)
        await self.reload()
        if self.transcript.has(message_id):  # it may have been deleted meanwhile
            self.transcript.reveal(message_id, words)

    async def open_session(self, session: Session | None) -> None:
        """Go on in ``session``, or in a new one, whatever is asked for meanwhile."""
        await self.whole(self._switch_to(session))

    async def _switch_to(self, session: Session | None) -> None:
        async with self.between_turns():
            loads = await self.go_on_in(session)
        if loads and not self.busy:
            self.act(load_model)

    async def go_on_in(self, session: Session | None) -> bool:
        """Open ``session``, or a new one, while no turn runs; whether the model has to load for it.

        It loads another model, or restores what is saved of the session.
        """
        other_model, failure = False, None
        try:
            other_model = await self.conversation.open(session)
        except Exception as error:  # noqa: BLE001  told once the session is shown that is open now
            failure = error
        self.forget_context()
        await self.show_session()
        if failure is not None:
            report(self, failure)
        for line in usable_settings(session.settings)[1] if session else ():
            self.tell(line)
        await self._tell_unfinished()
        self.prompt.private = self.conversation.private
        self.prompt.focus()
        await self.look_at_disk()
        await self.settled()
        restores = session is not None and self.conversation.facts is not None
        return restores or other_model

    def forget_context(self) -> None:
        """Called when another session is open: what belonged to the one before is over."""

    async def _tell_unfinished(self) -> None:
        from tchat.sessions.records import Role

        branch = await self.conversation.branch(last=1)
        if branch and branch[-1].role is Role.USER:
            self.tell("The last message has no reply yet: /continue writes one.")

    async def refresh_sessions(self) -> None:
        """Show the sessions at the side as they are stored."""
        if self._sidebar is not None and self._sidebar.display:
            session = self.conversation.session
            self._sidebar.show(await self.desk.sessions(), session.id if session else "")

    @background(group="dialog", exclusive=True)
    async def on_sidebar_opened(self, event: Sidebar.Opened) -> None:
        """Open the session that was chosen at the side."""
        await self.open_session(await self.desk.find(event.session_id))

    def on_sidebar_left(self) -> None:
        """Go back to the prompt."""
        self.prompt.focus()

    @background(group="side", exclusive=True)
    async def action_sidebar(self) -> None:
        """Show or fold the sessions at the side."""
        sidebar = self._sidebar or await self._make_sidebar()
        if sidebar.toggle():
            sidebar.focus()
            await self.refresh_sessions()
        elif sidebar.wanted:
            self.notify("There is no room for it here; Ctrl+R finds sessions.", markup=False)

    async def _make_sidebar(self) -> Sidebar:
        from tchat.tui.widgets.sidebar import Sidebar

        self._sidebar = Sidebar()
        self._sidebar.fit(self.size.width)
        await self.query_one("#body").mount(self._sidebar, before="#main")
        return self._sidebar

    def on_resize(self) -> None:
        """Fold the sessions away where there is no room."""
        sidebar = self._sidebar
        if sidebar is None:
            return
        before = sidebar.display
        if sidebar.fit(self.size.width) and not before:
            self._fill_side()

    @background(group="side", exclusive=True)
    async def _fill_side(self) -> None:
        await self.refresh_sessions()

    async def toggle_private(self) -> None:
        """Begin a session that leaves nothing behind, or one that is stored."""
        await self.whole(self._toggle_private())

    async def _toggle_private(self) -> None:
        failure = None
        async with self.between_turns():
            try:
                await self.conversation.set_private(not self.conversation.private)
            except Exception as error:  # noqa: BLE001  as in `go_on_in`
                failure = error
            self.forget_context()
            self.prompt.private = self.conversation.private
            await self.show_session()
        if failure is not None:
            report(self, failure)
        self.tell(
            "Private: nothing of this session is stored."
            if self.conversation.private
            else "Sessions are stored again."
        )
        await self.settled()

    # Branches and links

    @background(group="dialog", exclusive=True)
    async def action_tree(self) -> None:
        """Show all branches of the session."""
        from tchat.tui.dialogs.tree import TreePicker

        messages = await self.conversation.tree()
        active = {each.id for each in await self.conversation.branch()}
        chosen = await self.app.push_screen_wait(TreePicker(messages, active))
        if chosen is not None:
            await self.show_message(int(chosen))

    @background(group="dialog", exclusive=True)
    async def action_judge(self) -> None:
        """Show what the judge learnt, train it, play the game."""
        from tchat.tui.dialogs.judge import JudgeScreen
        from tchat.tui.services.judge import JudgeService

        if not self.refuses():
            await self.app.push_screen_wait(JudgeScreen(JudgeService(self.conversation)))

    @background(group="dialog", exclusive=True)
    async def ask_to_open(self, url: str) -> None:
        """Open a link after showing where it leads."""
        from tchat.tui.dialogs.confirm import Confirm

        if await self.app.push_screen_wait(Confirm("Open this address?", url, yes="Open")):
            self.app.open_url(url)

    # Models

    @background(group="dialog", exclusive=True)
    async def action_model(self) -> None:
        """Choose the model."""
        await self._choose_model()

    async def _choose_model(self) -> None:
        from tchat.tui.dialogs.models import ModelPicker
        from tchat.tui.services.models import ModelService

        facts = self.conversation.facts
        files = ModelService(
            self._paths,
            facts.path if facts else None,
            self.pulls,
            self.pull_model,
            self.conversation.keep,
        )
        choice = await self.app.push_screen_wait(ModelPicker(await files.rows(False), files))
        if choice is not None:
            await self.change({"model": str(expand_user(choice)) if "/" in choice else choice})

    @background(group="pull")
    async def pull_model(self, name: str) -> None:
        """Pull a model while the chat goes on; the status line tells how far it is."""
        shown = single_line(name)
        try:
            pulled = await self.pulls.run(name, self._show_pull, self._agree_to_pull)
        except UsageError as error:  # the user did not want it, or not now
            self.notify(single_line(str(error)), severity="error", markup=False)
            return
        except TchatError as error:
            self.notify(single_line(str(error)), severity="error", markup=False)
            self.tell_error(TchatError(f"{shown} was not pulled: {error.message}", error.hint))
            return
        told = f"{shown} is here: F2 chooses it." if pulled else f"Stopped; {shown} goes on later."
        self.notify(told, markup=False)

    async def _agree_to_pull(self, objection: str) -> bool:
        from tchat.tui.dialogs.confirm import Confirm

        ask = Confirm("Pull it all the same?", objection, yes="Pull", danger=True)
        agreed = await self.app.push_screen_wait(ask)
        return agreed is True

    def _show_pull(self) -> None:
        if self.is_attached:
            self.show_status()

    def on_unmount(self) -> None:
        """Leave no download behind; what came is kept."""
        self.pulls.stop()

    async def welcome(self) -> None:
        """On the first run without any model: say how to get one, and go on with it."""
        from tchat.tui.dialogs.welcome import AGAIN, BROWSE, Welcome
        from tchat.tui.model_rows import model_rows

        rows = await asyncio.to_thread(model_rows, self._paths, None)
        choice = await self.app.push_screen_wait(Welcome(found=len(rows)))
        if choice is None:
            self.tell("There is no model yet: F2 chooses one.")
            return
        known = self.conversation.settings.model
        try:
            if choice == BROWSE:
                await self._choose_model()
            else:
                model = known if choice == AGAIN else str(expand_user(choice))
                await self.change({"model": model}, again=True)
        except TchatError as error:
            self.notify(str(error), severity="error", markup=False)
            await self.welcome()

    # Templates, help

    @background(group="dialog", exclusive=True)
    async def action_templates(self) -> None:
        """Insert a prompt template."""
        from tchat.chat.templates import list_templates
        from tchat.tui.dialogs.templates import TemplatePicker

        templates, broken = await asyncio.to_thread(list_templates, self._paths)
        for problem in broken:
            self.notify(problem, severity="warning", markup=False)
        name = await self.app.push_screen_wait(TemplatePicker(templates))
        if name is not None:
            await self.insert_template(name)

    async def insert_template(self, name: str) -> None:
        """Put a template into the prompt, with what is typed as its input.

        Its system prompt and sampling hold for a session that has not begun.

        Raises:
            UsageError: There is none of that name.
        """
        from tchat.chat.templates import find_template

        template = await asyncio.to_thread(find_template, name, self._paths)
        text, blanks, system, missing = template.begin(self.prompt.draft.text)
        self.prompt.load(Draft(text, blanks=blanks))
        self.prompt.select_blank()
        self.prompt.focus()
        if missing:
            needed = ", ".join(missing)
            self.notify(f"Its system prompt needs {needed}: /system sets one.", markup=False)
        own = {**template.sampling, **({"system": system} if system else {})}
        if not own:
            return
        if self.conversation.session is None:
            await self.conversation.change(own)
            self.notify(f"Set for this session: {', '.join(own)}.", markup=False)
        else:
            self.notify("Its system prompt and sampling hold in a new session only.", markup=False)

    @background(group="dialog", exclusive=True)
    async def action_help(self) -> None:
        """Show keys and commands; a command that is chosen goes into the prompt."""
        from tchat.tui.dialogs.help import HelpScreen

        chosen = await self.app.push_screen_wait(HelpScreen(self.keys_in_force(), SCREEN_COMMANDS))
        if chosen is not None:
            self._use_command(chosen)

    @background(group="dialog", exclusive=True)
    async def action_command_palette(self) -> None:
        """Everything that can be done, by name."""
        from tchat.tui.dialogs.palette import Palette

        actions = [each for each in self.keys_in_force() if each.scope is Scope.CHAT]
        chosen = await self.app.push_screen_wait(Palette(actions, SCREEN_COMMANDS))
        if chosen is None:
            return
        if chosen.startswith("/"):
            self._use_command(chosen)
        else:
            action = next(each.action for each in actions if each.id == chosen)
            self.call_later(self.run_action, action)

    def keys_in_force(self) -> tuple[KeyAction, ...]:
        """Every key as it is after remapping."""
        from tchat.tui.all_bindings import ALL_BINDINGS
        from tchat.tui.keymap import remap

        keymap = remap(self.settings.keys, ALL_BINDINGS).keymap
        return with_keymap(keymap, ALL_BINDINGS)

    def _use_command(self, typed: str) -> None:
        """Carry out a command that takes nothing; let the user complete another."""
        command = next(each for each in SCREEN_COMMANDS if f"/{each.name}" == typed)
        if command.takes:
            self.prompt.load(f"{typed} ")
            self.prompt.focus()
        else:
            self.prompt.post_message(Prompt.Submitted(Draft(typed)))
