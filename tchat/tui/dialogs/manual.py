"""The manual: its sections in a list, searched by words; the one under the cursor is shown."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message

from tchat.manual import ManualSection, find_sections
from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript


class ManualText(Container, can_focus=True):
    """The text of a section; once it has the focus, arrows scroll it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_line(-1)", N_("A line up"), show=False, id="manual.line-up"),
        Binding("down,j,enter", "scroll_line(1)", N_("A line down"), show=False,
                id="manual.line-down"),
        Binding("home", "scroll_to_end(-1)", N_("To its start"), show=False, id="manual.start"),
        Binding("end", "scroll_to_end(1)", N_("To its end"), show=False, id="manual.end"),
        Binding("escape,tab,shift+tab,left", "leave", N_("Back to the list"), show=False,
                id="manual.leave"),
    ]  # fmt: skip

    class Focused(Message):
        """The focus came, or went."""

    class Left(Message):
        """The focus belongs to the list."""

    def compose(self) -> ComposeResult:
        """The text."""
        transcript = Transcript(roles=False)
        transcript.can_focus = False
        yield transcript

    def on_focus(self) -> None:
        """Tell the keys."""
        self.post_message(self.Focused())

    def on_blur(self) -> None:
        """Tell the keys."""
        self.post_message(self.Focused())

    def action_scroll_line(self, lines: int) -> None:
        """Scroll by a line."""
        transcript = self.query_one(Transcript)
        if lines < 0:
            transcript.action_scroll_up()
        else:
            transcript.action_scroll_down()

    def action_scroll_to_end(self, end: int) -> None:
        """Scroll to the start or the end."""
        transcript = self.query_one(Transcript)
        if end < 0:
            transcript.action_scroll_home()
        else:
            transcript.action_scroll_end()

    def action_leave(self) -> None:
        """Give the focus back."""
        self.post_message(self.Left())


class ManualScreen(Dialog[None]):
    """Sections of the manual that contain all words typed, and the text of one.

    The text stands beside the list from 100 columns on, else below it.
    """

    HEADING = N_("Manual")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("read the text")),
        Hint("manual.down", N_("scroll")),
        CLOSE,
    )
    READING: ClassVar[tuple[Hint, ...]] = (
        Hint("manual.line-down", N_("scroll")),
        Hint("manual.down", N_("a page")),
        Hint("manual.leave", N_("back to the list")),
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-beside")]  # noqa: RUF012  as in Textual
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "scroll_text(1)", N_("Scroll down"), show=False, id="manual.down",
                priority=True),
        Binding("pageup", "scroll_text(-1)", N_("Scroll up"), show=False, id="manual.up",
                priority=True),
    ]  # fmt: skip
    DEFAULT_CSS = """
    ManualScreen {
        & #columns { height: 1fr; layout: vertical; }
        & FuzzyList { height: 40%; }
        & #text { height: 1fr; border-top: solid $muted 40%; background: $background; }
        & #text:focus { border-top: solid $heading; }
        & .about { display: none; }
        &.-beside {
            & > #frame { max-width: 150; }
            & #columns { layout: horizontal; }
            & FuzzyList { width: 36; height: 1fr; }
            & #text {
                width: 1fr;
                margin-left: 1;
                border-top: none;
                border-left: solid $muted 40%;
                &:focus { border-top: none; border-left: solid $heading; }
            }
        }
    }
    """

    def __init__(self, words: str = "") -> None:
        super().__init__()
        self._words = words
        self._sections: dict[str, ManualSection] = {}
        self.list = FuzzyList(
            (),
            matching=False,
            placeholder=tr("Words to search for"),
            empty=tr("No section has all these words."),
        )

    def body(self) -> ComposeResult:
        """The list and the text."""
        with Container(id="columns"):
            yield self.list
            yield ManualText(id="text")

    def opened(self) -> None:
        """Search for the words, and begin to type at once."""
        self._search(self._words)
        self.list.set_query(self._words)
        self.list.focus()

    @on(FuzzyList.Filtered)
    def _filtered(self, event: FuzzyList.Filtered) -> None:
        self._search(event.query)

    def _search(self, words: str) -> None:
        found = list(find_sections(words))
        self._sections = {f"{each.topic}#{each.heading}": each for each in found}
        self.list.set_items(
            (
                Item(key=key, title=each.heading or each.title, group=each.title)
                for key, each in self._sections.items()
            ),
            cursor="" if words.strip() else None,
        )
        if not found:
            self.query_one(Transcript).show(())

    @on(FuzzyList.Highlighted)
    def _show(self, event: FuzzyList.Highlighted) -> None:
        section = self._sections.get(event.item.key) if event.item else None
        if section is None:
            return
        transcript = self.query_one(Transcript)
        transcript.show(())
        transcript.append(Entry(key=1, role="assistant", text=section.text))  # shown unfolded
        transcript.action_scroll_home()

    @on(FuzzyList.Chosen)
    def _read(self) -> None:
        self.query_one(ManualText).focus()

    @on(ManualText.Left)
    def _leave(self) -> None:
        self.list.focus()

    @on(ManualText.Focused)
    def _show_keys(self) -> None:
        self.show_hints(self.READING if self.query_one(ManualText).has_focus else self.HINTS)

    def action_scroll_text(self, pages: int) -> None:
        """Scroll the text by a page."""
        transcript = self.query_one(Transcript)
        if pages < 0:
            transcript.action_page_up()
        else:
            transcript.action_page_down()
