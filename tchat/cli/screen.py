"""Opening the chat screen."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tchat.cli.ask_request import AskRequest
from tchat.cli.chat_setup import find_session, resolve_settings, resume_settings, sessions_file
from tchat.cli.console import Console
from tchat.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.sessions.store import SessionStore
    from tchat.settings import Settings
    from tchat.tui.startup import Opened

UNFIT = ("", "dumb", "unknown")  # values of TERM that promise no cursor movement


def can_draw_screen(console: Console) -> bool:
    """Whether the screen can be drawn here; `tchat.cli.repl` is for the rest."""
    terminal = console.stdout_is_terminal and console.stderr_is_terminal  # it paints on the latter
    return terminal and console.environ.get("TERM", "") not in UNFIT


def open_screen(request: AskRequest, console: Console) -> int:
    """Open the chat screen and return the exit code.

    Raises:
        TchatError: The session is not there, or a setting is wrong.
        Interrupted: A signal ended it.
    """
    settings = resolve_settings(request, console)
    file = sessions_file(request, settings, console)
    # A tenth of the time to the first picture: modules make many objects and hardly any garbage.
    # The screen switches it on again once it is drawn.
    gc.disable()
    try:
        from tchat.tui.app import run_screen
    except BaseException:
        gc.enable()
        raise
    return run_screen(
        settings, console.paths, lambda: _opened(request, settings, file), private=file is None
    )


def _opened(request: AskRequest, settings: Settings, file: Path | None) -> Opened:
    """Open the store and the session to continue.

    Raises:
        UsageError: The session is not there.
        StorageError: The session to go on with cannot be read.
    """
    from tchat.tui.startup import Opened

    store, problem = _store(request, file)
    try:
        session = find_session(request, store)
        settings = resume_settings(request, settings, store, session, _told_on_screen)
        return Opened(settings, store, session, problem)
    except BaseException:
        store.close()
        raise


def _store(request: AskRequest, file: Path | None) -> tuple[SessionStore, StorageError | None]:
    """The store; if the disk refuses a new session, one in memory, and the error."""
    from tchat.sessions.store import SessionStore

    try:
        return SessionStore(file), None
    except StorageError as error:
        if request.resumes:
            raise
        problem = StorageError(f"{error.message}. Nothing of this chat is stored", error.hint)
        return SessionStore.in_memory(), problem


def _told_on_screen(_: str) -> None:
    """Nothing: the screen shows it when it opens the session."""
