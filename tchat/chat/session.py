"""A session: the settings that it stores, and its export."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings import Key, Settings, Value, find_key, keys
from tchat.settings.keys import check, parse

if TYPE_CHECKING:
    from tchat.sessions.store import Store

SHOWN = 80  # characters of a name


def is_session_setting(key: Key) -> bool:
    """Whether this setting is stored with sessions. The system prompt is stored apart."""
    return key.section == "sampling" or key.name == "think"


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
            unusable.append(f"a setting of the session is left out: {error.message}")
    return own, unusable


def _checked(name: str, value: object) -> Value:
    key = keys().get(name)
    if key is None or not is_session_setting(key):
        raise UsageError(f"`{single_line(name, SHOWN)}` is not a session setting")
    found = check(key, value, "in the session")
    if name == "grammar" and found:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(str(found))
    return found


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
    if key.name == "grammar" and value:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(str(value))
    return {key.name: value}


def with_session_settings(
    settings: Settings, stored: Mapping[str, Any], typed: Collection[str] = ()
) -> Settings:
    """Override ``settings`` by those of a session, except those named in ``typed``."""
    for name, value in session_settings(stored).items():
        if name not in typed:
            settings = keys()[name].put(settings, value)
    return settings


def write_session(store: Store, session_id: str, name: str = "") -> Path:
    """Write a session into a new file, and return its path.

    The ending of a name decides the format, as ``.json`` does; any other gets Markdown.

    Raises:
        UsageError: The file is there already, or its folder is not.
        StorageError: It cannot be written.
    """
    from tchat.paths import expanded, write_new
    from tchat.sessions.formats import MARKDOWN, export_format

    path = expanded(name) if name else Path(f"tchat-{session_id}.md")
    pieces = export_format("", path, MARKDOWN).export(
        store, [store.get(session_id)], show_reasoning=False
    )
    write_new(path, (piece.encode("utf-8", "surrogatepass") for piece in pieces))
    return path
