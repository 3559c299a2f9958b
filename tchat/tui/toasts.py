"""Toasts whose time may run out at any moment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from textual.notifications import Notification

LEAST = 0.01  # seconds


@dataclass
class SafeNotification(Notification):
    """A notification that always has some time left for its toast.

    Textual looks whether one has expired and then makes a timer of the time that is left. When
    that runs out in between, or the clock is set, the timer's delay is negative, and Textual's
    timers count for ever with such a one: the program hangs.
    """

    @property
    def time_left(self) -> float:
        """Seconds until it expires, never none."""
        return max(LEAST, super().time_left)

    @property
    def has_expired(self) -> bool:
        """Whether it is to be shown no more."""
        return super().time_left <= 0


def kind_of(notification: Notification) -> str:
    """What it says, whatever the numbers in it: of one kind only the latest is shown."""
    return re.sub(r"\d[\d,.]*", "0", f"{notification.severity} {notification.message}")
