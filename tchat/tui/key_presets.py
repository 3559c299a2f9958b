"""Presets of keys: the values of the setting ``keymap``, over the keys that `keys` declares."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

DEFAULT_PRESET = "default"

_EMACS = {
    "chat.sessions": "leader ctrl+f,leader b,ctrl+o,leader o",
    "chat.sidebar": "leader 3",
    "chat.search": "f6,leader f,alt+s",
    "chat.stop": "escape,ctrl+g,leader full_stop",
    "chat.page-up": "pageup,alt+v,leader left_square_bracket",
    "chat.page-down": "pagedown,ctrl+v,leader right_square_bracket",
    "chat.top": "ctrl+home,alt+less_than_sign,leader less_than_sign",
    "chat.end": "ctrl+end,alt+greater_than_sign,leader greater_than_sign",
    "chat.export": "leader ctrl+s,leader w",
    "chat.settings": "f3,leader s",
    "prompt.editor": "leader ctrl+e,leader e",
    "prompt.left": "left,ctrl+b",
    "dialog.close": "escape,ctrl+g",
}

PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        DEFAULT_PRESET: {},
        "vim": {},  # the prompt has modes, see `widgets.vim`
        "emacs": _EMACS,
    }
)
"""The keys of each preset that differ from the default ones, by the id of the action."""
