"""``[keys]`` of ``config.toml`` over the keys that `keys` declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from textual.keys import Keys

from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean, nearest
from tchat.tui.dialogs.dialog import Confirm, Dialog
from tchat.tui.keys import KEYS, KeyAction, Scope, declared, show_key, with_keymap
from tchat.tui.widgets.candidates import Candidates
from tchat.tui.widgets.empty_state import EmptyState
from tchat.tui.widgets.fuzzy_list import FuzzyList, LineEditor
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.sidebar import Sidebar
from tchat.tui.widgets.transcript.view import Transcript

MODIFIERS = ("ctrl", "alt", "shift", "super", "hyper", "meta")
ALIASES = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "pgup": "pageup",
    "pgdn": "pagedown",
}

# Keys of these are live at the same time, and so are those of one scope.
_TOGETHER = (
    frozenset({Scope.CHAT, Scope.PROMPT}),
    frozenset({Scope.CHAT, Scope.MESSAGES}),
    frozenset({Scope.CHAT, Scope.LISTS}),
    frozenset({Scope.SESSIONS, Scope.LISTS}),
    frozenset({Scope.SESSIONS, Scope.DIALOGS}),
    frozenset({Scope.SETTINGS, Scope.LISTS}),
    frozenset({Scope.SETTINGS, Scope.DIALOGS}),
    frozenset({Scope.LISTS, Scope.DIALOGS}),
)


class Remapped(NamedTuple):
    """What ``[keys]`` comes to: for `App.set_keymap`, and one line for each thing wrong with it."""

    keymap: dict[str, str]
    warnings: list[str]


def remap(configured: Mapping[str, str], actions: Iterable[KeyAction] = KEYS) -> Remapped:
    """Put ``configured`` (keys by id) over the defaults.

    What names no action or no key, or takes a key that another action keeps, is left out and told.
    """
    known = {action.id: action for action in actions}
    keymap: dict[str, str] = {}
    problems: list[str] = []
    for name, text in configured.items():
        keys = [_normal(part) for part in text.split(",") if part.strip()]
        if name not in known:
            hint = did_you_mean(name, known) or "F1 lists the actions"
            problems.append(f"there is no action `{name}`; {hint}")
        elif problem := _wrong_key(keys):
            problems.append(f"`{name}`: {problem}")
        else:
            keymap[name] = ",".join(keys)
    # A mapping that is taken back brings its default back, which may clash in its turn.
    while clash := _clash(keymap, known):
        name, problem = clash
        problems.append(f"`{name}`: {problem}")
        del keymap[name]
    return Remapped(keymap, [single_line(f"config.toml, [keys]: {each}") for each in problems])


def _normal(key: str) -> str:
    """``key`` as Textual spells it: lower case, except for a single character."""
    *modifiers, last = _parts(key)
    last = last if len(last) == 1 else last.lower()
    return "+".join([*(each.lower() for each in modifiers), ALIASES.get(last, last)])


def _parts(key: str) -> list[str]:
    """Modifiers and the key itself; ``+`` can be the key."""
    key = key.strip()
    return key.split("+") if len(key) > 1 else [key]


def _wrong_key(keys: Iterable[str]) -> str:
    """What is wrong with the first wrong one of ``keys``, or the empty string."""
    names = {each.value.rpartition("+")[2] for each in Keys if len(each.value) > 1}
    missing = "no key is named"
    for key in keys:
        missing = ""
        *modifiers, last = _parts(key)
        meant = [each if each in MODIFIERS else nearest(each, MODIFIERS) for each in modifiers]
        meant.append(last if len(last) == 1 or last in names else nearest(last, names))
        if meant != [*modifiers, last]:
            hint = f"; did you mean `{'+'.join(meant)}`?" if all(meant) else ""
            return f"`{key}` is no key{hint}"
    return missing


def _clash(keymap: dict[str, str], known: Mapping[str, KeyAction]) -> tuple[str, str] | None:
    """The last mapping that takes another action's key, and what to say; None when all is well.

    A key that two actions share by default, such as Esc, may stay shared.
    """
    in_force = {action.id: action for action in with_keymap(keymap, known.values())}
    for name in reversed(keymap):
        for other in in_force.values():
            shared = _keys(in_force[name]) & _keys(other)
            shared -= _keys(known[name]) & _keys(known[other.id])
            if other.id != name and shared and _meet(known[name], other):
                return name, f"{show_key(min(shared))} belongs to `{other.id}` already"
    return None


def _keys(action: KeyAction) -> set[str]:
    return set(action.keys.split(","))


def _meet(one: KeyAction, other: KeyAction) -> bool:
    return one.scope == other.scope or frozenset({one.scope, other.scope}) in _TOGETHER


ALL_BINDINGS: tuple[KeyAction, ...] = (
    *KEYS,
    *declared(PromptArea.BINDINGS, Scope.PROMPT),
    *declared(Transcript.BINDINGS, Scope.MESSAGES),
    *declared(Candidates.BINDINGS, Scope.CANDIDATES),
    *declared(FuzzyList.BINDINGS, Scope.LISTS),
    *declared(LineEditor.BINDINGS, Scope.LISTS),
    *declared(Sidebar.BINDINGS, Scope.LISTS),
    *declared(EmptyState.BINDINGS, Scope.LISTS),
    *declared(Dialog.BINDINGS, Scope.DIALOGS),
    *declared(Confirm.BINDINGS, Scope.DIALOGS),
)
"""Each action once; what Textual's own text fields bind (arrows, Home, Ctrl+W, …) is not ours."""
