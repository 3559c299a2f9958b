"""The status line: what the turn, the model and the downloads are at."""

from __future__ import annotations

import os

from tchat.models.files import short_model_name
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.turn_state import TurnState
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets.status import EmptyState, StatusData, StatusLine


class StatusController:
    """Draws the status line from what it is given.

    Attributes:
        capacity: Tokens that the context holds; 0 before the model is loaded.
    """

    def __init__(self, context: ChatContext, turn: TurnState, downloads: Downloads) -> None:
        self.capacity = 0
        self._context = context
        self._turn = turn
        self._downloads = downloads
        self._model = ""
        self._quantization = ""

    def data(self) -> StatusData:
        """What the status line says."""
        context = self._context
        ready = context.is_ready
        return StatusData(
            state=self._turn.progress.state,
            used=self._turn.progress.used,
            unstored=ready and context.conversation.failure is not None,
            model=self._model or short_model_name(context.settings.model),
            quantization=self._quantization,
            device=context.conversation.device if ready else "",
            context=self.capacity,
            offline=bool(os.environ.get("HF_HUB_OFFLINE")),
            pulling=self._downloads.words,
            private=context.private,
        )

    def refresh(self) -> None:
        """Draw the status line."""
        self._context.screen.query_one(StatusLine).show(self.data())

    def refresh_model(self) -> None:
        """Draw the status line, and what the empty chat says, with the model that is loaded now."""
        facts = self._context.conversation.facts
        if facts is not None:
            from tchat.tui.model_rows import model_label

            self._model, self._quantization = model_label(facts), facts.quantization
        self.refresh()
        self._context.screen.query_one(EmptyState).show(
            self._model, self._quantization, self._context.conversation.device
        )
