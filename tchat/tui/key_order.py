"""Keys in the order typed, also when several arrive at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual.app import App
from textual.events import Key
from textual.widget import Widget

PATIENCE = 2.0  # seconds at most that a key waits for those typed before it


async def let_earlier_keys_act(app: App[None], key: str) -> None:
    """Before the app carries out a priority ``key``: wait until the keys before it have acted.

    They wait in the queue of what has the focus, and what comes of them in those of its parents.
    """
    focused = app.focused
    if focused is None or len(key) == 1 or not _has_priority(app, key):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            for node in focused.ancestors_with_self:
                acted = asyncio.Event()
                if node is not app and node.call_later(acted.set):
                    await acted.wait()


def _has_priority(app: App[None], key: str) -> bool:
    return any(
        binding.priority
        for _, bindings in app.screen._modal_binding_chain
        for binding in bindings.key_to_bindings.get(key, ())
    )


async def carry_out_binding(widget: Widget, event: Key, *, only_own: bool = False) -> bool:
    """Carry out what ``event`` is bound to from ``widget`` upwards; whether it was bound.

    With ``only_own`` the bindings of its parents are left alone. For the ``_on_key`` of a widget
    that takes text. Textual looks for a binding only when the key has bubbled through the queues
    of all parents to the app; the keys typed after it have changed the text by then.
    """
    for node, bindings in widget.screen._modal_binding_chain:
        if only_own and node is not widget:
            continue
        for binding in bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority and await widget.app.run_action(binding.action, node):
                event.prevent_default()
                event.stop()
                return True
    return False
