"""The chat screen from the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.cli.console import Console
from tchat.cli.opening import find_session, open_store, resumed, settings_of
from tchat.cli.request import AskRequest
from tchat.errors import StorageError
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.sessions.store import SessionStore

UNFIT = ("", "dumb", "unknown")  # values of TERM that promise no cursor movement


def fits(console: Console) -> bool:
    """Whether the screen can be drawn here; `tchat.cli.plain` is for the rest."""
    return console.stdout_is_terminal and console.environ.get("TERM", "") not in UNFIT


def open_screen(request: AskRequest, console: Console) -> int:
    """Open the chat screen and return the exit code.

    Raises:
        TchatError: The session is not there, or a setting is wrong.
        Interrupted: A signal ended it.
    """
    from tchat.tui.app import run_screen

    settings = settings_of(request, console)
    store, problem = _opened(request, settings, console)
    with store:
        session = find_session(request, store)
        settings = resumed(request, settings, store, session)
        return run_screen(settings, console.paths, store, session=session, problem=problem)


def _opened(
    request: AskRequest, settings: Settings, console: Console
) -> tuple[SessionStore, StorageError | None]:
    """The store; one in memory, and why, where the disk refuses a new session.

    Raises:
        StorageError: The session to go on with cannot be read.
    """
    from tchat.sessions.store import SessionStore

    try:
        return open_store(request, settings, console), None
    except StorageError as error:
        if request.resumes:
            raise
        problem = StorageError(f"{error.message}. Nothing of this chat is stored", error.hint)
        return SessionStore.in_memory(), problem
