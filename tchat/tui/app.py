"""The app: themes, keys, signals, and the chat screen. Wiring only."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event, InputEvent, Key, Paste
from textual.filter import LineFilter, Monochrome
from textual.notifications import Notify, SeverityLevel
from textual.worker import WorkerFailed

from tchat.errors import Interrupted, StorageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.settings.keys import FORMER_THEMES, renamed_theme
from tchat.translation import N_, tr, trn
from tchat.tui.background import background
from tchat.tui.chat_screen import ChatScreen
from tchat.tui.lock_keys import LockKeys
from tchat.tui.terminal import can_be_resumed, guarded
from tchat.tui.textual_patches import (
    LOOK,
    OpeningDialog,
    SafeNotification,
    driver_of,
    kind_of,
    let_earlier_keys_act,
    let_queued_keys_act,
)
from tchat.tui.themes import (
    DEFAULT,
    Snapshot,
    changed,
    load_theme,
    load_themes,
    variable_defaults,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tchat.log_file import LogFile
    from tchat.tui.color_filters import EightBitColors
    from tchat.tui.dialogs.dialog import Dialog
    from tchat.tui.screen_lock import ScreenLock
    from tchat.tui.services.conversation import Conversation, OpenSessions, StartupState
    from tchat.tui.services.early_model import EarlyModel

GIVE_UP = 2.0  # seconds from the second request to quit until the process ends in any case
THEME_CHECK = 1.0  # seconds between two looks at the user's themes
_STOPPING = ("SIGTERM", "SIGHUP", "SIGINT")


class TchatApp(App[None]):
    """The chat screen in its terminal.

    ``open_sessions`` is called once, on a thread, when the first picture is drawn. Until then,
    ``settings`` and ``private`` hold. ``open_private`` is called in its place where the store is
    locked, and the user begins a chat without it.

    Attributes:
        lock: Hides the chat while the store is locked; None where it is not encrypted.
        startup_state: What ``open_sessions`` returned, and None before; its store is open until the
            app has ended.
        conversation: The chat; None before the sessions are open.
        ended_by: The signal that ended it, or 0.
        broken_by: What nobody foresaw and ended it, or None.
    """

    TITLE = "tchat"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False  # the screen brings its own
    BINDINGS: ClassVar[list[BindingType]] = [
        # In the place of Textual's; remapped with the chat's own.
        Binding("ctrl+q", "leave", N_("Quit"), id="chat.quit", show=False, priority=True),
        Binding(
            "ctrl+z",
            "suspend_process",
            N_("Suspend to the shell; `fg` returns"),
            id="chat.suspend",
            show=False,
            priority=True,
        ),
    ]
    _is_themed = False  # whether it is known which theme to wear
    _is_quitting = False  # whether it was asked to quit
    _awaits_sessions = False  # whether keys wait for the sessions

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        open_sessions: OpenSessions,
        *,
        open_private: OpenSessions | None = None,
        private: bool = False,
        draft: str = "",
    ) -> None:
        super().__init__()
        self._settings = settings
        self._paths = paths
        self._open_sessions = open_sessions
        self._open_private = open_private or open_sessions
        self._private = private
        self.lock = self._screen_lock()
        self._lock_keys = LockKeys()
        self._early_model: EarlyModel | None = None
        self._draft = draft
        # Typed before the prompt, or a dialog, is there.
        self._delayed_input: list[Event] | None = []
        self._dialog = OpeningDialog(self)
        self._theme_files: Snapshot = {}
        self.startup_state: StartupState | None = None
        self.conversation: Conversation | None = None
        self.ended_by = 0
        self.broken_by: BaseException | None = None
        self.no_color = bool(os.environ.get("NO_COLOR"))  # where it is empty, it is as not set
        self._eight_bit: EightBitColors | None = None  # on a terminal with 256 colours
        self._line_filters = self._filters_of_terminal()
        self._apply_first_theme()

    def _screen_lock(self) -> ScreenLock | None:
        if self._paths.encryption is None:
            return None
        from tchat.tui.screen_lock import ScreenLock

        return ScreenLock(self, self._paths.encryption)

    @property
    def chat(self) -> ChatScreen:
        """The chat, which is below all other screens, also while it is locked."""
        found = self._screen_stacks[self.DEFAULT_MODE][0]
        assert isinstance(found, ChatScreen)  # noqa: S101 - `get_default_screen` made it
        return found

    @property
    def is_locked(self) -> bool:
        """Whether the chat is hidden."""
        return self.lock is not None and self.lock.is_locked

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver for this system; on Linux, the one that survives a closed terminal."""
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":  # Windows, or one from the environment
            return found
        from tchat.tui.terminal_driver import TerminalDriver

        return TerminalDriver

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What reduces the colours of a line to those of the terminal."""
        if self.no_color:
            return self._line_filters
        own = (each for each in super().get_line_filters() if not isinstance(each, Monochrome))
        return [*own, *self._line_filters]

    def _filters_of_terminal(self) -> list[LineFilter]:
        colors = "none" if self.no_color else self.console.color_system or ""
        if colors not in ("none", "256", "standard", "windows"):
            return []
        from tchat.tui.color_filters import EightBitColors, NoColors, SixteenColors

        if self.no_color:
            return [NoColors()]
        if colors == "256":
            self._eight_bit = EightBitColors()
            return [self._eight_bit]
        return [SixteenColors()]

    def get_css_variables(self) -> dict[str, str]:
        """The colours; none while Textual's constructor asks for them, before a theme is known."""
        if not self._is_themed:
            return {}
        variables = super().get_css_variables()
        if self._eight_bit is not None:
            self._eight_bit.follow_theme(variables)
        return variables

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """tchat's own colours, in themes that do not set them."""
        return variable_defaults(self.current_theme)

    async def on_event(self, event: Event) -> None:
        """Handle an event; keys typed before the prompt or a dialog exists wait for it."""
        if self.lock is not None and isinstance(event, InputEvent | Paste) and self.lock.note_use():
            return  # the user was away for too long: it is not meant for what is hidden now
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._delayed_input is not None and not self._acts_at_once(event):
            self._delayed_input.append(event)
        elif self.lock is not None and self.lock.takes_keys:
            await super().on_event(event)
        elif self.is_locked or self._dialog.is_awaited:
            self._delayed_input = [event]
            self._delay_keys()
        else:
            await self._handle_key(event)

    async def _handle_key(self, event: Key | Paste) -> None:
        if isinstance(event, Key):
            await let_earlier_keys_act(self, event.key)
        chat = self.screen
        if isinstance(chat, ChatScreen) and chat.needs_sessions(event):
            self._delayed_input = [event]
            self._await_sessions(chat)
            return
        if self._lock_keys.follow(event, chat, self.chat):
            return
        with self._dialog.noted():
            if not isinstance(chat, ChatScreen) or not await chat.follow_leader(event):
                may_move = isinstance(chat, ChatScreen) and chat.may_move_focus
                await super().on_event(event)
                if may_move:  # the next letter belongs to what has the focus then
                    await let_queued_keys_act(self)

    @background(group="keys")
    async def _delay_keys(self) -> None:
        """Delay keys until the opening dialog, or the lock, is there and has the focus."""
        if self.lock is not None and self.lock.is_locked:
            await self.lock.wait_for_field()
        else:
            await self._dialog.wait()
        self.call_later(self._release_keys)

    @background(group="keys")
    async def _await_sessions(self, chat: ChatScreen) -> None:
        """Delay keys until the sessions are open, which an action needs."""
        self._awaits_sessions = True
        while not chat.context.is_ready:
            await asyncio.sleep(LOOK)
        self._awaits_sessions = False
        self.call_later(self._release_keys)

    def _acts_at_once(self, event: Event) -> bool:
        """Whether a key quits or suspends, which does not wait for the sessions."""
        return (
            self._awaits_sessions
            and isinstance(event, Key)
            and event.key in self._bindings.key_to_bindings
        )

    async def _release_keys(self) -> None:
        early, self._delayed_input = self._delayed_input or [], None
        for event in early:
            await self.on_event(event)

    async def _first_picture_drawn(self, warnings: list[str]) -> None:
        self.chat.offer_completions()
        if self.lock is None or self._private:  # else they may be a passphrase
            await self._release_keys()
        gc.freeze()  # modules stay: no collection looks at them again while the user types
        gc.enable()
        self._open()
        self._load_themes(warnings)

    def get_default_screen(self) -> ChatScreen:
        """The chat is the first screen; there is none below it."""
        return ChatScreen(self._settings, self._paths, private=self._private, draft=self._draft)

    # The sessions

    @background(group="opening")
    async def _open(self) -> None:
        """OpenSessions the sessions and start the chat; a failure here ends the app."""
        try:
            if self.lock is not None:
                await self._unlock(self.lock)
            conversation, state = await asyncio.to_thread(self._join)
            self.conversation = conversation
            self.chat.start(conversation, state)
        except Exception as error:  # noqa: BLE001  there is nothing to go on with
            self._handle_exception(error)

    def _join(self) -> tuple[Conversation, StartupState]:
        import tchat.tui.controllers.controllers  # noqa: F401  here, off the event loop
        from tchat.tui.services.conversation import Conversation

        self.startup_state = state = self._open_sessions()
        early = self._early_model
        chat = Conversation(
            state.settings,
            self._paths,
            state.store,
            base=state.base,
            model=early.take(state.settings) if early is not None else None,
            cancel=early.cancel if early is not None else None,
        )
        return chat, state

    async def _unlock(self, lock: ScreenLock) -> None:
        """Unlock the store, or prepare a chat without it; the model loads meanwhile."""
        if self._private:
            lock.encryption.forget()  # nobody is asked for what it does not need
            return
        if await lock.try_sources():
            await self._release_keys()
            return
        from tchat.tui.services.early_model import EarlyModel

        await lock.begin()
        await self._release_keys()
        self._early_model = EarlyModel(self._settings, self._paths)
        if not await lock.ended():
            self._private, self._open_sessions = True, self._open_private
            self.chat.context.begin_private()

    def on_mount(self) -> None:
        """Apply the user's keys; the rest waits until the first picture is drawn."""
        self._handle_signals()
        warnings = self._apply_keymap()
        self.call_after_refresh(self._first_picture_drawn, warnings)

    def _apply_keymap(self) -> list[str]:
        preset = self._settings.keymap
        if not self._settings.keys and preset == "default":
            return []
        from tchat.tui.keymap import ALL_BINDINGS, remap

        keymap, warnings = remap(self._settings.keys, ALL_BINDINGS, preset)
        self.set_keymap(keymap)
        self._lock_keys.apply_keymap(keymap)
        return warnings

    @property
    def log_file(self) -> LogFile:
        """The log of unexpected failures."""
        return self._paths.log

    async def action_leave(self) -> None:
        """Quit; the chat asks first when messages would be lost, unless it asks already."""
        from tchat.tui.dialogs.dialog import Confirm

        if self.lock is not None and self.lock.is_locked and not self._is_quitting:
            if self.lock.may_quit():
                await self.action_quit()
        elif self._is_quitting or isinstance(self.screen, Confirm):
            await self.action_quit()
        else:
            await self.chat.action_quit()

    async def action_quit(self) -> None:
        """Stop what runs, keep what was written, and leave; asked again, leave at once."""
        if self._is_quitting:
            self._leave_now()
            return
        self._is_quitting = True
        try:
            for screen in self._screen_stacks[self.DEFAULT_MODE]:
                self.workers.cancel_group(screen, "turn")  # it would draw on what is taken down
            if self.conversation is not None:
                await self.conversation.close()
            elif self._early_model is not None:
                await asyncio.to_thread(self._early_model.abandon)
        except Exception as error:  # noqa: BLE001  whatever cannot be closed, the app ends
            self.broken_by = self.broken_by or error
        finally:
            self.exit()

    def _leave_now(self) -> None:
        """End even if the engine or the disk does not respond."""
        self.exit()
        if not self.is_headless:
            code = 128 + self.ended_by if self.ended_by else 1
            last = threading.Timer(GIVE_UP, os._exit, [code])
            last.daemon = True
            last.start()

    def action_suspend_process(self) -> None:
        """Back to the shell that tchat was started from; without one, say so and go on."""
        driver = driver_of(self)
        if driver is not None and driver.can_suspend and can_be_resumed():
            from tchat.tui.terminal_driver import TerminalDriver

            if isinstance(driver, TerminalDriver):
                self._suspend_signal()
                driver.suspend_group()
            else:
                super().action_suspend_process()
        else:
            problem = tr("Not suspended: tchat was not started by a shell that could resume it.")
            self.notify(problem, severity="warning", markup=False)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a toast, as Textual's own `notify` does; see `SafeNotification`."""
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        toast = Notify(SafeNotification(message, title, severity, seconds, markup=markup))
        if self.lock is None or not self.lock.delay_toast(toast):
            self.post_message(toast)

    def push_screen(self, *args: Any, mode: str | None = None, **named: Any) -> Any:
        """Show a screen over the chat, as Textual does; while that is locked, behind the lock."""
        if self.is_locked and mode is None:
            mode = self.DEFAULT_MODE
        return super().push_screen(*args, mode=mode, **named)

    def on_notify(self, event: Notify) -> None:
        """Remove older toasts of the same kind before Textual shows a new one."""
        new = event.notification
        for old in list(self._notifications):
            if kind_of(old) == kind_of(new):
                self._unnotify(old, refresh=False)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy with the system's own tool, else through the terminal; show which was used."""
        self._clipboard = text
        self._copy(text)

    @background(group="copy", exclusive=True)
    async def _copy(self, text: str) -> None:
        from tchat.tui.terminal import copy

        used = await asyncio.to_thread(copy, text, super().copy_to_clipboard)
        if used:
            copied = trn(
                "Copied {count:,} character by {tool}.",
                "Copied {count:,} characters by {tool}.",
                len(text),
                tool=used,
            )
            self.notify(copied, markup=False)
        else:
            problem = tr("Too long for the terminal; install xclip or wl-copy.")
            self.notify(problem, severity="error", markup=False)

    def on_dialog_help_requested(self, event: Dialog.HelpRequested) -> None:
        """Show the help over a dialog."""
        self.chat.controllers.help.show_dialog_help(event.scope)

    # Themes

    def _apply_first_theme(self) -> None:
        """Apply the theme in use; the others are read after the first picture."""
        for name in (self._settings.theme, DEFAULT):
            if theme := load_theme(self._paths, name):
                self.register_theme(theme)
                name = theme.name  # noqa: PLW2901 - it may have been renamed
            if name in self.available_themes:
                # Not by assignment, which would parse the style sheets twice.
                self.set_reactive(App.theme, name)
                break
        self._is_themed = True
        self.stylesheet.set_variables(self.get_css_variables())

    @background(group="themes")
    async def _load_themes(self, warnings: list[str]) -> None:
        files = await asyncio.to_thread(changed, self._paths.themes, {})
        problems = await self._register_themes()
        wanted = self._settings.theme
        if wanted not in self.available_themes:
            problems.append(
                renamed_theme(wanted)
                if wanted in FORMER_THEMES
                else tr("there is no theme {name}; {default} is used", name=wanted, default=DEFAULT)
            )
        self._warn([*problems, *warnings])
        self._theme_files = files or {}
        self.set_interval(THEME_CHECK, self._watch_themes)

    async def _register_themes(self) -> list[str]:
        loaded = await asyncio.to_thread(load_themes, self._paths)
        for theme in loaded.themes:
            self.register_theme(theme)
        return loaded.problems

    @background(group="themes", exclusive=True)
    async def _watch_themes(self) -> None:
        """Apply a user's theme file as soon as it is saved."""
        files = await asyncio.to_thread(changed, self._paths.themes, self._theme_files)
        if files is None:
            return
        self._theme_files = files
        problems = await self._register_themes()
        self._invalidate_css()
        self.refresh_css(animate=False)
        self._warn(problems)

    def _warn(self, problems: list[str]) -> None:
        for problem in problems:
            self.notify(problem, severity="warning", markup=False)

    # How it ends

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
        self._quit()

    @background(group="quit")
    async def _quit(self) -> None:
        await self.action_quit()

    def _handle_exception(self, error: Exception) -> None:
        """End without a traceback on the terminal; `run_screen` raises what broke it."""
        if self.conversation is not None:
            self.conversation.stop()
        if self.broken_by is None:
            self.broken_by = error.error if isinstance(error, WorkerFailed) else error
        if self.is_headless:  # under a test, which is told
            super()._handle_exception(error)
        else:
            self._return_code = 1
            self._close_messages_no_wait()


def run_screen(
    settings: Settings,
    paths: Paths,
    open_sessions: OpenSessions,
    *,
    open_private: OpenSessions | None = None,
    private: bool = False,
    draft: str = "",
    quiet: bool = False,
) -> int:
    """Open the chat screen and return the exit code; see `TchatApp`.

    Once the screen is gone, it prints how to resume the session, unless ``quiet``.

    Raises:
        Interrupted: A signal ended it.
        StorageError: The sessions could not be opened, or something of the chat not stored.
        UsageError: The session to go on with is not there.
        Exception: What nobody foresaw; the terminal is restored, and what was written stored.
    """
    if paths.encryption is not None:
        paths.encryption.question = None  # the terminal is the screen's, which asks for itself
    app = TchatApp(
        settings, paths, open_sessions, open_private=open_private, private=private, draft=draft
    )
    try:
        with guarded(paths.log):
            app.run()
        code = _exit_code(app)
        if not quiet and sys.stderr.isatty() and (hint := resume_hint(app.conversation)):
            sys.stderr.write(f"{hint}\n")
        return code
    finally:
        if app.startup_state is not None:
            app.startup_state.store.close()


def resume_hint(chat: Conversation | None) -> str:
    """How to resume the session of a chat; empty where there is nothing to resume."""
    session = chat.session if chat is not None and not chat.private else None
    if chat is None or session is None or not chat.settings.resume_hint:
        return ""
    from tchat.chat.session import resume_command

    with suppress(StorageError):
        if command := resume_command(chat.persistent, session):
            return tr("Resume: {command}", command=command)
    return ""


def _exit_code(app: TchatApp) -> int:
    """The exit code of an app that ended; raises what ended it."""
    chat = app.conversation
    if app.broken_by is not None:
        if chat is not None:
            with suppress(Exception):  # what broke it first is what is told
                asyncio.run(chat.close())
            if failure := chat.failure:
                app.broken_by.add_note(
                    tr("the last messages are lost: {reason}", reason=failure.message)
                )
        raise app.broken_by
    if chat is not None and (failure := chat.failure):  # told whatever ended the chat
        raise StorageError(
            tr("{reason}; the last messages are lost", reason=failure.message), failure.hint
        )
    if app.ended_by:
        raise Interrupted(app.ended_by)
    return app.return_code or 0
