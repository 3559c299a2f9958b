"""Sessions: found, opened, kept private, shown at the side, and their branches."""

from __future__ import annotations

from collections.abc import Callable, Collection

from textual.widget import AwaitMount

from tchat.chat.session import usable_settings
from tchat.sanitize import single_line
from tchat.sessions.records import Role, Session
from tchat.translation import tr, trn
from tchat.tui.background import background, report
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import StorageController, TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.header import ChatHeader
from tchat.tui.widgets.sidebar import WIDE, Sidebar


class SessionsController:
    """Opens sessions, and goes on in them; ``on_switch`` ends what belonged to the one before."""

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        transcript: TranscriptController,
        storage: StorageController,
        on_switch: Callable[[], None],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._storage = storage
        self._on_switch = on_switch
        self._sidebar: Sidebar | None = None  # until it is first switched on
        self._mounted: AwaitMount | None = None

    # Finding

    @background(group="dialog", exclusive=True)
    async def find(self, *, full_text: bool = False, query: str = "") -> None:
        """Find a session, by its title or in all messages."""
        from tchat.tui.dialogs.sessions import SessionsScreen

        sessions, conversation = self._context.sessions, self._context.conversation
        current = conversation.session
        choice = await self.screen.app.push_screen_wait(
            SessionsScreen(
                await sessions.sessions(),
                sessions,
                current=current.id if current else "",
                full_text=full_text,
                query=query,
            )
        )
        if choice is not None:
            await self.open(await sessions.find(choice.session_id))
            if choice.message_id is not None:
                await self.show_message(choice.message_id, choice.words)
        elif current is not None and conversation.session is None:  # it was deleted
            again = (each for each in await sessions.sessions() if each.id == current.id)
            await self.open(next(again, None))
        self._context.status.refresh()  # it may have been renamed
        await self.refresh_sidebar()

    async def show_message(self, message_id: int, words: str = "") -> None:
        """Go to a message of this session, with ``words`` marked in it."""
        await self._context.messages.activate(message_id)
        await self._transcript.reload()
        if self._transcript.view.has(message_id):  # it may have been deleted meanwhile
            self._transcript.view.reveal(message_id, words)
        await self._context.settle()

    # The title

    @background(group="dialog", exclusive=True)
    async def edit_title(self) -> None:
        """Let the user change the title of the open session in the header."""
        if self._context.conversation.session is None:
            self._context.notify(tr("The session gets its title with the first message."))
        else:
            await self.screen.query_one(ChatHeader).edit()

    @background(group="title")
    async def rename(self, title: str) -> None:
        """As `set_title`, from the header."""
        await self.set_title(title)

    async def set_title(self, title: str) -> None:
        """Give the open session another title; it is seen everywhere at once."""
        session = self._context.conversation.session
        if session is not None:
            await self._context.messages.rename(session.id, title)
            self._context.status.refresh()
            await self.refresh_sidebar()

    # Opening

    @background(group="session", exclusive=True)
    async def open_new(self) -> None:
        """Begin a new session."""
        await self.open(None)

    async def open(self, session: Session | None) -> None:
        """Go on in ``session``, or in a new one, whatever is asked for meanwhile."""
        if await self._may_leave():
            await self._turn.complete(self._switch_to(session))

    async def may_quit(self) -> bool:
        """Ask before tchat ends with a private session that has messages."""
        return await self._may_leave(tr("Quit, and lose this private session?"), tr("Quit"))

    async def _may_leave(self, question: str = "", yes: str = "") -> bool:
        """Ask before a private session with messages is left: it is gone then."""
        from tchat.tui.dialogs.dialog import Confirm

        conversation = self._context.conversation
        if not conversation.is_lost_when_left:
            return True
        lost = trn(
            "{count:,} message is stored nowhere, and would be lost.",
            "{count:,} messages are stored nowhere, and would be lost.",
            len(await self._context.messages.branch()),
        )
        ask = Confirm(
            question or tr("Leave this private session?"),
            lost,
            yes=yes or tr("Leave"),
            no=tr("Stay"),
            danger=True,
        )
        return await self.screen.app.push_screen_wait(ask) is True

    async def _switch_to(self, session: Session | None) -> None:
        async with self._turn.between_turns(leaving=True):
            loads = await self.go_on_in(session)
        if loads and not self._turn.is_busy:
            self._turn.load_model()

    async def go_on_in(self, session: Session | None, flags: Collection[str] = ()) -> bool:
        """Open ``session``, or a new one, while no turn runs; whether the model has to load for it.

        It loads another model, or restores what is saved of the session.
        """
        conversation = self._context.conversation
        other_model, failure = False, None
        try:
            other_model = await conversation.open(session, flags)
        except Exception as error:  # noqa: BLE001  told once the session is shown that is open now
            failure = error
        self._on_switch()
        await self._transcript.show_session()
        if failure is not None:
            report(self.screen, failure)
        for line in usable_settings(session.settings)[1] if session else ():
            self._transcript.show_notice(line)
        await self._show_unanswered()
        self._context.prompt.private = conversation.private
        self._context.prompt.focus()
        self._storage.show_failure()
        await self._context.settle()
        restores = session is not None and conversation.metadata is not None
        return restores or other_model

    async def _show_unanswered(self) -> None:
        branch = await self._context.messages.branch(last=1)
        if branch and branch[-1].role is Role.USER:
            self._transcript.show_notice(
                tr("The last message has no reply yet: /continue writes one.")
            )
        elif branch and branch[-1].role is Role.TOOL:
            self._transcript.show_notice(
                tr("The reply ends behind the result of a tool: /continue goes on with it.")
            )

    @background(group="session", exclusive=True)
    async def switch_private(self) -> None:
        """As `toggle_private`, from a key."""
        await self.toggle_private()

    async def toggle_private(self) -> None:
        """Begin a session that leaves nothing behind, or one that is stored."""
        if await self._may_leave():
            await self._turn.complete(self._toggle_private())

    async def _toggle_private(self) -> None:
        conversation, failure = self._context.conversation, None
        async with self._turn.between_turns(leaving=True):
            try:
                await conversation.set_private(not conversation.private)
            except Exception as error:  # noqa: BLE001  as in `go_on_in`
                failure = error
            self._on_switch()
            self._context.prompt.private = conversation.private
            await self._transcript.show_session()
        if failure is not None:
            report(self.screen, failure)
        self._transcript.show_notice(
            tr("Private: nothing of this session is stored.")
            if conversation.private
            else tr("Sessions are stored again.")
        )
        await self._context.settle()

    @background(group="dialog", exclusive=True)
    async def export(self) -> None:
        """Ask where to write the open session, and write it."""
        from tchat.tui.dialogs.export import ExportDialog

        session = self._context.conversation.session
        if session is None:
            self._context.notify(tr("This session has no message yet: send a prompt first."))
            return
        target = await self.screen.app.push_screen_wait(ExportDialog(session.id, session.title))
        if target is not None:
            written = await self._context.sessions.export(
                session.id, target.path, replaces=target.replaces
            )
            self._transcript.show_notice(tr("Written to {path}.", path=single_line(written)))
            self._transcript.view.follow()

    # Branches

    @background(group="dialog", exclusive=True)
    async def show_tree(self) -> None:
        """Show all branches of the session, and go to a message of one."""
        from tchat.tui.dialogs.sessions import tree_picker

        messages = await self._context.messages.tree()
        active = {each.id for each in await self._context.messages.branch()}
        chosen = await self.screen.app.push_screen_wait(tree_picker(messages, active))
        if chosen is not None:
            await self.show_message(int(chosen))

    # At the side

    async def refresh_sidebar(self) -> None:
        """Show the sessions at the side as they are stored."""
        if self._sidebar is not None and self._sidebar.display:
            session = self._context.conversation.session
            sessions = await self._context.sessions.sessions()
            self._sidebar.show(sessions, session.id if session else "")

    @property
    def is_in_sidebar(self) -> bool:
        """Whether the focus is in the sessions at the side."""
        return self._sidebar is not None and self._sidebar.has_focus_within

    @background(group="session", exclusive=True)
    async def open_by_id(self, session_id: str) -> None:
        """Open the stored session of this id."""
        await self.open(await self._context.sessions.find(session_id))

    @background(group="side", exclusive=True)
    async def toggle_sidebar(self) -> None:
        """Show or fold the sessions at the side."""
        sidebar = await self._made_sidebar()
        if sidebar.toggle():
            sidebar.focus()
            await self.refresh_sidebar()
        elif sidebar.wanted:
            key = self._context.key_name("chat.sessions")
            self._context.notify(
                tr("The terminal is too narrow for the sidebar; {key} finds sessions.", key=key)
            )

    async def _made_sidebar(self) -> Sidebar:
        """The sidebar, made at the first call; several workers can ask for it at once."""
        if self._sidebar is None:
            self._sidebar = Sidebar()
            self._sidebar.fit(self.screen.size.width)
            self._mounted = self.screen.query_one("#body").mount(self._sidebar, before="#main")
        if self._mounted is not None:
            await self._mounted  # also when the worker that made it was cancelled
        return self._sidebar

    def fit_sidebar(self) -> None:
        """Hide the sidebar where there is no room; open it where the terminal is wide."""
        sidebar, width = self._sidebar, self.screen.size.width
        if sidebar is None:
            if width >= WIDE:
                self._open_wide()
            return
        before = sidebar.display
        if sidebar.fit(width) and not before:
            self._fill_sidebar()

    @background(group="side")
    async def _open_wide(self) -> None:
        await self._made_sidebar()
        await self.refresh_sidebar()

    @background(group="side", exclusive=True)
    async def _fill_sidebar(self) -> None:
        await self.refresh_sidebar()
