"""The chat screen from the shell."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tchat.cli.console import Console
from tchat.cli.opening import find_session, open_store, resumed, settings_of
from tchat.cli.request import AskRequest
from tchat.errors import StorageError
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore

UNFIT = ("", "dumb", "unknown")  # values of TERM that promise no cursor movement


class Opened(NamedTuple):
    """What the screen begins with; ``problem`` tells why the store is in memory."""

    settings: Settings
    store: SessionStore
    session: Session | None
    problem: StorageError | None


def fits(console: Console) -> bool:
    """Whether the screen can be drawn here; `tchat.cli.plain` is for the rest."""
    return console.stdout_is_terminal and console.environ.get("TERM", "") not in UNFIT


def open_screen(request: AskRequest, console: Console) -> int:
    """Open the chat screen and return the exit code.

    Raises:
        TchatError: The session is not there, or a setting is wrong.
        Interrupted: A signal ended it.
    """
    # A tenth of the time to the first picture: modules make many objects and hardly any garbage.
    # The screen switches it on again once it is drawn.
    gc.disable()
    try:
        with ThreadPoolExecutor(1, "opening") as beside:
            opening = beside.submit(_opened, request, console)
            from tchat.tui.app import run_screen  # takes longer than the disk

            opened = opening.result()
    except BaseException:
        gc.enable()
        raise
    with opened.store:
        return run_screen(
            opened.settings,
            console.paths,
            opened.store,
            session=opened.session,
            problem=opened.problem,
        )


def _opened(request: AskRequest, console: Console) -> Opened:
    """Settings, store and session.

    Raises:
        UsageError: The session is not there, or a setting is wrong.
        StorageError: The session to go on with cannot be read.
    """
    settings = settings_of(request, console)
    store, problem = _store(request, settings, console)
    try:
        session = find_session(request, store)
        return Opened(resumed(request, settings, store, session), store, session, problem)
    except BaseException:
        store.close()
        raise


def _store(
    request: AskRequest, settings: Settings, console: Console
) -> tuple[SessionStore, StorageError | None]:
    """The store; one in memory, and why, where the disk refuses a new session."""
    from tchat.sessions.store import SessionStore

    try:
        return open_store(request, settings, console), None
    except StorageError as error:
        if request.resumes:
            raise
        problem = StorageError(f"{error.message}. Nothing of this chat is stored", error.hint)
        return SessionStore.in_memory(), problem
