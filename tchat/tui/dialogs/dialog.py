"""The base of every dialog: a titled box over the chat with its keys; pickers; a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.geometry import Offset, Size, Spacing
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Static
from textual.widgets._toast import ToastRack

from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr
from tchat.tui.keys import Scope, show_key
from tchat.tui.textual_patches import attached, drop_information
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_columns import TableColumn
from tchat.tui.widgets.item_view import Item

Result = TypeVar("Result")
TOAST_ROWS = 4  # of the screen below a dialog, for a toast and a row between
GAP = 2  # cells between two hints


class Hint(NamedTuple):
    """A key on the last line of a dialog; ``key`` is a key, or the id of a binding.

    ``does`` is marked for translation, which happens when it is shown.
    """

    key: str
    does: str


CLOSE = Hint("dialog.close", N_("close"))


class HintLine(Widget):
    """Keys side by side, on as many lines as they need; no key is parted from its meaning."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._parts: Sequence[Content] = ()

    def set_parts(self, parts: Sequence[Content]) -> None:
        """Show these."""
        self._parts = parts
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines they take."""
        return len(self._lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self._lines(self.content_size.width))

    def _lines(self, width: int) -> list[Content]:
        lines: list[Content] = []
        for part in self._parts:
            if lines and lines[-1].cell_length + GAP + part.cell_length <= width:
                lines[-1] = lines[-1] + " " * GAP + part
            else:
                lines.append(part)
        return lines


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """A dialog; Esc or a click beside it closes it with None.

    A subclass fills `body`, and names its ``HEADING`` and ``HINTS``, both marked for translation.
    Textual calls the handlers of all classes that a screen is made of, so what a subclass may
    replace are plain methods.

    The frame grows with the terminal. From 150 columns on the dialog has the class ``-wide``: the
    text about an item of a list stands beside the list, not below it.
    """

    HEADING: ClassVar[str] = ""
    HINTS: ClassVar[tuple[Hint, ...]] = (CLOSE,)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", N_("Close the dialog"), show=False, id="dialog.close"),
        Binding("f1", "help", N_("Help for the dialog"), show=False, id="dialog.help"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012  as in Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]  # noqa: RUF012
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        & > #frame {
            width: 94%;
            max-width: 104;
            height: 92%;
            max-height: 52;
            background: $surface;
            border: round $primary;
            border-title-color: $heading;
            border-title-style: bold;
            border-subtitle-color: $muted;
            padding: 0 1;
        }
        & #hints {
            height: auto;
            max-height: 2;
            color: $muted;
            margin-top: 1;
            padding: 0 1;
        }
        & ToastRack { max-height: 3; padding: 0; }
        & Toast { margin-top: 0; max-height: 3; }
        &.-short {
            & > #frame { width: 100%; height: 100%; }
            & #hints { margin-top: 0; }
            & FuzzyList > Filter { margin-bottom: 0; }
            & FuzzyList > .about { margin-top: 0; }
        }
        &.-wide {
            & > #frame { width: 88%; max-width: 180; }
            & FuzzyList > .about {
                dock: right;
                width: 40%;
                height: 100%;
                max-height: 100%;
                margin: 0 0 0 1;
                padding: 0 1;
                border-left: solid $muted 40%;
            }
        }
    }
    """

    @dataclass
    class HelpRequested(Message):
        """The user wants the keys of ``scope``."""

        scope: Scope

    def compose(self) -> ComposeResult:
        """The frame, what is in it, and its keys."""
        with Vertical(id="frame") as frame:
            frame.border_title = Content(self.HEADING and tr(self.HEADING))
            yield from self.body()
            yield HintLine(id="hints")

    def body(self) -> ComposeResult:
        """The widgets between title and keys."""
        raise NotImplementedError

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """The widget at a cell and the offset in its content; none that was removed."""
        return attached(super().get_widget_and_offset_at(x, y))

    def on_mount(self) -> None:
        """Tell the keys, which no toast from before hides."""
        drop_information(self.app)
        self.show_hints(self.HINTS)
        self.opened()

    def on_resize(self) -> None:
        """Find the place of toasts."""
        self.call_after_refresh(self.place_toasts)

    def place_toasts(self) -> None:
        """Put toasts below the frame, where there is room, else inside it, above its keys."""
        frame = self.query_one("#frame")
        whole, inside = frame.region, frame.region.shrink(frame.gutter)
        width, height = self.size
        margin = Spacing(0, 1, 0, 1)
        if height - whole.bottom < TOAST_ROWS:
            keys = self.query_one(HintLine).region
            bottom = keys.y if keys.height else inside.bottom
            margin = Spacing(0, width - inside.right, height - bottom, inside.x)
        for rack in self.query(ToastRack):  # none where notifications are off
            rack.styles.margin = margin

    def opened(self) -> None:
        """What a subclass does once its widgets are there."""

    def show_hints(self, hints: Iterable[Hint]) -> None:
        """Write these keys on the last line, as they are after remapping."""
        bound = {active.binding.id: active.binding.key for active in self.active_bindings.values()}
        parts = [
            Content.assemble(
                (show_key(bound.get(hint.key, hint.key)), "bold $assistant"), f" {tr(hint.does)}"
            )
            for hint in hints
        ]
        self.query_one(HintLine).set_parts(parts)

    def set_heading(self, heading: str, beside: str = "") -> None:
        """Change the title, and what stands in the frame's lower right corner."""
        frame = self.query_one("#frame", Vertical)
        frame.border_title = Content(single_line(heading))
        frame.border_subtitle = Content(single_line(beside))

    def on_click(self, event: Click) -> None:
        """Close on a click beside the frame."""
        if not self.query_one("#frame").region.contains_point(event.screen_offset):
            self.action_close()

    def action_close(self) -> None:
        """Close without a result."""
        self.finish(None)

    def action_help(self) -> None:
        """Ask for the help on the keys of this dialog."""
        own = {binding.id.split(".")[0] for _, binding in self._bindings if binding.id}
        scopes = (scope for scope in Scope if scope.lower() in own)
        self.post_message(self.HelpRequested(next(scopes, Scope.LISTS)))

    def finish(self, result: Result | None) -> None:
        """Close with ``result``; the second key of a double press finds it closed already."""
        if self.is_current:
            self.dismiss(result)


class ListDialog(Dialog[str]):
    """A list with a filter; a subclass says what choosing an item does."""

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("choose")), CLOSE)

    def __init__(
        self,
        heading: str,
        items: Iterable[Item],
        *,
        cursor: str = "",
        empty: str = "",
        placeholder: str = "",
        table: Sequence[TableColumn] = (),
    ) -> None:
        super().__init__()
        self._heading = heading
        self.list = FuzzyList(
            items, cursor=cursor, empty=empty, placeholder=placeholder, table=table
        )

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.set_heading(self._heading)
        self.list.focus()

    def choose(self, key: str) -> None:
        """Called with the key of the item chosen."""
        raise NotImplementedError

    @on(FuzzyList.Chosen)
    def _choose(self, event: FuzzyList.Chosen) -> None:
        self.choose(event.item.key)


class Picker(ListDialog):
    """A list with a filter that ends with the key of the item chosen, or None."""

    def choose(self, key: str) -> None:
        """End with the item of this key."""
        self.finish(key)


class Confirm(Dialog[bool]):
    """A question with two answers; it ends with True, False, or None for Esc.

    ``detail``, such as a name or a link, is shown as it is; it scrolls where it is long. Where
    something is lost by the answer, with ``danger``, the focus begins on ``no``.
    """

    HEADING: ClassVar[str] = N_("Are you sure?")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("confirm.yes", N_("yes")),
        Hint("confirm.no", N_("no")),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", N_("Yes"), show=False, id="confirm.yes"),
        Binding("n", "answer(False)", N_("No"), show=False, id="confirm.no"),
        Binding("ctrl+c", "close", N_("Cancel"), show=False, id="confirm.cancel"),
        Binding(
            "left,right,up,down",
            "app.focus_next",
            N_("The other answer"),
            show=False,
            id="confirm.other",
        ),
        Binding("pagedown", "scroll_detail(1)", N_("Scroll down"), show=False, id="confirm.down"),
        Binding("pageup", "scroll_detail(-1)", N_("Scroll up"), show=False, id="confirm.up"),
    ]
    DEFAULT_CSS = """
    Confirm {
        & > #frame, &.-short > #frame { width: 60; max-width: 94%; height: auto; padding: 1 2 0 2; }
        & #detail { color: $muted; margin-top: 1; height: auto; max-height: 40vh; }
        & #answers { height: auto; margin-top: 1; align-horizontal: right; }
        & #answers Button {
            margin-left: 2;
            min-width: 12;
            color: $assistant;
            background: $panel;
            background-tint: $foreground 0%;
            &.-primary { color: $background; background: $heading; }
            &.-error { color: $background; background: $gauge-full; }
        }
    }
    """

    def __init__(
        self,
        question: str,
        detail: str = "",
        *,
        yes: str = "",
        no: str = "",
        danger: bool = False,
    ) -> None:
        super().__init__()
        self._question = single_line(question)
        self._detail = printable(detail)
        self._labels = (single_line(yes) or tr("Yes"), single_line(no) or tr("No"))
        self._danger = danger

    def body(self) -> ComposeResult:
        """Question, detail, answers."""
        yes, no = self._labels
        yield Static(self._question, id="question", markup=False)
        detail = VerticalScroll(Static(self._detail, markup=False), id="detail", can_focus=False)
        detail.display = bool(self._detail)
        yield detail
        with Horizontal(id="answers"):
            yield Button(Content(no), id="no", compact=True)
            yield Button(
                Content(yes), id="yes", compact=True, variant="error" if self._danger else "primary"
            )

    def opened(self) -> None:
        """Begin on the answer that does no harm."""
        self.query_one("#no" if self._danger else "#yes", Button).focus()

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        """End with the answer."""
        self.finish(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """End with the answer."""
        self.finish(answer)

    def action_scroll_detail(self, pages: int) -> None:
        """Scroll what is asked about by a page."""
        detail = self.query_one("#detail")
        detail.scroll_relative(y=pages * detail.scrollable_content_region.height, animate=False)
