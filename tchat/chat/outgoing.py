"""What of a chat leaves this machine, redacted where the user wants that.

One table of placeholders a session, kept with it: every turn, every server and every tool has the
same placeholder for a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tchat.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tchat.redaction.outgoing import OutgoingRedaction
    from tchat.servers.config import Server
    from tchat.sessions.records import Session
    from tchat.sessions.store import Store
    from tchat.settings import Settings


class SessionHolder(Protocol):
    """A chat, as far as it matters here."""

    settings: Settings
    store: Store
    session: Session | None


def is_redacted(server: Server, settings: Settings) -> bool:
    """Whether what goes to ``server`` is redacted.

    What goes to one on this machine is not, unless its table in ``config.toml`` says so.
    """
    return server.redact or (settings.redact_outgoing and not server.is_loopback)


def new_redaction(settings: Settings, table: Mapping[str, str] | None = None) -> OutgoingRedaction:
    """A redaction that remembers its placeholders for as long as it lives.

    Raises:
        UsageError: The libraries that it needs are not installed.
    """
    from tchat.redaction.outgoing import OutgoingRedaction
    from tchat.redaction.redactor import require_libraries

    require_libraries()
    return OutgoingRedaction(settings.redact_words, table)


class OutgoingTexts:
    """Gives the redaction of a chat's session."""

    def __init__(self, chat: SessionHolder) -> None:
        self._chat = chat
        self._known: tuple[tuple[object, ...], OutgoingRedaction] | None = None

    def redaction(self) -> OutgoingRedaction:
        """The redaction of the session as it is now.

        Raises:
            UsageError: The libraries that it needs are not installed.
        """
        store, settings = self._chat.store, self._chat.settings
        session_id = self._chat.session.id if self._chat.session is not None else ""
        key = session_id, settings.redact_words
        known = self._known[1] if self._known is not None and self._known[0] == key else None
        table: Mapping[str, str] = known.table if known is not None else {}
        if session_id:
            with suppress(StorageError, UsageError):
                table = store.placeholders(session_id)
        if known is not None and known.table == table:  # else values were taken out of the store
            return known
        made = new_redaction(settings, table)
        if session_id:
            made.keep = lambda table: _keep(store, session_id, table)
        self._known = key, made
        return made


def _keep(store: Store, session_id: str, table: Mapping[str, str]) -> None:
    # Without the disk the placeholders of this process still hold.
    with suppress(StorageError, UsageError):
        store.keep_placeholders(session_id, table)
