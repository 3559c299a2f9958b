"""The keys: every action that a key starts, declared once.

The screens take their bindings from here, the help and the command palette their lines, and
``[keys]`` in ``config.toml`` its names::

    [keys]
    chat.sessions = "ctrl+s"
    chat.regenerate = "f10,alt+r,leader r"

A widget of its own, such as the prompt, declares its bindings itself; `declared` reads them, and
`tchat.tui.keymap` has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from textual.binding import Binding, BindingType

from tchat.translation import N_, tr

LEADER = "leader"  # in front of a key that follows the leader key
LEADER_KEY = "ctrl+x"
UNBOUND = "unbound"  # the key of an action that has none
# What terminals send for Ctrl+_ and Ctrl+/, in the order of the plain one and of Kitty's protocol.
UNDO_KEYS = "ctrl+underscore,ctrl+slash,ctrl+shift+minus,ctrl+shift+underscore,super+z"
REDO_KEYS = "alt+slash,ctrl+shift+z,alt+underscore,alt+shift+minus,super+shift+z"

_SHOWN = {
    "escape": "Esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "delete": "Del",
    "full_stop": ".",
    "slash": "/",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "underscore": "_",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "question_mark": "?",
}


class Scope(StrEnum):
    """Where a key works; the value is the heading in the help, to be translated."""

    CHAT = N_("Chat")
    PROMPT = N_("Prompt")
    MESSAGES = N_("Messages")
    CANDIDATES = N_("Several replies")
    SESSIONS = N_("Sessions")
    SETTINGS = N_("Settings")
    MODELS = N_("Models")
    JUDGE = N_("Judge")
    TOOLS = N_("Tools")
    SERVERS = N_("Servers")
    APPROVAL = N_("Approval")
    FORM = N_("Forms")
    LISTS = N_("Lists")
    DIALOGS = N_("Dialogs")
    UNLOCK = N_("Locked screen")


class KeyAction(NamedTuple):
    """One action and its keys.

    ``id`` is its name in ``[keys]``, with the scope in front; ``keys`` are separated by commas, as
    Textual spells them. ``leader m`` is the leader key, then ``m``. ``action`` is the method
    ``action_…`` of the widget that binds it; ``priority`` puts it before what the focused widget
    does with the key. ``help`` is translated where it is shown, ``also`` where it is searched for:
    other words for the action. ``leader`` is the leader key in force. ``command`` is the slash
    command that does the same, without the slash.
    """

    id: str
    keys: str
    action: str
    help: str
    scope: Scope
    priority: bool = False
    leader: str = LEADER_KEY
    also: str = ""
    command: str = ""

    @property
    def shown_keys(self) -> tuple[str, ...]:
        """Each key for people: ``Ctrl+R``, ``F10``, ``Ctrl+X m``."""
        return tuple(show_key(key, self.leader) for key in split_keys(self.keys) if key != UNBOUND)

    @property
    def shown(self) -> str:
        """The keys for people: ``Ctrl+R``, ``F10, Alt+R``."""
        return ", ".join(self.shown_keys)


def split_keys(keys: str) -> list[str]:
    """The keys of an action, one by one."""
    return [key.strip() for key in keys.split(",")]


def _chat(name: str, keys: str, action: str, help_text: str, priority: bool = True) -> KeyAction:
    return KeyAction(f"chat.{name}", keys, action, help_text, Scope.CHAT, priority)


def _run(
    name: str, keys: str, action: str, help_text: str, *, also: str = "", command: str = ""
) -> KeyAction:
    """An action of one controller, see `Controllers.actions`."""
    run = _chat(name, keys, f"run('{action}')", help_text)
    return run._replace(also=also, command=command)


def _dialog(scope: Scope, name: str, keys: str, action: str, help_text: str) -> KeyAction:
    # The filter of a dialog has the focus, and would take these keys for itself.
    return KeyAction(f"{scope.lower()}.{name}", keys, action, help_text, scope, priority=True)


KEYS = (
    _run("help", "f1,leader h", "help", N_("Keys and commands"), command="help"),
    _run("manual", "leader x", "manual", N_("Manual"), also=N_("help"), command="manual"),
    _run("palette", "alt+x,leader p", "command_palette", N_("All actions"),
         also=N_("command palette")),
    _run("new-session", "alt+n,leader n", "new_session", N_("New session"), command="new"),
    _run("sessions", "ctrl+o,leader o", "sessions", N_("Find a session"), command="sessions"),
    _run("rename", "alt+e,leader l", "rename", N_("Rename this session"), command="title"),
    _run("history", "ctrl+r,leader slash", "history", N_("Search earlier prompts")),
    _run("search", "f6,leader f", "search", N_("Search all messages"), command="search"),
    _run("find", "alt+i,leader question_mark", "find", N_("Find in this chat"), also=N_("search")),
    _run("sidebar", "ctrl+b,leader b", "sidebar", N_("Toggle sidebar")),
    _run("branches", "alt+k,leader g", "tree", N_("Branches of this session"), command="branches"),
    _run("model", "f2,leader m", "model", N_("Choose the model"), command="model"),
    _run("tools", "alt+u,leader 1", "tools", N_("Tools that the model may call"), command="tools"),
    _run("servers", "leader 2", "servers", N_("MCP servers"), command="mcp"),
    _run("settings", "f3,leader s", "settings", N_("Settings")),
    _run("theme", "f4,leader t", "theme", N_("Choose the theme"), command="theme"),
    _run("templates", "f5,leader i", "templates", N_("Insert a prompt template"), command="prompt"),
    _run("private", "f8,leader v", "private",
         N_("Private mode: nothing is stored"), command="private"),
    _run("lock", "alt+l,leader 0", "lock",
         N_("Lock the screen until the passphrase is typed"), command="lock"),
    _run("reasoning", "f7,leader k", "reasoning", N_("Show or hide the reasoning")),
    _run("details", "f9,leader d", "details",
         N_("Show or hide times and token counts"), command="details"),
    _run("judge", "alt+j,leader j", "judge",
         N_("Judge: scores, training, duel, steering"), command="judge"),
    _run("regenerate", "alt+r,leader r", "regenerate",
         N_("Regenerate the last reply, or retry"), command="regen"),
    _run("try", "alt+t,leader a", "try", N_("Write several replies side by side"), command="try"),
    _run("continue", "alt+g,leader c", "go_on", N_("Continue reply"), command="continue"),
    _run("copy-reply", "alt+c,leader y", "copy_reply", N_("Copy the last reply"), command="copy"),
    _run("export", "leader w", "export", N_("Export the session"), command="export"),
    _run("undo-delete", "alt+z,leader z", "undo_delete",
         N_("Undo the deletion of a message"), command="undo"),
    _run("message-up", "alt+up,leader up", "message_up", N_("Select the previous message")),
    _run("message-down", "alt+down,leader down", "message_down", N_("Select the next message")),
    _run("page-up", "pageup,leader left_square_bracket", "page_up", N_("A page up")),
    _run("page-down", "pagedown,leader right_square_bracket", "page_down", N_("A page down")),
    _run("top", "ctrl+home,leader less_than_sign", "top", N_("Scroll to the first message")),
    _run("end", "ctrl+end,leader greater_than_sign", "end", N_("Scroll to the end")),
    _run("leader", LEADER_KEY, "leader", N_("Leader key: shows the keys that can follow")),
    # What has the focus goes first with these: it may have something to close, clear or undo.
    _chat("stop", "escape,leader full_stop", "stop",
          N_("Stop; twice edits the last question"), priority=False),
    _chat("interrupt", "ctrl+c", "interrupt", N_("Stop the reply; twice quits"), priority=False),
    _chat("suspend", "ctrl+z,leader ctrl+z", "suspend_process",
          N_("Suspend to the shell; `fg` returns")),
    _chat("quit", "ctrl+q,leader q,leader ctrl+c", "quit", N_("Quit"))._replace(command="quit"),
    _dialog(Scope.SESSIONS, "full-text", "tab", "full_text", N_("Titles or full text")),
    _dialog(Scope.SESSIONS, "rename", "f2", "rename", N_("Rename")),
    _dialog(Scope.SESSIONS, "delete", "ctrl+d", "delete", N_("Delete")),
    _dialog(Scope.SESSIONS, "undo", f"{UNDO_KEYS},alt+z", "undo", N_("Undo the deletion")),
    _dialog(Scope.SESSIONS, "export", "ctrl+s", "export", N_("Export")),
    _dialog(Scope.SESSIONS, "import", "ctrl+o", "import_file", N_("Import chats from a file")),
    _dialog(Scope.SETTINGS, "save", "ctrl+s", "save", N_("Save as default")),
    _dialog(Scope.SETTINGS, "changed", "tab", "changed",
            N_("Only what differs from the default, or all")),
    _dialog(Scope.SETTINGS, "reset", "ctrl+d", "reset", N_("Reset to the default")),
    _dialog(Scope.TOOLS, "toggle", "space", "switch", N_("Turn it on or off in this session")),
    _dialog(Scope.TOOLS, "save", "ctrl+s", "save", N_("Keep what is on for new sessions")),
    _dialog(Scope.SERVERS, "restart", "ctrl+r", "restart", N_("Start it, or start it again")),
    _dialog(Scope.JUDGE, "train", "ctrl+t", "train", N_("Train the judge")),
    _dialog(Scope.JUDGE, "duel", "ctrl+g", "duel", N_("Start or resume a duel")),
    _dialog(Scope.JUDGE, "steer", "ctrl+s", "steer", N_("Turn steering on or off")),
    _dialog(Scope.MODELS, "details", "ctrl+o", "details", N_("Show the details of a model")),
    _dialog(Scope.MODELS, "default", "ctrl+s", "make_default", N_("Make it the default")),
    _dialog(Scope.MODELS, "remove", "ctrl+d", "remove",
            N_("Remove it (asks first), or stop or dismiss its download")),
    _dialog(Scope.MODELS, "everything", "tab", "everything",
            N_("Show or hide models of other programs")),
    _dialog(Scope.MODELS, "actions", "alt+a", "actions", N_("Actions on a model, or on all")),
    _dialog(Scope.MODELS, "sort", "alt+s", "sort", N_("Sort by the next column")),
    _dialog(Scope.MODELS, "chat", "alt+h", "filter('chat')", N_("Only models for chat")),
    _dialog(Scope.MODELS, "code", "alt+c", "filter('code')", N_("Only models for code")),
    _dialog(Scope.MODELS, "reasoning", "alt+r", "filter('reasoning')",
            N_("Only models that reason")),
    _dialog(Scope.MODELS, "vision", "alt+v", "filter('vision')", N_("Only models that see")),
    _dialog(Scope.MODELS, "tools", "alt+t", "filter('tools')", N_("Only models that use tools")),
)  # fmt: skip

FORMER_IDS = MappingProxyType({"chat.tree": "chat.branches", "chat.undo": "chat.undo-delete"})
"""Former names of actions, which still work in ``[keys]``."""

FORMER_KEYS = MappingProxyType(
    {
        "chat.palette": "ctrl+p",
        "chat.new-session": "ctrl+n",
        "chat.sessions": "ctrl+r",
        "chat.branches": "ctrl+t",
        "prompt.editor": "ctrl+o,ctrl+g",
        "prompt.undo": "ctrl+z,super+z,ctrl+underscore",
        "prompt.redo": "ctrl+y,super+y",
        "sessions.undo": "ctrl+z",
    }
)
"""Default keys of earlier versions, which a ``[keys]`` written for them may name."""


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
    leader = split_keys(keymap.get("chat.leader", LEADER_KEY))[0]
    return tuple(
        each._replace(keys=keymap.get(each.id, each.keys), leader=leader) for each in actions
    )


def shown_by_id(actions: Iterable[KeyAction]) -> dict[str, str]:
    """The first key of each action that has one, as it is shown."""
    return {each.id: each.shown_keys[0] for each in actions if each.shown_keys}


def show_key(key: str, leader: str = LEADER_KEY) -> str:
    """One key for people: ``ctrl+r`` → ``Ctrl+R``, ``leader up`` → ``Ctrl+X ↑``."""
    first, _, second = key.strip().partition(" ")
    if second:
        return f"{show_key(leader if first == LEADER else first)} {show_key(second)}"
    *modifiers, last = first.split("+") if len(first) > 1 else [first]
    shown = _SHOWN.get(last) or (last.upper() if modifiers and len(last) == 1 else last)
    if len(shown) > 1 and shown.islower():
        shown = shown.capitalize()
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])


FIRST_KEYS = (
    ("prompt.send", N_("send")),
    ("prompt.newline", N_("new line")),
    ("/", N_("commands")),
    ("@", N_("attach a file")),
    ("chat.sessions", N_("sessions")),
    ("chat.model", N_("model")),
    ("chat.theme", N_("theme")),
    ("chat.help", N_("all keys")),
    ("chat.quit", N_("quit")),
    ("chat.search", N_("search")),
    ("chat.settings", N_("settings")),
    ("chat.palette", N_("all actions")),
)


def first_keys(actions: Iterable[KeyAction]) -> list[tuple[str, str]]:
    """Keys and what they do, for somebody who begins."""
    shown = shown_by_id(actions)
    return [(shown.get(key, key), tr(does)) for key, does in FIRST_KEYS]
