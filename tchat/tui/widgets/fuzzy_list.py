"""A list with a filter above it: type to narrow it down, arrows to move, Enter to choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Key
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tchat.translation import N_, tr
from tchat.tui.textual_patches import carry_out_binding
from tchat.tui.widgets.fuzzy_match import Match, match
from tchat.tui.widgets.item_columns import ListHead, TableColumn
from tchat.tui.widgets.item_view import CURSOR, Item, ItemView, Line, one_line, safe

# Distance of a match outside the title: where words begin, before the inside of words of the title;
# elsewhere, before letters that stand apart in it.
NAMED, ELSEWHERE = 2, 5
MOST = 500  # items shown behind a filter


class Filter(Input):
    """The input above a list; what is typed or pasted is made printable.

    Attributes:
        takes_spaces: Whether a space is typed; else it is a key of the dialog.
    """

    takes_spaces = True

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Whether a key is typed here, and none of the dialog."""
        return (self.takes_spaces or key != "space") and super().check_consume_key(key, character)

    def validate_value(self, value: str) -> str:
        """``value`` made printable."""
        return one_line(value)

    async def _on_key(self, event: Key) -> None:
        """Edit in the order typed; the dialog gets the key after that."""
        await carry_out_binding(self, event, only_own=True)


class LineEditor(Input):
    """The input for a text of an item, on the line of the item."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", N_("Cancel"), show=False, id="list.leave")
    ]

    @dataclass
    class Left(Message):
        """The user cancelled."""

    def validate_value(self, value: str) -> str:
        """As in `Filter`."""
        return one_line(value)

    async def _on_key(self, event: Key) -> None:
        """As in `Filter`."""
        await carry_out_binding(self, event, only_own=True)

    def action_leave(self) -> None:
        """Cancel."""
        self.post_message(self.Left())

    def on_blur(self) -> None:
        """Cancel on a click elsewhere."""
        self.post_message(self.Left())


class FuzzyList(Widget):
    """A filter, a list, and a text about the highlighted item.

    Textual's `OptionList` measures every option before it draws, and has neither columns that
    fold nor a line that can be edited; this one draws 10,000 items as fast as ten.

    Args:
        items: In the order shown without a filter.
        cursor: The key of the item to begin at.
        placeholder: The text of the empty filter; without one, "Type to filter".
        empty: The text of the empty list; without one, it says that nothing is there.
        matching: Whether the list filters its items; otherwise it only posts `Filtered`.
        table: The columns of a list with a head; the first one is the title of the items.
        takes_spaces: Whether the filter takes spaces; else the dialog has a key for them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+p", "move(-1)", N_("One up"), show=False, id="list.up"),
        Binding("down,ctrl+n", "move(1)", N_("One down"), show=False, id="list.down"),
        Binding("pageup", "page(-1)", N_("A page up"), show=False, id="list.page-up"),
        Binding("pagedown", "page(1)", N_("A page down"), show=False, id="list.page-down"),
        Binding("ctrl+home", "move(-1000000)", N_("The first"), show=False, id="list.first"),
        Binding("ctrl+end", "move(1000000)", N_("The last"), show=False, id="list.last"),
    ]
    DEFAULT_CSS = """
    FuzzyList {
        height: 1fr;
        & > Filter { margin: 0 0 1 0; background: $panel; }
        & > Filter.-textual-compact { padding: 0 2; }
        & > LineEditor {
            position: absolute;
            margin: 0;
            background: $panel;
            &.-textual-compact { padding: 0; }
        }
        & > .about { height: auto; max-height: 3; color: $muted; padding: 0 2; margin-top: 1; }
        & > .about.-unused { display: none; }
    }
    """

    Highlighted: TypeAlias = ItemView.Highlighted
    Chosen: TypeAlias = ItemView.Chosen

    @dataclass
    class Edited(Message):
        """The user changed a text of the item to ``text``; see `edit`."""

        item: Item
        text: str

    @dataclass
    class Filtered(Message):
        """The text of the filter changed."""

        query: str

    def __init__(
        self,
        items: Iterable[Item] = (),
        *,
        cursor: str = "",
        placeholder: str = "",
        empty: str = "",
        matching: bool = True,
        table: Sequence[TableColumn] = (),
        takes_spaces: bool = True,
    ) -> None:
        super().__init__()
        self._items = tuple(map(safe, items))
        self._begin = cursor
        self._empty = empty or tr("There is nothing here.")
        self._matching = matching
        self._filter = Filter(placeholder=placeholder or tr("Type to filter"), compact=True)
        self._filter.takes_spaces = takes_spaces
        self._view = ItemView(table)
        self.head = ListHead(table)
        self.head.display = bool(table)
        self._about = Static(classes="about", markup=False)
        self._editor: LineEditor | None = None

    def compose(self) -> ComposeResult:
        """Filter, list, and the text about an item."""
        yield self._filter
        yield self.head
        yield self._view
        yield self._about

    def on_mount(self) -> None:
        """Show the items, and the cursor where the keys go."""
        self._view.light(self.has_focus_within)
        self._show(self._begin)

    @property
    def item(self) -> Item | None:
        """The highlighted item."""
        return self._view.item

    @property
    def shown(self) -> list[Item]:
        """The items that match the filter, in the order shown."""
        return self._view.shown

    @property
    def query_text(self) -> str:
        """The text of the filter."""
        return self._filter.value

    @property
    def editing(self) -> bool:
        """Whether a text of an item is being changed."""
        return self._editor is not None

    def focus(self, scroll_visible: bool = True) -> FuzzyList:
        """Give the focus to the filter."""
        self._filter.focus(scroll_visible)
        return self

    def set_items(
        self,
        items: Iterable[Item],
        *,
        cursor: str | None = None,
        empty: str | None = None,
        matching: bool | None = None,
        placeholder: str | None = None,
    ) -> None:
        """Replace the items, and what else is given; the cursor stays on its item if it can."""
        stay = self._view.item.key if self._view.item else ""
        self._items = tuple(map(safe, items))
        self._empty = self._empty if empty is None else empty
        self._matching = self._matching if matching is None else matching
        if placeholder is not None:
            self._filter.placeholder = placeholder
        self._show(stay if cursor is None else cursor)

    def set_query(self, query: str) -> None:
        """Set the text of the filter, as if it were typed."""
        self._filter.value = query
        self._filter.cursor_position = len(query)

    def set_about(self, about: Content) -> None:
        """Replace the text about the highlighted item until the cursor moves; it is shown as is."""
        self._about.update(about)

    def highlight_again(self) -> None:
        """Post `Highlighted` for the item under the cursor again."""
        self._view.post_message(self.Highlighted(self._view.item))

    async def edit(self, text: str | None = None, *, behind_title: bool = False) -> None:
        """Let the user change a text on the line of the highlighted item.

        Args:
            text: The text to change; None is the title.
            behind_title: Whether the input covers the columns, not the title.
        """
        if self._view.item is None or self._editor is not None:
            return
        editor = LineEditor(self._view.item.title if text is None else text, compact=True)
        place = self._view.offset_at_cursor(behind_title=behind_title)
        editor.styles.offset = (place.x, self._view.virtual_region.y + place.y)
        editor.styles.width = self._view.size.width - place.x
        self._editor = editor
        await self.mount(editor)
        editor.focus()

    def on_descendant_focus(self) -> None:
        """Show the cursor."""
        self._view.light(True)

    def on_descendant_blur(self) -> None:
        """Hide the cursor: Enter goes elsewhere."""
        self._view.light(self.has_focus_within)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what was typed."""
        event.stop()
        if event.input is not self._filter:
            return
        if self._matching:
            self._show(self._begin if not event.value else "")
        self.post_message(self.Filtered(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose the highlighted item, or take its changed title."""
        event.stop()
        if item := self._view.item:
            chosen = event.input is self._filter
            self.post_message(self.Chosen(item) if chosen else self.Edited(item, event.value))
        self._end_edit()

    def on_line_editor_left(self, event: LineEditor.Left) -> None:
        """End the edit."""
        event.stop()
        self._end_edit()

    def _end_edit(self) -> None:
        if self._editor is not None:
            self._editor.remove()
            self._editor = None
            self._filter.focus()

    def on_fuzzy_list_highlighted(self, event: ItemView.Highlighted) -> None:
        """Show the text about the item under the cursor."""
        self._about.update(event.item.about if event.item else "")

    def on_fuzzy_list_arranged(self, event: ItemView.Arranged) -> None:
        """Put the titles above their columns."""
        marks, title, columns = event.layout
        self.head.show((title, *columns), len(CURSOR) + marks)

    def action_move(self, steps: int) -> None:
        """Move the cursor by ``steps`` items."""
        if not self.editing:
            self._view.move(steps)

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        if not self.editing:
            self._view.move(pages * max(1, self._view.size.height - 1))

    def _show(self, cursor: str) -> None:
        query = self._filter.value.strip() if self._matching else ""
        shown = ranked(self._items, query) if query else self._items
        self._about.set_class(not any(item.about for item in self._items), "-unused")
        empty = tr("Nothing matches “{query}”.", query=query) if query else self._empty
        lines = list(shown if query else with_headings(shown))
        self._view.show(lines, cursor, empty)


def ranked(items: Iterable[Item], query: str) -> list[Item]:
    """The `MOST` items that match ``query`` best, the best first, then in their order."""
    found: list[tuple[int, Item, tuple[int, ...]]] = []
    words = query.lower().split()
    for item in items:
        fit = match(query, item.title)
        if fit is None or fit.distance > NAMED:
            other = _distance_elsewhere(query, words, item)
            if other is not None and (fit is None or other < fit.distance):
                fit = Match(other, ())
        if fit:
            found.append((fit.distance, item, fit.places))
    found.sort(key=lambda entry: entry[0])
    return [replace(item, places=places) for _, item, places in found[:MOST]]


def _distance_elsewhere(query: str, words: Sequence[str], item: Item) -> int | None:
    if not item.also or not all(word in f"{item.title} {item.also}".lower() for word in words):
        return None
    found = match(query, item.also)
    return NAMED if found and found.distance <= len(words) else ELSEWHERE


def with_headings(items: Sequence[Item]) -> Iterator[Line]:
    """``items`` with a heading above each group."""
    group = ""
    for item in items:
        if item.group != group:
            group = item.group
            yield group
        yield item
