"""Every key of tchat is in the help once, from its own declaration, and can be changed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter
from itertools import combinations

from textual.binding import Binding
from textual.dom import DOMNode

import tchat.tui
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.help import TYPED, help_items
from tchat.tui.keymap import ALL_BINDINGS, PRESETS, remap
from tchat.tui.keys import UNBOUND, Scope, split_keys, with_keymap
from tests.tui.chat_stage import opened


def own_bindings() -> list[tuple[str, Binding]]:
    """All bindings that classes of tchat declare, with the names of the classes."""
    found: dict[type, list[Binding]] = {}
    for module in pkgutil.walk_packages(tchat.tui.__path__, "tchat.tui."):
        for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(each, DOMNode) and each.__module__.startswith("tchat."):
                declared = each.__dict__.get("BINDINGS", ())
                found[each] = [Binding(*b) if isinstance(b, tuple) else b for b in declared]
    return [(kind.__name__, binding) for kind, own in found.items() for binding in own]


def test_every_binding_has_a_name_and_is_in_the_help_once() -> None:
    shown = Counter(item.key for item in help_items(ALL_BINDINGS, ()))
    for owner, binding in own_bindings():
        assert binding.id, f"{owner}: {binding.key} cannot be remapped"
        assert binding.description, f"{owner}: {binding.id} has no help"
        assert shown[binding.id] == 1, f"{owner}: {binding.id} is {shown[binding.id]} times in F1"
    signs = {f"typed {sign}" for sign, _ in TYPED}
    assert set(shown) - signs == {binding.id for _, binding in own_bindings()}


def test_the_defaults_do_not_clash() -> None:
    for preset in PRESETS:
        own = with_keymap(remap({}, ALL_BINDINGS, preset).keymap, ALL_BINDINGS)
        for one, other in combinations(own, 2):
            shared = {*split_keys(one.keys)} & {*split_keys(other.keys)} - {UNBOUND}
            if one.id.partition(".")[0] == other.id.partition(".")[0]:  # of one widget
                assert not shared, (preset, one.id, other.id)
            elif {one.scope, other.scope} == {Scope.CHAT, Scope.PROMPT}:
                assert shared <= {"escape", "ctrl+c"}, (preset, one.id, other.id)


def test_every_action_of_the_chat_is_behind_the_leader_key() -> None:
    for preset in PRESETS:
        for each in with_keymap(remap({}, ALL_BINDINGS, preset).keymap, ALL_BINDINGS):
            if each.scope == Scope.CHAT and each.id not in ("chat.leader", "chat.interrupt"):
                assert "leader " in each.keys, (preset, each.id)


def test_a_prompts_key_can_be_remapped_and_loses_what_another_action_takes() -> None:
    keymap, problems = remap({"prompt.newline": "f12", "prompt.editor": "ctrl+r"}, ALL_BINDINGS)
    assert keymap == {
        "prompt.newline": "f12",
        "prompt.editor": "ctrl+r,leader e,leader ctrl+e",
        "chat.history": "leader slash",
    }
    assert problems == []


def test_the_keys_of_a_file_for_an_earlier_version_go_on_working() -> None:
    former = {
        "chat.palette": "ctrl+p",
        "chat.new-session": "ctrl+n",
        "chat.sessions": "ctrl+r",
        "chat.tree": "ctrl+t",
        "chat.undo": "alt+z",
        "prompt.editor": "ctrl+o,ctrl+g",
        "prompt.undo": "ctrl+z,super+z,ctrl+underscore",
        "prompt.redo": "ctrl+y,super+y",
        "sessions.undo": "ctrl+z",
    }
    keymap, problems = remap(former, ALL_BINDINGS)
    assert problems == []
    for name, keys in former.items():
        now = {"chat.tree": "chat.branches", "chat.undo": "chat.undo-delete"}.get(name, name)
        assert {*keys.split(",")} <= {*split_keys(keymap[now])}


async def test_keys_of_widgets_are_remapped_and_mistakes_named(
    settings: Settings, paths: Paths
) -> None:
    keys = {"prompt.send": "f12", "transcript.edt": "x", "transcript.copy": "y"}
    changed = Settings(model=settings.model, threads=1, sampling=settings.sampling, keys=keys)
    async with opened(changed, paths, ready=False) as shown:
        await shown.until(lambda: "did you mean `transcript.edit`?" in shown.toasts)
        await shown.idle()
        shown.screen.prompt.load("Hello")
        await shown.pilot.press("f12")
        await shown.until(lambda: len(shown.messages) == 2)
        await shown.idle()
        await shown.pilot.press("alt+up", "c")
        assert shown.pilot.app.clipboard == ""
        assert shown.screen.prompt.draft.text == "c"  # a key of no message is typed
        await shown.pilot.press("alt+up", "y")
        await shown.until(lambda: shown.pilot.app.clipboard == shown.branch[1][1])
        await shown.pilot.press("escape", "f1")
        await shown.until(lambda: shown.pilot.app.screen is not shown.screen)
        lists = [item.title for item in shown.pilot.app.screen.list.shown]  # type: ignore[attr-defined]
        assert "F12" in lists
