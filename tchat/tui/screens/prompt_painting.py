"""A screen on which a key is seen at once, whatever else is being drawn."""

from __future__ import annotations

import time

from textual import events
from textual.screen import Screen

from tchat.tui.partial_compositor import PartialCompositor

BETWEEN = 0.01  # seconds between two paintings out of turn: a burst of keys is painted together


class PromptPainting(Screen[None]):
    """Paints what has the focus as soon as it changed.

    Textual paints 60 times a second and not more often. Beside a reply that is drawn all the time
    a key would wait for the next turn or the one after it: up to 31 ms, 13 in the middle.
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = PartialCompositor()
        self._painted = 0.0

    async def _on_idle(self, event: events.Idle) -> None:
        if self.focused in self._dirty_widgets:
            now = time.monotonic()
            if now - self._painted >= BETWEEN:
                self._painted = now
                event.prevent_default()
                self._on_timer_update()
                return
        await super()._on_idle(event)
