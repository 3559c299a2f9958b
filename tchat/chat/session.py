"""The open session of a front end: its store, its settings, and its export."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings import Key, Settings, Value, find_key, keys, needs_loading, with_values
from tchat.settings.keys import check, parse
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.redaction.redactor import Redactor
    from tchat.sessions.formats.format import SessionReader
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore, Store

SHOWN = 80  # characters of a name
SLUG_LENGTH = 40  # characters of a title in the name of a file


def is_session_setting(key: Key) -> bool:
    """Whether this setting is stored with sessions. The system prompt is stored apart."""
    return key.is_sampling or key.name in ("think", "tools.enabled")


def session_settings(stored: Mapping[str, Any]) -> dict[str, Value]:
    """The valid settings among those that a session stores."""
    return usable_settings(stored)[0]


def usable_settings(stored: Mapping[str, Any]) -> tuple[dict[str, Value], list[str]]:
    """The valid settings, and a line for each invalid one."""
    own: dict[str, Value] = {}
    unusable: list[str] = []
    for name, value in stored.items():
        try:
            own[name] = _checked(name, value)
        except UsageError as error:
            unusable.append(
                tr("a setting of the session is left out: {reason}", reason=error.message)
            )
    return own, unusable


def _checked(name: str, value: object) -> Value:
    key = keys().get(name)
    if key is None or not is_session_setting(key):
        raise UsageError(tr("`{name}` is not a session setting", name=single_line(name, SHOWN)))
    return _with_valid_grammar(key, check(key, value, tr("in the session")))


def _with_valid_grammar(key: Key, value: Value) -> Value:
    if key.name == "grammar" and value:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(str(value))
    return value


def parse_setting(name: str, text: str) -> dict[str, Value]:
    """The setting that ``/set NAME VALUE`` changes; the value ``""`` empties a text or a list.

    Raises:
        UsageError: There is none of that name, or it does not take the value.
    """
    key = find_key(name)
    if text == '""' and key.kind in (str, tuple):
        value = check(key, () if key.kind is tuple else "", "/set")
    else:
        value = parse(key, text, "/set")
    return {key.name: _with_valid_grammar(key, value)}


def with_session_settings(
    settings: Settings, stored: Mapping[str, Any], typed: Collection[str] = ()
) -> Settings:
    """Override ``settings`` by those of a session, except those named in ``typed``."""
    for name, value in session_settings(stored).items():
        if name not in typed:
            settings = keys()[name].put(settings, value)
    return settings


def export_path(session_id: str, title: str, name: str = "") -> Path:
    """The file that a session is written to: ``name``, or a usual name, in ``name`` if a folder.

    The usual name is made of the words of its title and the end of its id, which finds it too.
    """
    from tchat.paths import expanded
    from tchat.sessions.session_queries import SHORT_ID

    words = re.findall(r"\w+", title.casefold())
    slug = "-".join(words)[:SLUG_LENGTH].strip("-") or "tchat"
    usual, path = f"{slug}-{session_id[-SHORT_ID:]}.md", expanded(name)
    return path / usual if os.path.isdir(path) else path  # noqa: PTH112


def resume_command(store: SessionStore, session: Session | None) -> str:
    """The command that continues a session; empty where nothing of it is stored."""
    if session is None or store.path is None:
        return ""
    latest = store.latest()
    if latest is None or not store.branch(session.id, 1):
        return ""
    return "tchat -c" if latest.id == session.id else f"tchat --cid {session.id}"


def write_session(
    store: Store,
    session_id: str,
    name: str = "",
    *,
    replace_file: bool = False,
    redactor: Redactor | None = None,
) -> Path:
    """Write a session into a file, see `export_path`, and return its path.

    The suffix decides the format; Markdown without one. Only with ``replace_file``, a file that is
    there is replaced. A ``redactor`` replaces personal data and secrets.

    Raises:
        UsageError: The file is there already, its folder is not, or no format has the suffix.
        StorageError: It cannot be written.
    """
    from tchat.private_files import write_new, write_private
    from tchat.sessions.formats import MARKDOWN, export_format

    session = store.get(session_id)
    reader: SessionReader = store
    if redactor is not None:
        from tchat.chat.redaction import RedactedSessions

        reader = redacted = RedactedSessions(store, redactor)
        [session] = redacted.sessions([session])
    path = export_path(session_id, session.title, name)
    pieces = export_format("", path, MARKDOWN).export(reader, [session], show_reasoning=False)
    write = write_private if replace_file else write_new
    write(path, (piece.encode("utf-8", "surrogatepass") for piece in pieces))
    return path


class SessionState:
    """Where the open session of a front end is stored, and the settings in force.

    Attributes:
        settings: Those in force: the base, and over it what the session sets for itself.
        base: The settings that a new session begins with.
        session_overrides: What the session sets for itself.
        persistent: The store of all sessions.
        store: Where the session is stored; in memory while the disk fails.
        fallbacks: What could not be written to the disk, of this session and earlier ones.
    """

    def __init__(
        self, settings: Settings, persistent: SessionStore, base: Settings | None = None
    ) -> None:
        from tchat.sessions.fallback_store import FallbackStores

        self.settings = settings
        self.base = base or settings
        self.session_overrides: dict[str, Value] = {}
        self.persistent = persistent
        self.fallbacks = FallbackStores()
        self._session_store = persistent  # or that of a private session
        self.store = self.fallbacks.open(persistent)

    @property
    def is_private(self) -> bool:
        """Whether nothing is stored."""
        return self._session_store.path is None

    def is_lost_when_left(self, session: Session | None) -> bool:
        """Whether ``session``, the open one, is private and has begun."""
        return self._session_store is not self.persistent and session is not None

    @contextmanager
    def switch(
        self,
        session: Session | None,
        *,
        model: str,
        typed: Collection[str] = (),
        private: bool | None = None,
    ) -> Iterator[None]:
        """Go on in a stored session or in a new one; the chat moves within the block.

        The store of a private session that is left is closed after the block.

        Args:
            session: The stored session, which ends private mode; None for a new one.
            model: The model to go on with.
            typed: Names of settings that are not taken from the session.
            private: Whether a new session is private; None for as before.
        """
        from tchat.sessions.store import SessionStore

        left = self._session_store
        if private is None:
            private = self.is_private and session is None
        stored = not private or self.persistent.path is None
        self._session_store = self.persistent if stored else SessionStore.in_memory()
        self.store = self.fallbacks.open(self._session_store, session.id if session else "")
        self.settings, self.session_overrides = self.base, {}
        if session is not None:
            self.session_overrides = session_settings(session.settings)
            self.settings = with_session_settings(self.base, session.settings, typed)
        self.settings = replace(self.settings, model=model)
        try:
            yield
        finally:
            if left is not self.persistent:
                left.close()

    def require_stored_sessions(self) -> None:
        """Require that sessions can be stored.

        Raises:
            UsageError: The chat was opened without.
        """
        if self.persistent.path is None:
            raise UsageError(
                tr("this chat was opened without stored sessions"),
                tr("start tchat again to have them"),
            )

    def change(self, values: Mapping[str, Value], settings: Settings | None = None) -> bool:
        """Change settings; return whether the model must be loaded anew.

        Sampling, reasoning and the system prompt are the session's own; a new session begins with
        the others. ``settings`` are those in force with ``values``, where they were normalized.
        """
        before = self.settings
        self.settings = settings or with_values(before, values)
        for name in values:
            key = keys()[name]
            if is_session_setting(key):
                self.session_overrides[name] = key.value_in(self.settings)
            elif name != "system":
                self.base = key.put(self.base, key.value_in(self.settings))
        return needs_loading(before, self.settings)

    def use_servers(self, servers: Mapping[str, Any]) -> None:
        """Use another table ``[servers]``; the server in use stays known."""
        known, used = self.settings.servers, self.settings.server
        if used in known:
            servers = {used: known[used], **servers}
        self.settings = replace(self.settings, servers=servers)
        self.base = replace(self.base, servers=servers)

    def save_settings(self, session: Session, changed: Collection[str]) -> Session:
        """Store the ``changed`` settings that are the session's own; return it as it is then.

        Raises:
            StorageError: They cannot be written.
        """
        overrides = any(is_session_setting(keys()[name]) for name in changed)
        if not overrides and "system" not in changed:
            return session
        return self.store.update(
            session.id,
            system=self.settings.system if "system" in changed else None,
            settings=self.session_overrides if overrides else None,
        )

    def close(self) -> None:
        """Discard what is only in memory."""
        self.fallbacks.close()
        if self._session_store is not self.persistent:
            self._session_store.close()
