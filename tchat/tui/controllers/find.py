"""Finding text in the messages of the open session, and the line that shows the message cursor."""

from __future__ import annotations

import asyncio
import time

from rich.cells import cell_len

from tchat.translation import N_, tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.widgets.transcript.entry import Key
from tchat.tui.widgets.transcript.find import Hit, Query
from tchat.tui.widgets.transcript.message_bar import MessageBar

AROUND = 5  # cells around the mode, the count and the keys
SLICE = 0.008  # seconds of searching between two turns of the event loop
# The keys that are shown, and how long each is kept where there is no room for all.
_HINTS = (
    ("transcript.find", N_("find"), 8),
    ("transcript.copy", N_("copy"), 7),
    ("transcript.stop", N_("stop"), 10),
    ("transcript.edit", N_("edit"), 6),
    ("transcript.regenerate", N_("regenerate"), 5),
    ("transcript.branch", N_("branch"), 4),
    ("transcript.delete", N_("delete"), 2),
    ("transcript.pin", N_("pin"), 1),
    ("transcript.fold", N_("fold"), 3),
    ("transcript.leave", N_("leave"), 11),
)
_WHILE_WRITTEN = ("transcript.find", "transcript.copy", "transcript.stop", "transcript.leave")
_OF_STEPS = (
    *("transcript.find", "transcript.copy", "transcript.delete"),
    *("transcript.fold", "transcript.leave"),
)
_ALL = tuple(each for each, _, _ in _HINTS if each != "transcript.stop")


class FindController:
    """Finds text as it is typed, and goes from one place to the next."""

    def __init__(self, context: ChatContext, transcript: TranscriptController) -> None:
        self.screen = context.screen
        self._context = context
        self._transcript = transcript
        self._bar: MessageBar | None = None
        self._query: Query | None = None
        self._hits: list[Hit] = []
        self._searched = -1  # the revision of the messages that were searched
        self._at = 0
        self._origin: Key | None = None  # where the cursor was when the search began
        self._from_prompt = False  # whether there was none
        self._mounting = asyncio.Lock()

    @property
    def is_typed(self) -> bool:
        """Whether the text to be found has the focus."""
        return self._bar is not None and self._bar.has_focus_within

    async def show_cursor(self, key: Key | None) -> None:
        """Show the keys of the message cursor while it is on a message."""
        if key is None:
            self._forget()
            if self._bar is not None:
                self._bar.display = False
            return
        bar = await self._mounted()
        bar.display = True
        self.refresh_keys()

    def refresh_keys(self) -> None:
        """Show the keys that work with the message under the cursor now."""
        if self._bar is not None and self._bar.display and not self.is_typed:
            self._bar.show_keys(self._keys())

    # The keys typed after one that opens a dialog wait for it, and so they do here.
    @background(group="dialog", exclusive=True)
    async def open_anywhere(self) -> None:
        """Begin where no message is selected too: at the last one in view."""
        view = self._transcript.view
        if not view.display:  # several replies are shown in its place
            self._context.notify(tr("Choose one of the replies first."))
            return
        is_first = view.cursor is None
        if is_first:
            view.move_cursor(-1)
        if view.cursor is None:
            self._context.notify(tr("There is no message yet."))
            return
        await self.show_cursor(view.cursor)
        await self._edit()
        self._from_prompt = is_first

    @background(group="dialog", exclusive=True)
    async def open(self) -> None:
        """Let the user type what is to be found."""
        await self._edit()

    async def _edit(self) -> None:
        self._origin, self._from_prompt = self._transcript.view.cursor, False
        bar = await self._mounted()
        bar.clear()
        bar.edit()

    def close(self, *, entered: bool) -> None:
        """The text was entered, or the search was left: back to the messages."""
        view, bar = self._transcript.view, self._bar
        if not entered or not (bar and bar.text.strip()):
            self._forget()
            if self._from_prompt:
                view.leave()
                view.follow()
                self._context.prompt.focus_at_once()
                return
            if self._origin is not None and view.has(self._origin):
                view.point_at(self._origin)
        if bar is not None:
            self._show_count()
            bar.show_keys(self._keys())
        self.screen.set_focus(view)  # before the next event, which `focus` leaves to a turn

    @background(group="find", exclusive=True)
    async def search(self, text: str) -> None:
        """Find ``text``, and go to the first place from the message on that the cursor was on."""
        if not text.strip():
            self._query, self._hits = None, []
            self._transcript.view.mark(None, None)
            self._show_count()
            return
        await asyncio.sleep(0)  # the next character may be there
        self._query = Query(text)
        await self._search()
        view = self._transcript.view
        origin = self._origin
        first = view.column.place(origin) if origin is not None and view.has(origin) else 0
        places = (n for n, hit in enumerate(self._hits) if view.column.place(hit.key) >= first)
        self._at = next(places, 0)
        self._go()

    @background(group="find", exclusive=True)
    async def step(self, count: int) -> None:
        """Go ``count`` places on, from the last to the first."""
        if self._query is None:
            await self._edit()
            return
        if self._searched != self._transcript.view.column.revision:
            before = self._hits[self._at] if self._hits else None
            await self._search()
            self._at = self._hits.index(before) if before in self._hits else 0
        if self._hits:
            self._at = (self._at + count) % len(self._hits)
        self._go()

    async def _search(self) -> None:
        """Search all messages, in slices, so that the screen does not freeze."""
        column, query = self._transcript.view.column, self._query
        assert query is not None  # noqa: S101 - the callers set it
        while True:
            revision, hits = column.revision, list[Hit]()
            until = time.monotonic() + SLICE
            for entry in list(column.entries()):
                hits += query.hits(entry)
                if time.monotonic() > until:
                    await asyncio.sleep(0.001)
                    until = time.monotonic() + SLICE
            # While a reply is written, messages change all the time.
            if revision == column.revision or self._context.turn_state.is_busy:
                break
        self._hits = [hit for hit in hits if hit.key in column]
        self._searched = revision

    def _go(self) -> None:
        """Show the place that was reached."""
        hit = self._hits[self._at] if self._hits else None
        self._transcript.view.mark(self._query, hit)
        self._show_count()

    def _show_count(self) -> None:
        """Show how much was found, and the keys that have room beside it."""
        if self._bar is None:
            return
        count = ""
        if self._query is not None:
            found = tr("{number:,} of {count:,}", number=self._at + 1, count=len(self._hits))
            count = found if self._hits else tr("not found")
        self._bar.show_count(count)
        self.refresh_keys()

    def _forget(self) -> None:
        if self._query is not None:
            self._query, self._hits = None, []
            self._transcript.view.mark(None, None)
        if self._bar is not None:
            self._bar.clear()

    async def _mounted(self) -> MessageBar:
        async with self._mounting:
            if self._bar is None:
                self._bar = MessageBar()
                self._bar.display = False
                await self.screen.query_one("#messages").mount(self._bar)
        return self._bar

    def _keys(self) -> str:
        keys = {each.id: each.shown_keys for each in self._context.keys_in_force()}
        view = self._transcript.view
        written = view.cursor is not None and view.entry(view.cursor).status == "streaming"
        acting = _WHILE_WRITTEN if written else _ALL
        if view.cursor is not None and view.entry(view.cursor).step is not None:
            acting = _OF_STEPS
        hints = [
            (keep, f"{keys[each][0]} {tr(does)}")
            for each, does, keep in _HINTS
            if keys.get(each) and each in acting
        ]
        room = self.screen.query_one("#messages").size.width - cell_len(tr("MESSAGES")) - AROUND
        room -= self._bar.count_width if self._bar is not None else 0
        while hints and cell_len(shown := "  ".join(hint for _, hint in hints)) > room:
            hints.remove(min(hints))
        return shown if hints else ""
