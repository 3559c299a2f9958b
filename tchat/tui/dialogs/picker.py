"""Choosing one thing out of many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.widgets.fuzzy_item import Item
from tchat.tui.widgets.fuzzy_list import FuzzyList


class Picker(Dialog[str]):
    """A list with a filter. It ends with the key of the item chosen, or None.

    Args:
        heading: The title of the box.
        items: What can be chosen.
        cursor: The key of the item to begin at.
        empty: What is said when there is nothing to choose from.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "choose"), CLOSE)

    def __init__(
        self,
        heading: str,
        items: Iterable[Item],
        *,
        cursor: str = "",
        empty: str = "There is nothing to choose from.",
        placeholder: str = "Type to filter",
    ) -> None:
        super().__init__()
        self._heading = heading
        self.list = FuzzyList(items, cursor=cursor, empty=empty, placeholder=placeholder)

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.set_heading(self._heading)
        self.list.focus()

    def choose(self, key: str) -> None:
        """End with the item of this key."""
        self.finish(key)

    @on(FuzzyList.Chosen)
    def _choose(self, event: FuzzyList.Chosen) -> None:
        self.choose(event.item.key)
