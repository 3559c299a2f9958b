"""The MCP servers of the chat: what each does, its tools, what is wrong; and how to start it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from tchat.errors import TchatError
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.tools import ServerRow
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

LOOK_EVERY = 1.0  # seconds between two looks at the servers
TOOLS = 1_000  # characters of the names of tools


class ServersScreen(Dialog[None]):
    """All servers, as they are now. ``look`` reads them; ``restart`` takes the name of one."""

    HEADING: ClassVar[str] = N_("MCP servers")
    HINTS: ClassVar[tuple[Hint, ...]] = (CLOSE,)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.SERVERS)]

    def __init__(
        self,
        rows: Sequence[ServerRow],
        look: Callable[[], Awaitable[Sequence[ServerRow]]],
        restart: Callable[[str], Awaitable[object]],
    ) -> None:
        super().__init__()
        self._rows = rows
        self._look = look
        self._restart = restart
        self._starting: set[str] = set()
        self.list = FuzzyList(self._items())

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Keep looking."""
        self._show()
        self.list.focus()
        self.set_interval(LOOK_EVERY, self._refresh)

    @background(group="servers", exclusive=True)
    async def _refresh(self) -> None:
        rows = await self._look()
        if rows != self._rows:
            self._rows = rows
            self._show()

    @on(FuzzyList.Highlighted)
    def tell_keys(self) -> None:
        """Show what the key does to the highlighted server."""
        item = self.list.item
        row = next((row for row in self._rows if item and row.name == item.key), None)
        if row is None:
            self.show_hints(self.HINTS)
        else:
            does = N_("start again") if row.is_started or row.error else N_("start")
            self.show_hints((Hint("servers.restart", does), *self.HINTS))

    @on(FuzzyList.Chosen)
    def action_restart(self) -> None:
        """Start the highlighted server again."""
        if item := self.list.item:
            self._start(item.key)

    @background(group="restart")
    async def _start(self, name: str) -> None:
        if name in self._starting:
            return
        self._starting.add(name)
        try:
            await self._restart(name)
        except TchatError as error:
            self.notify(single_line(str(error)), severity="error", markup=False)
        finally:
            self._starting.discard(name)
        self._refresh()

    def _show(self) -> None:
        count = len(self._rows)
        self.set_heading(
            tr(self.HEADING),
            trn("{count:,} MCP server", "{count:,} MCP servers", count) if count else "",
        )
        empty = tr("No MCP server is set up: `tchat mcp add NAME` adds one.")
        self.list.set_items(self._items(), empty=empty)
        self.tell_keys()

    def _items(self) -> Iterator[Item]:
        for row in self._rows:
            tools = trn("{count:,} tool", "{count:,} tools", len(row.tools))
            names = single_line(", ".join(row.tools), TOOLS)
            left_out = (tr("left out: {tool}", tool=single_line(each)) for each in row.left_out)
            error = f"✗ {single_line(row.error)}" if row.error else ""
            yield Item(
                key=row.name,
                title=row.name,
                columns=(row.state, error or (tools if row.tools else ""), row.transport),
                tones=("bad" if error else "", "bad" if error else "", ""),
                about="\n".join(filter(None, (error, names, *left_out))),
            )
