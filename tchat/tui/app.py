"""The app: themes, keys, signals, and the chat screen. Wiring only."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import ClassVar

from textual.app import App
from textual.binding import BindingType
from textual.driver import Driver

from tchat.errors import Interrupted
from tchat.paths import Paths
from tchat.sessions.records import Session
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.conversation import Conversation
from tchat.tui.keymap import remap
from tchat.tui.screens.chat import ChatScreen
from tchat.tui.theme_variables import variable_defaults
from tchat.tui.themes import DEFAULT, Snapshot, changed, load_themes

THEME_CHECK = 1.0  # seconds between two looks at the user's themes
_STOPPING = ("SIGTERM", "SIGHUP")


class TchatApp(App[None]):
    """The chat screen in its terminal.

    Args:
        settings: In force at the start.
        paths: The user's folders.
        store: The sessions; it stays open when the app ends.
        session: The one to go on with.
        draft: Text to begin the prompt with.
    """

    TITLE = "tchat"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False  # the screen brings its own
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        store: SessionStore,
        *,
        session: Session | None = None,
        draft: str = "",
    ) -> None:
        super().__init__()
        self._settings = settings
        self._paths = paths
        self._conversation = Conversation(settings, paths, store)
        self._session = session
        self._draft = draft
        self._theme_files: Snapshot = {}
        self.ended_by = 0

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver of this system, made fit for terminals that go away."""
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":  # Windows, or one from the environment
            return found
        from tchat.tui.driver import TerminalDriver

        return TerminalDriver

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """tchat's own colours, in themes that do not set them."""
        return variable_defaults(self.current_theme)

    async def on_mount(self) -> None:
        """Take the user's colours and keys, and open the chat."""
        problems = self._load_themes()
        keymap, warnings = remap(self._settings.keys)
        self.set_keymap(keymap)
        self._handle_signals()
        await self.push_screen(ChatScreen(self._conversation, self._session, self._draft))
        for problem in (*problems, *warnings):
            self.notify(problem, severity="warning", markup=False)
        self._theme_files = changed(self._paths.themes, {}) or {}
        self.set_interval(THEME_CHECK, self._watch_themes)

    async def action_quit(self) -> None:
        """Stop what runs, keep what was written, and leave."""
        for screen in self.screen_stack:
            self.workers.cancel_group(screen, "turn")  # it would draw on what is being taken down
        await self._conversation.close()
        self.exit()

    def _load_themes(self) -> list[str]:
        themes, problems = load_themes(self._paths)
        for theme in themes:
            self.register_theme(theme)
        wanted = self._settings.theme
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            problems.append(f"there is no theme {wanted}; {DEFAULT} is used")
            self.theme = DEFAULT
        return problems

    def _watch_themes(self) -> None:
        """Take a theme file of the user's as soon as it is saved."""
        files = changed(self._paths.themes, self._theme_files)
        if files is None:
            return
        self._theme_files = files
        themes, problems = load_themes(self._paths)
        for theme in themes:
            self.register_theme(theme)
        self._invalidate_css()
        self.refresh_css(animate=False)
        for problem in problems:
            self.notify(problem, severity="warning", markup=False)

    def _handle_signals(self) -> None:
        """Textual restores the terminal when it ends by itself, and not on SIGTERM and SIGHUP."""
        loop = asyncio.get_running_loop()
        for number in (getattr(signal, name) for name in _STOPPING if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_IGN:  # as `nohup` has it
                continue
            with suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
                loop.add_signal_handler(number, self._end_by, number)

    def _end_by(self, number: int) -> None:
        self.ended_by = number
        self.run_worker(self.action_quit(), exit_on_error=False)


def run_screen(
    settings: Settings,
    paths: Paths,
    store: SessionStore,
    *,
    session: Session | None = None,
    draft: str = "",
) -> int:
    """Open the chat screen and return the exit code.

    Raises:
        Interrupted: A signal ended it.
    """
    app = TchatApp(settings, paths, store, session=session, draft=draft)
    app.run()
    if app.ended_by:
        raise Interrupted(app.ended_by)
    return app.return_code or 0
