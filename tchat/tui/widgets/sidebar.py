"""The sidebar: sessions by day, beside the chat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.sessions.records import Session
from tchat.translation import N_, tr, trn
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

LEAST_WIDTH = 90  # cells of the narrowest terminal with a sidebar
WIDE = 150  # cells of a terminal in which it opens by itself
UNTITLED = N_("Untitled")
EMPTY = N_("No sessions yet.")
WEEK = timedelta(days=7)
WEEKDAYS = (
    N_("Monday"),
    N_("Tuesday"),
    N_("Wednesday"),
    N_("Thursday"),
    N_("Friday"),
    N_("Saturday"),
    N_("Sunday"),
)
SHORT_WEEKDAYS = (
    N_("Mon"),
    N_("Tue"),
    N_("Wed"),
    N_("Thu"),
    N_("Fri"),
    N_("Sat"),
    N_("Sun"),
)


class Sidebar(Widget):
    """Sessions by day, hidden in a narrow terminal; the owner calls `fit` when its width changes.

    Attributes:
        wanted: Whether the user wants it, also where it has no room; None until he toggles it, and
            it is visible in a wide terminal.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", N_("Back to the prompt"), show=False, id="sidebar.leave")
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

    def __init__(self, *, wanted: bool | None = None) -> None:
        super().__init__()
        self.wanted = wanted
        self._width = LEAST_WIDTH
        self._list = FuzzyList(placeholder=tr("Sessions"), empty=tr(EMPTY))
        self.display = bool(wanted)

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._list

    def show(self, sessions: Sequence[Session], current: str = "", now: float = 0) -> None:
        """Show ``sessions``; ``current`` and ``now`` as in `session_items`."""
        items = session_items(sessions, current, now, columns=False)
        self._list.set_items(items, cursor=None if self.has_focus_within else current)

    def toggle(self) -> bool:
        """Switch it on or off; return whether it is visible."""
        self.wanted = not (self.display if self.wanted is None else self.wanted)
        return self._apply()

    def fit(self, width: int) -> bool:
        """Fit a terminal of ``width`` cells; return whether it is visible."""
        self._width = width
        return self._apply()

    def focus(self, scroll_visible: bool = True) -> Sidebar:
        """Give the focus to the filter."""
        self._list.focus(scroll_visible)
        return self

    def action_leave(self) -> None:
        """Leave the sidebar."""
        self.post_message(self.Left())

    def _apply(self) -> bool:
        wanted = self._width >= WIDE if self.wanted is None else self.wanted
        visible = wanted and self._width >= LEAST_WIDTH
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
        count = trn("{count:,} message", "{count:,} messages", session.messages)
        padding = " " * (12 - cell_len(count))
        yield Item(
            key=session.id,
            title=single_line(session.title) or tr(UNTITLED),
            columns=(clock_text(used, today), padding + count) if columns else (),
            group=day_text(used, today),
            marked=session.id == current,
        )


def day_text(used: datetime | None, today: datetime | None) -> str:
    """The name of a day: ``Today``, ``Yesterday``, ``Friday``, ``2026-03-12``."""
    if used is None or today is None:
        return tr("Some time")
    age = today.date() - used.date()
    if age <= timedelta(0):
        return tr("Today")
    if age == timedelta(days=1):
        return tr("Yesterday")
    return tr(WEEKDAYS[used.weekday()]) if age < WEEK else f"{used:%Y-%m-%d}"


def clock_text(used: datetime | None, today: datetime | None) -> str:
    """The weekday and the time within the last week, else the date."""
    if used is None or today is None:
        return ""
    recent = today.date() - used.date() < WEEK
    return f"{tr(SHORT_WEEKDAYS[used.weekday()])} {used:%H:%M}" if recent else f"{used:%Y-%m-%d}"


def used_text(seconds: float, now: float = 0) -> str:
    """When a session was used: the time of today, else the day."""
    used, today = local_time(seconds), local_time(now or time.time())
    is_today = used is not None and today is not None and used.date() == today.date()
    return f"{used:%H:%M}" if is_today else day_text(used, today)


def local_time(seconds: float) -> datetime | None:
    """The local time; None outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return None
