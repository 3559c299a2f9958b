"""Keys in the order typed, also when several arrive at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from textual.app import App
from textual.events import Key
from textual.widget import Widget
from textual.worker import Worker

PATIENCE = 2.0  # seconds at most that a key waits for those typed before it
LOOK = 0.005  # seconds between two looks at a dialog that opens


class OpeningDialog:
    """The dialog that the last key opens: what is typed behind that key belongs to it.

    A dialog is opened by a worker of the group ``dialog``, which may read files first.
    """

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._begun: frozenset[Worker[Any]] = frozenset()
        self._depth = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around what a key does: note which dialog it opens."""
        before, self._depth = self._workers(), len(self._app.screen_stack)
        yield
        self._begun = self._workers() - before

    @property
    def is_awaited(self) -> bool:
        """Whether it takes no keys yet."""
        if not self._app.screen.is_mounted:
            return True
        if len(self._app.screen_stack) > self._depth:
            return False
        return any(not worker.is_finished for worker in self._begun)

    async def wait(self) -> None:
        """Wait until it takes keys, or does not open after all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self.is_awaited:
                    await asyncio.sleep(LOOK)
        self._begun = frozenset()

    def _workers(self) -> frozenset[Worker[Any]]:
        return frozenset(
            each for each in self._app.workers if each.group == "dialog" and not each.is_finished
        )


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
