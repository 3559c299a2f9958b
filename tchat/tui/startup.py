"""What the chat goes on with once the disk was asked, which the first picture does not wait for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.errors import StorageError
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore


class Opened(NamedTuple):
    """The store, and what the screen begins with.

    Attributes:
        settings: In force: those of the session where one is gone on with.
        store: The sessions.
        session: The one to go on with; None for a new one.
        problem: Why ``store`` is in memory, against the user's wish; None when it is not.
        base: What a new session begins with; None: ``settings``.
        flags: Names of the settings given on the command line, which override the session's.
    """

    settings: Settings
    store: SessionStore
    session: Session | None = None
    problem: StorageError | None = None
    base: Settings | None = None
    flags: Collection[str] = ()


Open = Callable[[], Opened]
