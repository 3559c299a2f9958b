"""All keys of tchat: those of `keys`, and those that widgets and dialogs declare themselves."""

from __future__ import annotations

from tchat.tui.dialogs.confirm import Confirm
from tchat.tui.dialogs.dialog import Dialog
from tchat.tui.keys import KEYS, KeyAction, Scope, declared
from tchat.tui.widgets.candidates.view import Candidates
from tchat.tui.widgets.fuzzy_list import FuzzyList, LineEditor
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.sidebar import Sidebar
from tchat.tui.widgets.transcript.view import Transcript

ALL_BINDINGS: tuple[KeyAction, ...] = (
    *KEYS,
    *declared(PromptArea.BINDINGS, Scope.PROMPT),
    *declared(Transcript.BINDINGS, Scope.MESSAGES),
    *declared(Candidates.BINDINGS, Scope.CANDIDATES),
    *declared(FuzzyList.BINDINGS, Scope.LISTS),
    *declared(LineEditor.BINDINGS, Scope.LISTS),
    *declared(Sidebar.BINDINGS, Scope.LISTS),
    *declared(Dialog.BINDINGS, Scope.DIALOGS),
    *declared(Confirm.BINDINGS, Scope.DIALOGS),
)
"""Each action once; what Textual's own text fields bind (arrows, Home, Ctrl+W, …) is not ours."""
