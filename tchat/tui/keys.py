"""The keys: every action that a key starts, declared once.

The screens take their bindings from here, the help and the command palette their lines, and
``[keys]`` in ``config.toml`` its names::

    [keys]
    chat.sessions = "ctrl+s"
    chat.regenerate = "f10,alt+r"

A widget of its own, such as the prompt, declares its bindings itself; `declared` reads them, and
`tchat.tui.keymap` has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from textual.binding import Binding, BindingType

_SHOWN = {
    "escape": "Esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "delete": "Del",
    "underscore": "_",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "question_mark": "?",
}


class Scope(StrEnum):
    """Where a key works; the value is the heading in the help."""

    CHAT = "Chat"
    PROMPT = "Prompt"
    MESSAGES = "Messages"
    CANDIDATES = "Several replies"
    SESSIONS = "Sessions"
    SETTINGS = "Settings"
    MODELS = "Models"
    JUDGE = "Judge"
    LISTS = "Lists"
    DIALOGS = "Dialogs"


class KeyAction(NamedTuple):
    """One action and its keys.

    ``id`` is its name in ``[keys]``, with the scope in front; ``keys`` are parted by commas, as
    Textual spells them. ``action`` is the method ``action_…`` of the widget that binds it;
    ``priority`` puts it before what the focused widget does with the key.
    """

    id: str
    keys: str
    action: str
    help: str
    scope: Scope
    priority: bool = False

    @property
    def shown(self) -> str:
        """The keys for people: ``Ctrl+R``, ``F10 Alt+R``."""
        return " ".join(map(show_key, self.keys.split(",")))


def _chat(name: str, keys: str, action: str, help_text: str, priority: bool = True) -> KeyAction:
    return KeyAction(f"chat.{name}", keys, action, help_text, Scope.CHAT, priority)


def _run(name: str, keys: str, action: str, help_text: str) -> KeyAction:
    """An action of one controller, see `Controllers.actions`."""
    return _chat(name, keys, f"run('{action}')", help_text)


def _dialog(scope: Scope, name: str, keys: str, action: str, help_text: str) -> KeyAction:
    # The filter of a dialog has the focus, and would take these keys for itself.
    return KeyAction(f"{scope.lower()}.{name}", keys, action, help_text, scope, priority=True)


KEYS = (
    _run("help", "f1", "help", "Keys and commands"),
    _run("palette", "ctrl+p", "command_palette", "Command palette"),
    _run("new-session", "ctrl+n", "new_session", "New session"),
    _run("sessions", "ctrl+r", "sessions", "Find a session"),
    _run("search", "f6", "search", "Search all messages"),
    _run("sidebar", "ctrl+b", "sidebar", "Show or hide the sidebar"),
    _run("tree", "ctrl+t", "tree", "Branches of this session"),
    _run("model", "f2", "model", "Choose the model"),
    _run("settings", "f3", "settings", "Settings"),
    _run("theme", "f4", "theme", "Choose the theme"),
    _run("templates", "f5", "templates", "Insert a prompt template"),
    _run("private", "f8", "private", "Private mode: nothing is stored"),
    _run("reasoning", "f7", "reasoning", "Show or hide the reasoning"),
    _run("details", "f9", "details", "Show or hide times and token counts"),
    _run("judge", "alt+j", "judge", "Judge: scores, training, duel, steering"),
    _run("regenerate", "alt+r", "regenerate", "Regenerate the last reply, or retry"),
    _run("try", "alt+t", "try", "Write several replies side by side"),
    _run("continue", "alt+g", "go_on", "Continue the last reply"),
    _run("copy-reply", "alt+c", "copy_reply", "Copy the last reply"),
    _run("undo", "alt+z", "undo_delete", "Undo the deletion of a message"),
    _run("message-up", "alt+up", "message_up", "Select the previous message"),
    _run("message-down", "alt+down", "message_down", "Select the next message"),
    _run("page-up", "pageup", "page_up", "A page up"),
    _run("page-down", "pagedown", "page_down", "A page down"),
    _run("top", "ctrl+home", "top", "Scroll to the first message"),
    _run("end", "ctrl+end", "end", "Scroll to the end"),
    # What has the focus goes first with these: it may have something to close, clear or undo.
    _chat("stop", "escape", "stop", "Stop the reply", priority=False),
    _chat("interrupt", "ctrl+c", "interrupt", "Stop the reply; twice quits", priority=False),
    _chat(
        "suspend",
        "ctrl+z",
        "suspend_process",
        "Outside the prompt: suspend; `fg` returns",
        priority=False,
    ),
    _chat("quit", "ctrl+q", "quit", "Quit"),
    _dialog(Scope.SESSIONS, "full-text", "tab", "full_text", "Titles or full text"),
    _dialog(Scope.SESSIONS, "rename", "f2", "rename", "Rename"),
    _dialog(Scope.SESSIONS, "delete", "ctrl+d", "delete", "Delete"),
    _dialog(Scope.SESSIONS, "undo", "ctrl+z", "undo", "Undo the deletion"),
    _dialog(Scope.SESSIONS, "export", "ctrl+s", "export", "Export as Markdown"),
    _dialog(Scope.SETTINGS, "save", "ctrl+s", "save", "Save the value"),
    _dialog(Scope.SETTINGS, "reset", "ctrl+d", "reset", "Reset to the default"),
    _dialog(Scope.JUDGE, "train", "ctrl+t", "train", "Train the judge"),
    _dialog(Scope.JUDGE, "duel", "ctrl+g", "duel", "Start or resume a duel"),
    _dialog(Scope.JUDGE, "steer", "ctrl+s", "steer", "Turn steering on or off"),
    _dialog(Scope.MODELS, "details", "ctrl+o", "details", "Show the details of a model"),
    _dialog(Scope.MODELS, "default", "ctrl+s", "make_default", "Make it the default"),
    _dialog(Scope.MODELS, "remove", "ctrl+d", "remove", "Remove it (asks first)"),
    _dialog(Scope.MODELS, "everything", "tab", "everything", "Include models of other programs"),
)


def bindings(scope: Scope, actions: Iterable[KeyAction] = KEYS) -> list[Binding]:
    """The bindings of one scope, with the ids that `App.set_keymap` knows them by."""
    return [
        Binding(each.keys, each.action, each.help, show=False, priority=each.priority, id=each.id)
        for each in actions
        if each.scope == scope
    ]


def declared(own: Iterable[BindingType], scope: Scope) -> tuple[KeyAction, ...]:
    """The bindings of a widget that can be remapped, as actions: those with an id and a text."""
    return tuple(
        KeyAction(each.id, each.key, each.action, each.description, scope, each.priority)
        for each in own
        if isinstance(each, Binding) and each.id and each.description
    )


def with_keymap(
    keymap: Mapping[str, str], actions: Iterable[KeyAction] = KEYS
) -> tuple[KeyAction, ...]:
    """The actions with the keys that are in force: what the help shows."""
    return tuple(each._replace(keys=keymap.get(each.id, each.keys)) for each in actions)


def show_key(key: str) -> str:
    """One key for people: ``ctrl+r`` → ``Ctrl+R``, ``alt+up`` → ``Alt+↑``."""
    *modifiers, last = key.strip().split("+") if len(key.strip()) > 1 else [key.strip()]
    shown = _SHOWN.get(last) or (last.upper() if modifiers and len(last) == 1 else last)
    if len(shown) > 1 and shown.islower():
        shown = shown.capitalize()
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])


FIRST_KEYS = (
    ("prompt.send", "send"),
    ("prompt.newline", "new line"),
    ("/", "commands"),
    ("@", "attach a file"),
    ("chat.sessions", "sessions"),
    ("chat.model", "model"),
    ("chat.theme", "theme"),
    ("chat.help", "all keys"),
)


def first_keys(actions: Iterable[KeyAction]) -> list[tuple[str, str]]:
    """Keys and what they do, for somebody who begins."""
    shown = {each.id: show_key(each.keys.split(",")[0]) for each in actions}
    return [(shown.get(key, key), does) for key, does in FIRST_KEYS]
