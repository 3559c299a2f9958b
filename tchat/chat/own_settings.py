"""What a session sets for itself: sampling and reasoning, kept with it and back when it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from tchat.errors import UsageError
from tchat.settings import Key, Settings, Value, find_key, keys
from tchat.settings.coerce import check, parse


def is_own(key: Key) -> bool:
    """Whether a session can keep this setting. Its system prompt has a place of its own."""
    return key.section == "sampling" or key.name == "think"


def own_settings(stored: Mapping[str, Any]) -> dict[str, Value]:
    """The settings in what a session has stored; what this version does not allow is left out."""
    own: dict[str, Value] = {}
    for name, value in stored.items():
        key = keys().get(name)
        if key is not None and is_own(key):
            with suppress(UsageError):
                own[name] = check(key, value, "in the session")
    return own


def typed_setting(argument: str, where: str) -> dict[str, Value]:
    """The setting that ``NAME VALUE`` changes; the value ``""`` empties a text or a list.

    Raises:
        UsageError: There is none of that name, or it does not take the value.
    """
    name, _, text = argument.partition(" ")
    key = find_key(name)
    text = text.strip()
    if text == '""' and key.kind in (str, tuple):
        value = check(key, () if key.kind is tuple else "", where)
    else:
        value = parse(key, text, where)
    if key.name == "grammar" and value:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(str(value))
    return {key.name: value}


def with_own(
    settings: Settings, stored: Mapping[str, Any], typed: Collection[str] = ()
) -> Settings:
    """``settings`` as a session wants them; those named in ``typed`` stay as they are."""
    for name, value in own_settings(stored).items():
        if name not in typed:
            settings = keys()[name].put(settings, value)
    return settings
