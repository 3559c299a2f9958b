"""Texts that are stored: as their message and values, so that they are shown in any language."""

from __future__ import annotations

import json
from string import Formatter

from tchat.translation import Translated, text_of, tr, trn

LONGEST_FORMAT = 4  # characters, as of ``,.2f``; a wide one would fill the memory
_MARK = '{"messages": '  # what a stored message begins with; other texts are stored as they are


def stored_text(text: str) -> str:
    """``text`` for a database or another process; `shown_text` reads it."""
    return json.dumps(_record(text)) if _has_message(text) else text


def shown_text(stored: str) -> str:
    """A text of `stored_text` in the user's language; any other text as it is."""
    if not stored.startswith(_MARK):
        return stored
    try:
        return _translated(json.loads(stored))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return stored  # not written by `stored_text`


def _has_message(text: object) -> bool:
    return isinstance(text, Translated) and bool(text.messages)


def _record(text: str) -> dict[str, object]:
    assert isinstance(text, Translated)  # noqa: S101 - see `_has_message`
    return {
        "messages": list(text.messages),
        "values": {name: _plain(value) for name, value in text.values.items()},
    }


def _plain(value: object) -> object:
    value = text_of(value)
    if isinstance(value, str) and _has_message(value):
        return _record(value)
    return value if isinstance(value, str | int | float) else str(value)


def _translated(record: dict[str, object]) -> str:
    """Translate a record; its values are only put in, whoever wrote it."""
    messages, values = record["messages"], record["values"]
    if not isinstance(messages, list) or not isinstance(values, dict):
        raise TypeError("a record")
    if not all(_is_safe(message) for message in messages):
        raise ValueError("a placeholder")
    put = {
        name: _translated(value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
    if len(messages) == 2:
        one, many = messages
        return trn(one, many, int(put.pop("count")), **put)
    (message,) = messages
    return tr(message, **put)


def _is_safe(message: str) -> bool:
    """Whether the placeholders of ``message`` are plain names with short formats."""
    return all(
        name is None or (name.isidentifier() and len(spec or "") <= LONGEST_FORMAT)
        for _, name, spec, _ in Formatter().parse(message)
    )
