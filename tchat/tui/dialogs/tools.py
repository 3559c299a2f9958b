"""The tools: what each does, whether it is on in this session, and what new sessions begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from fnmatch import fnmatchcase
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
from tchat.tui.services.tools import ToolRow
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

ABOUT = 600  # characters of a description


SetTools = Callable[[tuple[str, ...]], Awaitable[object]]


class ToolsScreen(Dialog[None]):
    """All tools. One is turned on or off at once, for this session.

    ``change`` takes the names of those that are on; ``save`` keeps them for new sessions. When
    one raises `TchatError`, the dialog tells why, and shows nothing as changed.
    """

    HEADING: ClassVar[str] = N_("Tools")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("tools.toggle", N_("on or off")),
        Hint("tools.save", N_("default of new sessions")),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.TOOLS)]

    def __init__(
        self,
        rows: Sequence[ToolRow],
        enabled: Sequence[str],
        change: SetTools,
        save: SetTools,
    ) -> None:
        super().__init__()
        self._rows = rows
        self._enabled = tuple(enabled)
        self._change = change
        self._save = save
        self._problem = ""
        self._one_change = asyncio.Lock()  # in the order in which they were asked for
        self.list = FuzzyList(
            self._items(), placeholder=tr("Type to filter names and effects"), takes_spaces=False
        )

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self._show()
        self.list.focus()

    @on(FuzzyList.Chosen)
    def action_switch(self) -> None:
        """Turn the highlighted tool on or off."""
        if item := self.list.item:
            self._toggle(item.key)

    @background(group="tools")
    async def _toggle(self, name: str) -> None:
        async with self._one_change:
            changed = self._without(name) if self._is_on(name) else (*self._enabled, name)
            await self._set(self._change, changed)
            self._show()

    def _is_on(self, name: str) -> bool:
        """Whether the model may call a tool: by its name, or by one for all tools of a server."""
        return any(fnmatchcase(name, each) for each in self._enabled)

    def _without(self, name: str) -> tuple[str, ...]:
        """The names that are on once a tool is off: the others of its server stay on."""
        names: dict[str, None] = {}
        for each in self._enabled:
            if each != name and fnmatchcase(name, each):
                found = (row.name for row in self._rows if fnmatchcase(row.name, each))
                names |= dict.fromkeys(row for row in found if row not in (each, name))
            elif each != name:
                names[each] = None
        return tuple(names)

    @background(group="tools")
    async def action_save(self) -> None:
        """Let new sessions begin with the tools that are on."""
        async with self._one_change:
            if await self._set(self._save, self._enabled):
                names = single_line(", ".join(self._enabled)) or tr("no tool")
                self.notify(tr("New sessions begin with {names}.", names=names), markup=False)
            self._show()

    async def _set(self, way: SetTools, names: tuple[str, ...]) -> bool:
        """Whether it could be done."""
        try:
            await way(names)
        except TchatError as error:
            self._problem = single_line(str(error))
            return False
        self._enabled, self._problem = names, ""
        return True

    def _show(self) -> None:
        told = trn("{count:,} is on", "{count:,} are on", len(self._enabled))
        self.set_heading(tr(self.HEADING), f"✗ {self._problem}" if self._problem else told)
        self.list.set_items(self._items(), empty=tr("There is no such tool."))

    def _items(self) -> Iterator[Item]:
        for row in self._rows:
            is_on = self._is_on(row.name)
            about = single_line(row.about, ABOUT)
            problem = f"✗ {single_line(row.problem)}" if row.problem else ""
            yield Item(
                key=row.name,
                title=row.name,
                columns=(tr("on") if is_on else tr("off"), problem or row.effects),
                tones=("good" if is_on else "", "bad" if problem else ""),
                also=f"{row.effects} {row.about}",
                group=row.source,
                about="\n".join(filter(None, (problem, about, row.effects))),
                marked=is_on,
            )
