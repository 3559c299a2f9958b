"""The history of prompts: search earlier prompts and see each one whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from tchat.sanitize import printable
from tchat.translation import N_, tr, trn
from tchat.tui.dialogs.dialog import CLOSE, Hint, ListDialog
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item
from tchat.tui.widgets.prompt_draft import Draft

TITLE = 200  # characters of a prompt on its line
SEARCHED = 4000  # characters of a prompt that the filter looks at
PREVIEW = 4000  # characters of a prompt that the preview shows


class HistoryScreen(ListDialog):
    """Earlier prompts, the newest first; it ends with the index of the one chosen."""

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("put it into the prompt")), CLOSE)
    DEFAULT_CSS = """
    HistoryScreen {
        & #preview {
            height: auto; max-height: 40%; min-height: 3; color: $foreground; margin-top: 1;
            padding: 0 2; border-top: solid $muted 40%;
        }
        &.-short #preview { max-height: 3; min-height: 1; margin-top: 0; }
    }
    """

    def __init__(self, drafts: Sequence[Draft], query: str = "") -> None:
        super().__init__(
            tr("Prompt history"),
            [_item(index, draft.text) for index, draft in enumerate(drafts)],
            empty=tr("No prompt was sent yet."),
            placeholder=tr("Search earlier prompts"),
        )
        self._drafts = drafts
        self._query = query

    def body(self) -> ComposeResult:
        """The list, and the prompt under the cursor."""
        yield self.list
        yield Static(id="preview", markup=False)

    def opened(self) -> None:
        """Search for what was typed before."""
        super().opened()
        self.set_heading(
            tr("Prompt history"), trn("{count:,} prompt", "{count:,} prompts", len(self._drafts))
        )
        if "\n" not in self._query:
            self.list.set_query(self._query.strip())
        self.call_after_refresh(self._show_preview)

    def choose(self, key: str) -> None:
        """End with the prompt."""
        self.finish(key)

    @on(FuzzyList.Highlighted)
    @on(FuzzyList.Filtered)
    def _show_preview(self) -> None:
        """Show the prompt under the cursor whole."""
        item = self.list.item
        text = self._drafts[int(item.key)].text if item else ""
        preview = self.query_one("#preview", Static)
        preview.update(printable(text[:PREVIEW]))
        preview.display = bool(text)


def _item(index: int, text: str) -> Item:
    line = " ".join(text[:TITLE].split())
    return Item(key=str(index), title=line, also=text[:SEARCHED] if text != line else "")
