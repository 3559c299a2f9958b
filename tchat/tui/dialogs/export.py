"""The question where to write a session, and in which format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from tchat.chat.session import export_path
from tchat.errors import UsageError
from tchat.paths import path_text
from tchat.private_files import require_folder
from tchat.sanitize import single_line
from tchat.sessions.formats import FORMATS, MARKDOWN, export_format
from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import CLOSE, Confirm, Dialog, Hint


class ExportTarget(NamedTuple):
    """Where a session is written; with ``replaces``, in place of a file that is there."""

    path: Path
    replaces: bool = False


class ExportDialog(Dialog[ExportTarget]):
    """Asks for the file; its suffix decides the format. A file that is there is asked about."""

    HEADING: ClassVar[str] = N_("Export the session")
    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("write the file")), CLOSE)
    DEFAULT_CSS = """
    ExportDialog {
        & > #frame, &.-short > #frame { width: 84; max-width: 94%; height: auto; padding: 1 2 0 2; }
        & Input { background: $panel; margin-top: 1; }
        & #told { margin-top: 1; color: $muted; height: 2; }
        & #told.-refused { color: $error; }
    }
    """

    def __init__(self, session_id: str, title: str) -> None:
        super().__init__()
        self._session_id, self._title = session_id, title
        self._proposed = path_text(export_path(session_id, title))

    def body(self) -> ComposeResult:
        """The formats, the path, and what comes of it."""
        formats = (f"{each.suffixes[0]} {tr(each.help)}" for each in FORMATS)
        told = tr("File, in the format of its suffix: {formats}", formats="; ".join(formats))
        yield Static(told, markup=False)
        yield Input(self._proposed, compact=True)
        yield Static(id="told", markup=False)

    def opened(self) -> None:
        """Begin to type at once, behind the name."""
        self.query_one(Input).focus()
        self._tell()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell at once what is wrong with a path."""
        event.stop()
        self._tell()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """End with the path; ask before a file is replaced."""
        event.stop()
        if self._refusal():
            return
        path = self._path
        if not os.path.lexists(path):
            self.finish(ExportTarget(path))
            return
        question = Confirm(
            tr("Replace this file?"),
            path_text(path),
            yes=tr("Replace"),
            no=tr("Cancel"),
            danger=True,
        )
        self.app.push_screen(question, self._replace)

    def _replace(self, agreed: bool | None) -> None:
        if agreed:
            self.finish(ExportTarget(self._path, replaces=True))

    @property
    def _path(self) -> Path:
        return export_path(self._session_id, self._title, self.query_one(Input).value.strip())

    def _refusal(self) -> str:
        """Why the session cannot be written there; empty where it can."""
        try:
            export_format("", self._path, MARKDOWN)
            require_folder(self._path)
        except UsageError as error:
            return f"{error.message}; {error.hint}" if error.hint else error.message
        return ""

    def _tell(self) -> None:
        refusal, told = self._refusal(), ""
        if refusal:
            told = f"✗ {single_line(refusal)}"
        elif os.path.lexists(self._path):
            told = tr("The file is there already: you are asked before it is replaced.")
        else:
            name = tr(export_format("", self._path, MARKDOWN).help)
            told = tr("A new file: {format}", format=name)
        shown = self.query_one("#told", Static)
        shown.set_class(bool(refusal), "-refused")
        shown.update(Content(told))
