"""Keys in the order typed, also when several arrive at once."""

from __future__ import annotations

from textual.events import Key
from textual.widget import Widget


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
