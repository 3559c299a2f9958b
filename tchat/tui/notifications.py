"""The escape sequences that make a terminal notify: OSC 99, OSC 777, OSC 9, or the bell.

No terminal confirms them, so the variables that name the terminal decide.

=========================  =========
kitty                      OSC 99
foot, rxvt, contour        OSC 777
iTerm2, WezTerm, Ghostty,  OSC 9
Warp, Rio
tmux, screen, others       bell: what a multiplexer passes on, and marks the window with
=========================  =========
"""

from __future__ import annotations

from collections.abc import Mapping

from tchat.sanitize import single_line

BELL = "\a"
OFF, AUTO, BELL_ONLY = "off", "auto", "bell"
TEXT = 100  # characters of a notification
_OSC_9 = frozenset({"iterm.app", "wezterm", "ghostty", "warpterminal", "rio"})
_OSC_777 = ("foot", "rxvt", "contour")


def notification(kind: str, text: str, environ: Mapping[str, str]) -> str:
    """What to write for a notification with ``text``; empty where ``kind`` is off.

    ``kind`` is a value of the setting ``notify``.
    """
    if kind == OFF:
        return ""
    text = single_line(text, TEXT).replace(";", ",")
    term = environ.get("TERM", "")
    if kind == BELL_ONLY or environ.get("TMUX") or term.startswith(("screen", "tmux")):
        return BELL
    if environ.get("KITTY_WINDOW_ID") or term == "xterm-kitty":
        return f"\x1b]99;i=tchat:d=0;tchat\x1b\\\x1b]99;i=tchat:d=1:p=body;{text}\x1b\\"
    if term.startswith(_OSC_777):
        return f"\x1b]777;notify;tchat;{text}\x1b\\"
    if environ.get("TERM_PROGRAM", "").lower() in _OSC_9 or term == "xterm-ghostty":
        return f"\x1b]9;tchat: {text}\x1b\\"
    return BELL
