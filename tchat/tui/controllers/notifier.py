"""Notifies a user who looks elsewhere that a long turn is over, or that something waits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.controllers.context import ChatContext
from tchat.tui.textual_patches import driver_of

LONG_TURN = 10.0  # seconds from which a turn is worth it
TITLE = 60  # characters of the session's title


class Notifier:
    """Measures turns; at the end of a long one in a terminal without the focus, it notifies.

    A terminal that reports no focus (mode 1004) counts as looked at.
    """

    def __init__(self, context: ChatContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._started = 0.0

    def start_turn(self) -> None:
        """A turn starts."""
        self._started = self._clock()

    def end_turn(self) -> None:
        """A turn is over that the user did not stop."""
        if self._clock() - self._started >= LONG_TURN:
            self.notify(tr("the reply is done"))

    def notify(self, text: str) -> None:
        """Tell ``text``, with the title of the session, unless the terminal has the focus.

        Of a locked chat, only that something happened.
        """
        app, settings = self._context.screen.app, self._context.settings
        if app.app_focus:
            return
        from tchat.tui.notifications import notification

        session = self._context.conversation.session
        if self._context.is_locked:
            text = tr("the chat is locked")
        elif session is not None and not self._context.private:
            text += f": {single_line(session.title, TITLE)}"
        sequence = notification(settings.notify, text, os.environ)
        driver = driver_of(app)
        if sequence and driver is not None:
            driver.write(sequence)
