"""Every key of tchat is in the help once, from its own declaration, and can be changed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter

from textual.binding import Binding
from textual.dom import DOMNode

import tchat.tui
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.help import help_items
from tchat.tui.keymap import ALL_BINDINGS, remap
from tchat.tui.keys import Scope
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
    assert set(shown) == {binding.id for _, binding in own_bindings()}


def test_the_defaults_do_not_clash() -> None:
    for scope in (Scope.CHAT, Scope.PROMPT, Scope.MESSAGES):
        own = [key for each in ALL_BINDINGS if each.scope == scope for key in each.keys.split(",")]
        assert len(set(own)) == len(own)


def test_a_prompts_key_can_be_remapped_and_clashes_are_told() -> None:
    keymap, problems = remap({"prompt.newline": "f12", "prompt.editor": "ctrl+r"}, ALL_BINDINGS)
    assert keymap == {"prompt.newline": "f12"}
    assert "belongs to `chat.sessions`" in problems[0]


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
