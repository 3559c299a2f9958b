"""The first run without a model: what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from tchat.translation import N_, tr, trn
from tchat.tui.dialogs.dialog import Dialog, Hint
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

BROWSE, AGAIN = "browse", "again"
TEXT = N_(
    "tchat talks to a language model on this machine; nothing you type leaves it. It needs a "
    "model: a GGUF file. There is none yet."
)
INSTALL = "pip install 'tchat[starter]'"
PULL_LINE = "tchat models pull --best"
_COPIED = {"install": INSTALL, "pull": PULL_LINE}


class Welcome(Dialog[str]):
    """What can be done without a model.

    It ends with a path that was typed, with `BROWSE` when the user wants to see the models found
    on this machine, or with `AGAIN` when one was installed meanwhile. A line for the shell is
    copied.
    """

    HEADING: ClassVar[str] = N_("Welcome to tchat")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("choose")),
        Hint("dialog.close", N_("later")),
    )
    DEFAULT_CSS = """
    Welcome {
        & > #frame { max-width: 84; height: auto; max-height: 100%; padding: 1 2 0 2; }
        &.-short > #frame { height: 100%; padding: 0 1; }
        & #text { margin-bottom: 1; }
        & FuzzyList { height: 11; }
        &.-short FuzzyList { height: 1fr; }
    }
    """

    def __init__(self, *, found: int = 0) -> None:
        super().__init__()
        self._found = found
        self.list = FuzzyList(
            self._items(),
            placeholder=tr("Or type the path of a GGUF file"),
            empty="",
            matching=False,
        )

    def body(self) -> ComposeResult:
        """Text and choices."""
        yield Static(tr(TEXT), id="text", markup=False)
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.list.focus()

    @on(FuzzyList.Filtered)
    def _offer_path(self, event: FuzzyList.Filtered) -> None:
        path = event.query.strip()
        typed = [Item(key=path, title=tr("Load the file {path}", path=path))] if path else []
        self.list.set_items([*typed, *self._items()], cursor=path)

    @on(FuzzyList.Chosen)
    def _choose(self, event: FuzzyList.Chosen) -> None:
        line = _COPIED.get(event.item.key)
        if line is None:
            self.finish(event.item.key)
            return
        self.app.copy_to_clipboard(line)
        self.notify(tr("Copied for your shell: {line}", line=line), markup=False)

    def _items(self) -> Iterator[Item]:
        if self._found:
            yield Item(
                key=BROWSE,
                title=trn(
                    "Choose from {count:,} file on this machine",
                    "Choose from {count:,} files on this machine",
                    self._found,
                ),
                about=tr("Model files of other programs are used in place."),
            )
        yield Item(
            key="install",
            title=INSTALL,
            about=tr(
                "The starter model, 98 MB, small and quick. Enter copies the line; run it in "
                "another terminal, then check again."
            ),
        )
        yield Item(
            key="pull",
            title=PULL_LINE,
            about=tr(
                "The best model of the catalogue for this machine, into the cache that other "
                "programs share. Enter copies the line."
            ),
        )
        yield Item(key=AGAIN, title=tr("Check again"), about=tr("After a model was installed."))
