"""``[keys]`` of ``config.toml`` over the keys that `keys` declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import punctuation
from types import MappingProxyType
from typing import NamedTuple

from textual.keys import Keys, _character_to_key

from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean, nearest
from tchat.translation import N_, tr
from tchat.tui.dialogs.approval import ApprovalDialog
from tchat.tui.dialogs.dialog import Confirm, Dialog
from tchat.tui.dialogs.form import FormDialog
from tchat.tui.dialogs.manual import ManualScreen, ManualText
from tchat.tui.dialogs.unlock import UnlockScreen
from tchat.tui.keys import (
    FORMER_IDS,
    FORMER_KEYS,
    KEYS,
    LEADER,
    UNBOUND,
    KeyAction,
    Scope,
    declared,
    show_key,
    split_keys,
    with_keymap,
)
from tchat.tui.widgets.candidates import Candidates
from tchat.tui.widgets.first_screen import FirstScreen
from tchat.tui.widgets.fuzzy_list import FuzzyList, LineEditor
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.sidebar import Sidebar
from tchat.tui.widgets.transcript.message_bar import MessageBar
from tchat.tui.widgets.transcript.view import Transcript

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
    frozenset({Scope.MODELS, Scope.LISTS}),
    frozenset({Scope.MODELS, Scope.DIALOGS}),
    frozenset({Scope.JUDGE, Scope.DIALOGS}),
    frozenset({Scope.TOOLS, Scope.LISTS}),
    frozenset({Scope.TOOLS, Scope.DIALOGS}),
    frozenset({Scope.SERVERS, Scope.LISTS}),
    frozenset({Scope.SERVERS, Scope.DIALOGS}),
    frozenset({Scope.APPROVAL, Scope.DIALOGS}),
    frozenset({Scope.FORM, Scope.DIALOGS}),
    frozenset({Scope.LISTS, Scope.DIALOGS}),
)


# Of each of these actions one must have a key, and what is told of a key that prevents that.
_NEEDED = (
    (("prompt.send",), N_("no key would be left to send a prompt; the default stays")),
    (("chat.quit", "chat.interrupt"), N_("no key would be left to quit; the default stays")),
    (
        ("chat.stop", "chat.interrupt"),
        N_("no key would be left to stop a reply; the default stays"),
    ),
    (("dialog.close",), N_("no key would be left to close a dialog; the default stays")),
)


class Remapped(NamedTuple):
    """What ``[keys]`` comes to: for `App.set_keymap`, and one line for each thing wrong with it."""

    keymap: dict[str, str]
    warnings: list[str]


def remap(
    configured: Mapping[str, str], actions: Iterable[KeyAction] = KEYS, preset: str = DEFAULT_PRESET
) -> Remapped:
    """Put ``configured`` (keys by id) over the keys of ``preset``.

    A configured key is taken from an action that has it by default; an action that is left without
    a key is told. What names no action or no key, a key that is configured twice, or what leaves no
    key to send, to quit or to stop, is left out and told. Keys behind the leader key stay unless
    others are configured.
    """
    known = {action.id: action for action in actions}
    base = {name: keys for name, keys in PRESETS[preset].items() if name in known}
    defaults = {each.id: each for each in with_keymap(base, known.values())}
    chosen: dict[str, str] = {}
    spelled: dict[str, str] = {}  # as the user wrote the names
    problems: list[str] = []
    for written, text in configured.items():
        name = FORMER_IDS.get(written, written)
        keys = [_normal(part) for part in text.split(",") if part.strip()]
        if name not in known:
            hint = did_you_mean(written, known) or tr("F1 lists the actions")
            problems.append(tr("there is no action `{name}`; {hint}", name=written, hint=hint))
        elif problem := _wrong_key(keys):
            problems.append(f"`{written}`: {problem}")
        elif clash := _clash(name, keys, chosen, known):
            problems.append(f"`{written}`: {clash}")
        else:
            chosen[name], spelled[name] = ",".join(dict.fromkeys(keys)), written
    while refused := _dead_end(chosen, defaults):
        name, problem = refused
        del chosen[name]
        problems.append(f"`{spelled[name]}`: {problem}")
    chosen = {name: _with_leader_keys(name, chosen, defaults) for name in chosen}
    lost = _without_taken(chosen, defaults)
    problems += [
        tr("`{id}` has no key any more", id=name)
        for name, left in lost.items()
        if left == UNBOUND and not _has_former_key(name, chosen, defaults)
    ]
    told = [tr("config.toml, [keys]: {problem}", problem=each) for each in problems]
    return Remapped({**base, **lost, **chosen}, list(map(single_line, told)))


def _dead_end(
    chosen: Mapping[str, str], defaults: Mapping[str, KeyAction]
) -> tuple[str, str] | None:
    """The last chosen action without which a needed one has a key, and what to say of it."""
    for ids, problem in _NEEDED:
        if not chosen or not set(ids) <= defaults.keys() or _can_be_reached(ids, chosen, defaults):
            continue
        for name in reversed([*chosen]):
            others = {other: keys for other, keys in chosen.items() if other != name}
            if _can_be_reached(ids, others, defaults):
                return name, tr(problem)
        return [*chosen][-1], tr(problem)  # several prevent it
    return None


def _can_be_reached(
    ids: Iterable[str], chosen: Mapping[str, str], defaults: Mapping[str, KeyAction]
) -> bool:
    """Whether one of some actions has a key, and the leader key one where that is behind it."""
    chosen = {name: _with_leader_keys(name, chosen, defaults) for name in chosen}
    in_force = {**_without_taken(chosen, defaults), **chosen}

    def keys(name: str) -> list[str]:
        found = split_keys(in_force.get(name) or defaults[name].keys)
        return [key for key in found if key != UNBOUND]

    has_leader = "chat.leader" not in defaults or not all(
        map(_is_behind_leader, keys("chat.leader"))
    )
    return any(has_leader or not _is_behind_leader(key) for name in ids for key in keys(name))


def _with_leader_keys(
    name: str, chosen: Mapping[str, str], defaults: Mapping[str, KeyAction]
) -> str:
    """The chosen keys, and the default ones behind the leader key if none of these is chosen."""
    keys = chosen[name].split(",")
    if not any(map(_is_behind_leader, keys)):
        taken = {key for given in chosen.values() for key in given.split(",")}
        default = split_keys(defaults[name].keys)
        keys += [key for key in default if _is_behind_leader(key) and key not in taken]
    return ",".join(keys)


def _is_behind_leader(key: str) -> bool:
    return key.startswith(f"{LEADER} ")


def _clash(
    name: str, keys: Sequence[str], chosen: Mapping[str, str], known: Mapping[str, KeyAction]
) -> str:
    """What to say when one of ``keys`` was chosen for another action that is live too, or "".

    A key that two actions share by default, such as Esc, may stay shared.
    """
    for other, given in chosen.items():
        shared = {*keys} & {*given.split(",")}
        shared -= _keys(known[name]) & _keys(known[other])
        if other != name and shared and _meet(known[name], known[other]):
            key = show_key(min(shared))
            return tr("{key} belongs to `{id}` already", key=key, id=other)
    return ""


def _without_taken(chosen: Mapping[str, str], defaults: Mapping[str, KeyAction]) -> dict[str, str]:
    """The remaining keys of each action that loses one to a chosen action."""
    lost = {}
    for name, action in defaults.items():
        if name in chosen:
            continue
        taken = {
            key
            for other, given in chosen.items()
            if _meet(action, defaults[other])
            for key in {*given.split(",")} - (_keys(action) & _keys(defaults[other]))
        }
        kept = [key for key in split_keys(action.keys) if key not in taken]
        if len(kept) < len(_keys(action)):
            lost[name] = ",".join(kept) or UNBOUND
    return lost


def _has_former_key(
    name: str, chosen: Mapping[str, str], defaults: Mapping[str, KeyAction]
) -> bool:
    """Whether ``name`` lost its key to an action that had it by default in earlier versions."""
    return any(
        key in FORMER_KEYS.get(other, "").split(",")
        for other, given in chosen.items()
        for key in {*given.split(",")} & _keys(defaults[name])
    )


def _normal(key: str) -> str:
    """``key`` as Textual spells it: lower case, except for a single character."""
    first, *rest = key.split()
    if rest:
        return " ".join([_normal(first), *map(_named, map(_normal, rest))])
    *modifiers, last = _parts(key)
    last = last if len(last) == 1 else last.lower()
    return "+".join([*(each.lower() for each in modifiers), ALIASES.get(last, last)])


def _named(key: str) -> str:
    """The name of a sign: ``slash`` for ``/``."""
    return key if len(key) > 1 or key.isalnum() else _character_to_key(key)


def _parts(key: str) -> list[str]:
    """Modifiers and the key itself; ``+`` can be the key."""
    key = key.strip()
    return key.split("+") if len(key) > 1 else [key]


def _wrong_key(keys: Iterable[str]) -> str:
    """What is wrong with the first wrong one of ``keys``, or the empty string."""
    problem = tr("no key is named")
    for key in keys:
        first, *rest = key.split(" ")
        if len(rest) > 1 or (rest and first != LEADER):
            return tr("`{key}` is no key; write `leader x`", key=key)
        if problem := _wrong_single_key(*rest or [first]):
            return problem
    return problem


def _wrong_single_key(key: str) -> str:
    names = {each.value.rpartition("+")[2] for each in Keys if len(each.value) > 1}
    names.update(map(_character_to_key, punctuation))
    *modifiers, last = _parts(key)
    meant = [each if each in MODIFIERS else nearest(each, MODIFIERS) for each in modifiers]
    meant.append(last if len(last) == 1 or last in names else nearest(last, names))
    if meant == [*modifiers, last]:
        return ""
    if all(meant):
        return tr("`{key}` is no key; did you mean `{meant}`?", key=key, meant="+".join(meant))
    return tr("`{key}` is no key", key=key)


def _keys(action: KeyAction) -> set[str]:
    return set(split_keys(action.keys))


def _meet(one: KeyAction, other: KeyAction) -> bool:
    return one.scope == other.scope or frozenset({one.scope, other.scope}) in _TOGETHER


ALL_BINDINGS: tuple[KeyAction, ...] = (
    *KEYS,
    *declared(PromptArea.BINDINGS, Scope.PROMPT),
    *declared(Transcript.BINDINGS, Scope.MESSAGES),
    *declared(MessageBar.BINDINGS, Scope.MESSAGES),
    *declared(Candidates.BINDINGS, Scope.CANDIDATES),
    *declared(FuzzyList.BINDINGS, Scope.LISTS),
    *declared(LineEditor.BINDINGS, Scope.LISTS),
    *declared(Sidebar.BINDINGS, Scope.LISTS),
    *declared(FirstScreen.BINDINGS, Scope.LISTS),
    *declared(ApprovalDialog.BINDINGS, Scope.APPROVAL),
    *declared(FormDialog.BINDINGS, Scope.FORM),
    *declared(Dialog.BINDINGS, Scope.DIALOGS),
    *declared(Confirm.BINDINGS, Scope.DIALOGS),
    *declared(ManualScreen.BINDINGS, Scope.DIALOGS),
    *declared(ManualText.BINDINGS, Scope.DIALOGS),
    *declared(UnlockScreen.BINDINGS, Scope.UNLOCK),
)
"""Each action once; what Textual's own text fields bind (arrows, Home, Ctrl+W, …) is not ours."""
