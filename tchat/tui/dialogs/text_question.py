"""A question that is answered by a line of text."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Input, Static

from tchat.sanitize import single_line
from tchat.translation import N_
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint


class TextQuestion(Dialog[str]):
    """A question that is answered by a line of text; ends with it, or with None."""

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("accept")), CLOSE)
    DEFAULT_CSS = """
    TextQuestion {
        & > #frame, &.-short > #frame { width: 70; max-width: 94%; height: auto; padding: 1 2 0 2; }
        & Input { background: $panel; margin-top: 1; }
    }
    """

    def __init__(self, question: str, placeholder: str = "") -> None:
        super().__init__()
        self._question = single_line(question)
        self._input = Input(placeholder=placeholder, compact=True)

    def body(self) -> ComposeResult:
        """Question and input."""
        yield Static(self._question, markup=False)
        yield self._input

    def opened(self) -> None:
        """Begin to type at once."""
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with the text; an empty one is no answer."""
        event.stop()
        if text := event.value.strip():
            self.finish(text)
