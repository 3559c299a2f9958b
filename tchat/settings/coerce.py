"""Parsing and checking values of settings, from text and from TOML."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from tchat.errors import UsageError
from tchat.settings.keys import Key, Value

YES = frozenset({"true", "yes", "on", "1"})
NO = frozenset({"false", "no", "off", "0"})
SHOWN = 60  # characters of a refused value that are quoted back


def parse(key: Key, text: str, place: str) -> Value:
    """Parse the value of ``key`` from text: a flag, a variable or ``config set``.

    A list of texts is either one text, or a JSON array of texts.

    Args:
        key: The setting.
        text: What was typed.
        place: Where it was typed, as the message names it: ``--temp``, ``TCHAT_TEMP``.

    Raises:
        UsageError: The value is not allowed; names the key, the place and what is allowed.
    """
    try:
        value = _spelled(key, text)
    except ValueError:
        raise _refusal(key, text, place) from None
    if not _allowed(key, value):
        raise _refusal(key, text, place)
    return check(key, value, place)


def check(key: Key, value: object, place: str) -> Value:
    """Check ``value`` from TOML or JSON.

    Raises:
        UsageError: Wrong type or out of bounds; names the key, the place and what is allowed.
    """
    if not _allowed(key, value):
        raise _refusal(key, value, place)
    if key.kind is tuple:
        return tuple(cast("list[str]", value))
    if key.require is not None:
        _require(key.require, cast("str", value), place)
    return cast("Value", float(cast("int", value)) if key.kind is float else value)


def _require(require: Callable[[str], object], value: str, place: str) -> None:
    try:
        require(value)
    except UsageError as error:
        raise UsageError(f"{error.message} ({place})", error.hint) from None


def _spelled(key: Key, text: str) -> object:
    if key.kind is bool:
        word = text.strip().lower()
        if word not in YES | NO:
            raise ValueError(text)
        return word in YES
    if key.kind is int:
        return int(text)
    if key.kind is float:
        return float(text)
    if key.kind is tuple:
        return _list_spelled(text)
    return text


def _list_spelled(text: str) -> object:
    if not text.lstrip().startswith("["):
        return (text,)
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return (text,)  # a stop string such as "[/INST]"


def _allowed(key: Key, value: object) -> bool:
    if key.kind is tuple:
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    if isinstance(value, bool) or key.kind is bool:
        return type(value) is key.kind
    if isinstance(value, int) and key.kind is float:
        return _within(key, value)
    if type(value) is not key.kind:
        return False
    return value in key.choices if key.choices else isinstance(value, str) or _within(key, value)


def _within(key: Key, value: object) -> bool:
    number = cast("float", value)
    above = key.low is None or number >= key.low
    return above and (key.high is None or number <= key.high) and math.isfinite(number)


def _refusal(key: Key, value: object, place: str) -> UsageError:
    shown = value if isinstance(value, str) else repr(value)
    if len(shown) > SHOWN:
        shown = shown[:SHOWN] + "…"
    return UsageError(f"`{key.name}` ({place}) must be {key.allowed}, not `{shown}`")
