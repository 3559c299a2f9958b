"""Hints of errors in a chat: its own keys and commands in place of those of the shell."""

from __future__ import annotations

import re

_SETTINGS = re.compile(r"`tchat config show` (lists them all)")
_PULL = re.compile(r"get it: tchat models pull (.+)")
_LIST = re.compile(r"`tchat models ls --all` lists what there is, `tchat models catalogue` what to")
_FITS = re.compile(r"`tchat models catalogue` (tells which fit this machine)")


def chat_hint(text: str, *, settings: str, models: str = "") -> str:
    """``text`` with what opens the ``settings``, and the ``models`` where the chat lists them."""
    text = _SETTINGS.sub(lambda match: f"{settings} {match[1]}", text)
    if not models:
        return text
    text = _PULL.sub(lambda match: f"{models} downloads it: {match[1]}", text)
    text = _LIST.sub(f"{models} lists what there is and what to", text)
    return _FITS.sub(lambda match: f"{models} {match[1]}", text)
