"""The sessions at the side of the chat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.sessions.records import Session
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

LEAST_WIDTH = 90  # cells of the terminal under which there is no room for it
UNTITLED = "Untitled"
EMPTY = "No session yet."
WEEK = timedelta(days=7)


class Sidebar(Widget):
    """Sessions by day. It folds away where the terminal is narrow, and says what was opened.

    The owner calls `fit` when the terminal's width changes.
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
        """The user is done here; the focus belongs elsewhere."""

    def __init__(self, *, wanted: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._wanted = wanted
        self._fits = True
        self._list = FuzzyList(placeholder="Sessions", empty=EMPTY)
        self.display = wanted

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, sessions: Sequence[Session], current: str = "", now: float = 0) -> None:
        """Show these sessions, the latest first.

        Args:
            sessions: In the order in which they are shown.
            current: The id of the open one.
            now: Seconds since the epoch; 0 is the clock's.
        """
        items = session_items(sessions, current, now, columns=False)
        self._list.set_items(items, cursor=None if self.has_focus_within else current)

    def toggle(self) -> bool:
        """Switch it on or off; whether it can be seen now."""
        self._wanted = not self._wanted
        return self._apply()

    def fit(self, width: int) -> bool:
        """Fold or unfold for a terminal of ``width`` cells; whether it can be seen now."""
        self._fits = width >= LEAST_WIDTH
        return self._apply()

    @property
    def wanted(self) -> bool:
        """Whether it is switched on, also where it has no room."""
        return self._wanted

    def focus(self, scroll_visible: bool = True) -> Sidebar:
        """Give the focus to the filter."""
        self._list.focus(scroll_visible)
        return self

    def action_leave(self) -> None:
        """Give the focus back."""
        self.post_message(self.Left())

    def _apply(self) -> bool:
        visible = self._wanted and self._fits
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
        sessions: In the order in which they are shown.
        current: The id of the open one.
        now: Seconds since the epoch; 0 is the clock's.
        columns: Whether there is room for the number of messages and the time.
    """
    today = local_time(now or time.time())
    for session in sessions:
        used = local_time(session.updated_at)
        count = f"{session.messages:,} message{'s' * (session.messages != 1)}"
        yield Item(
            key=session.id,
            title=single_line(session.title) or UNTITLED,
            columns=(clock_text(used, today), f"{count:>12}") if columns else (),
            group=day_text(used, today),
            marked=session.id == current,
        )


def day_text(used: datetime | None, today: datetime | None) -> str:
    """The day as people call it: ``Today``, ``Yesterday``, ``Friday``, ``12 March 2026``."""
    if used is None or today is None:
        return "Some time"
    age = today.date() - used.date()
    if age <= timedelta(0):
        return "Today"
    if age == timedelta(days=1):
        return "Yesterday"
    return f"{used:%A}" if age < WEEK else _date_text(used.date())


def clock_text(used: datetime | None, today: datetime | None) -> str:
    """The time of a day of this week, else the date; in as many cells for all."""
    if used is None or today is None:
        return ""
    recent = today.date() - used.date() < WEEK
    return f"{used:%a %H:%M}" if recent else f"{used:%d %b %y}"


def _date_text(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def local_time(seconds: float) -> datetime | None:
    """The local time; None when no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return None
