"""A question that is answered by a line of text, or by the path of a file."""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar

from textual.app import ComposeResult
from textual.suggester import Suggester
from textual.widgets import Input, Static

from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.translation import N_
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint


class PathSuggester(Suggester):
    """Suggests the first file or folder whose name begins as typed; → takes it."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The path with its last name complete; a folder ends in a slash."""
        return await asyncio.to_thread(_completed, value) if value.strip() else None


def _completed(value: str) -> str | None:
    head, slash, begun = value.rpartition("/")
    try:
        with os.scandir(expanded(head + slash)) as entries:
            found = sorted(
                (entry.name, entry.is_dir()) for entry in entries if entry.name.startswith(begun)
            )
    except (OSError, ValueError):
        return None
    for name, is_folder in found:
        is_shown = begun.startswith(".") or not name.startswith(".")
        if is_shown and name != begun and single_line(name) == name:
            return f"{head}{slash}{name}{'/' if is_folder else ''}"
    return None


class TextQuestion(Dialog[str]):
    """A question that is answered by a line of text; ends with it, or with None.

    With ``is_path`` names of files are completed.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("accept")), CLOSE)
    DEFAULT_CSS = """
    TextQuestion {
        & > #frame, &.-short > #frame { width: 70; max-width: 94%; height: auto; padding: 1 2 0 2; }
        & Input { background: $panel; margin-top: 1; }
    }
    """

    def __init__(self, question: str, placeholder: str = "", *, is_path: bool = False) -> None:
        super().__init__()
        self._question = single_line(question)
        suggester = PathSuggester() if is_path else None
        self._input = Input(placeholder=placeholder, compact=True, suggester=suggester)

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
