"""A question before something that cannot be taken back."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Static

from tchat.sanitize import printable, single_line
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint


class Confirm(Dialog[bool]):
    """A question with two answers; it ends with True, False, or None for Esc.

    Args:
        question: What is asked, on one line.
        detail: What it is about: the name of a thing, a link; shown as it is.
        yes: What doing it is called.
        no: What leaving it is called.
        danger: Whether something is lost by it; then the focus begins on ``no``.
    """

    HEADING: ClassVar[str] = "Sure?"
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("confirm.yes", "yes"),
        Hint("confirm.no", "no"),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", show=False, id="confirm.yes"),
        Binding("n", "answer(False)", "No", show=False, id="confirm.no"),
        Binding(
            "left,right,up,down",
            "app.focus_next",
            "The other answer",
            show=False,
            id="confirm.other",
        ),
    ]
    DEFAULT_CSS = """
    Confirm {
        & > #frame, &.-short > #frame { width: 60; max-width: 94%; height: auto; padding: 1 2 0 2; }
        & #detail { color: $muted; margin-top: 1; max-height: 6; overflow: hidden; }
        & #answers { height: auto; margin-top: 1; align-horizontal: right; }
        & #answers Button { margin-left: 2; min-width: 12; }
    }
    """

    def __init__(
        self,
        question: str,
        detail: str = "",
        *,
        yes: str = "Yes",
        no: str = "No",
        danger: bool = False,
    ) -> None:
        super().__init__()
        self._question = single_line(question)
        self._detail = printable(detail)
        self._labels = (single_line(yes), single_line(no))
        self._danger = danger

    def body(self) -> ComposeResult:
        """Question, detail, answers."""
        yes, no = self._labels
        yield Static(self._question, id="question", markup=False)
        detail = Static(self._detail, id="detail", markup=False)
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
