"""Which turn runs, and what it writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tchat.tui.turn_progress import Progress

if TYPE_CHECKING:
    from tchat.engine.cancel import Request
    from tchat.tui.services.conversation import Act


class TurnState:
    """The turn under way, or that of before.

    Attributes:
        progress: What the status line says of it.
        idle: Set while the engine does nothing for the screen.
        request: Stops the turn.
        act: What the turn does.
        reply: The id of the reply that it writes; None before there is one.
        switching: How many are opening another session or model, or wait to do so.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self.idle = asyncio.Event()
        self.idle.set()
        self.request: Request | None = None
        self.act: Act | None = None
        self.reply: int | None = None
        self.switching = 0

    @property
    def is_running(self) -> bool:
        """Whether the engine works for the screen."""
        return not self.idle.is_set()

    @property
    def is_busy(self) -> bool:
        """Whether no turn can begin: one runs, or another session is being opened."""
        return self.is_running or self.switching > 0
