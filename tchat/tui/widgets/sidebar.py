"""The sidebar: sessions by day, beside the chat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from tchat.humanize import counted
from tchat.sanitize import single_line
from tchat.sessions.records import Session
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

LEAST_WIDTH = 90  # cells of the narrowest terminal with a sidebar
UNTITLED = "Untitled"
EMPTY = "No session yet."
WEEK = timedelta(days=7)


class Sidebar(Widget):
    """Sessions by day, hidden in a narrow terminal; the owner calls `fit` when its width changes.

    Attributes:
        wanted: Whether it is switched on, also where it has no room.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "leave", "From the side bar to the prompt", show=False, id="sidebar.leave"
        )
    ]
    DEFAULT_CSS = """
    Sidebar {
        width: 32;
        height: 1fr;
        background: $surface;
        padding: 0 1;
        border-right: vkey $panel;
    }
    """

    @dataclass
    class Opened(Message):
        """A session was chosen."""

        session_id: str

    @dataclass
    class Left(Message):
        """The user left; the focus belongs elsewhere."""

    def __init__(self, *, wanted: bool = False) -> None:
        super().__init__()
        self.wanted = wanted
        self._fits = True
        self._list = FuzzyList(placeholder="Sessions", empty=EMPTY)
        self.display = wanted

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, sessions: Sequence[Session], current: str = "", now: float = 0) -> None:
        """Show ``sessions``; ``current`` and ``now`` as in `session_items`."""
        items = session_items(sessions, current, now, columns=False)
        self._list.set_items(items, cursor=None if self.has_focus_within else current)

    def toggle(self) -> bool:
        """Switch it on or off; return whether it is visible."""
        self.wanted = not self.wanted
        return self._apply()

    def fit(self, width: int) -> bool:
        """Fit a terminal of ``width`` cells; return whether it is visible."""
        self._fits = width >= LEAST_WIDTH
        return self._apply()

    def focus(self, scroll_visible: bool = True) -> Sidebar:
        """Give the focus to the filter."""
        self._list.focus(scroll_visible)
        return self

    def action_leave(self) -> None:
        """Leave the sidebar."""
        self.post_message(self.Left())

    def _apply(self) -> bool:
        visible = self.wanted and self._fits
        if self.display and not visible and self.has_focus_within:
            self.post_message(self.Left())
        self.display = visible
        return visible

    @on(FuzzyList.Chosen)
    def _open(self, event: FuzzyList.Chosen) -> None:
        event.stop()
        self.post_message(self.Opened(event.item.key))

    @on(FuzzyList.Highlighted)
    @on(FuzzyList.Filtered)
    def _keep(self, event: Message) -> None:
        event.stop()


def session_items(
    sessions: Sequence[Session], current: str = "", now: float = 0, *, columns: bool = True
) -> Iterator[Item]:
    """One item for each session, under the day of its last message.

    Args:
        sessions: In the order shown.
        current: The id of the open session.
        now: Seconds since the epoch; 0 reads the clock.
        columns: Whether to show the time and the number of messages.
    """
    today = local_time(now or time.time())
    for session in sessions:
        used = local_time(session.updated_at)
        count = counted(session.messages, "message")
        yield Item(
            key=session.id,
            title=single_line(session.title) or UNTITLED,
            columns=(clock_text(used, today), f"{count:>12}") if columns else (),
            group=day_text(used, today),
            marked=session.id == current,
        )


def day_text(used: datetime | None, today: datetime | None) -> str:
    """The name of a day: ``Today``, ``Yesterday``, ``Friday``, ``12 March 2026``."""
    if used is None or today is None:
        return "Some time"
    age = today.date() - used.date()
    if age <= timedelta(0):
        return "Today"
    if age == timedelta(days=1):
        return "Yesterday"
    return f"{used:%A}" if age < WEEK else f"{used.day} {used:%B %Y}"


def clock_text(used: datetime | None, today: datetime | None) -> str:
    """The time within the last week, else the date; always as wide."""
    if used is None or today is None:
        return ""
    recent = today.date() - used.date() < WEEK
    return f"{used:%a %H:%M}" if recent else f"{used:%d %b %y}"


def local_time(seconds: float) -> datetime | None:
    """The local time; None outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return None
