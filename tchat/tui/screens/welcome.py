"""The first run without a model: how to get one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from tchat.tui.screens.frame import Dialog, Hint
from tchat.tui.widgets.fuzzy_item import Item
from tchat.tui.widgets.fuzzy_list import FuzzyList

STARTER, BROWSE = "starter", "browse"
TEXT = """\
tchat talks to a language model on this machine; nothing you type leaves it. It needs a model: \
a file in the format GGUF."""
INSTALL = "pip install 'tchat[starter]'"


class Welcome(Dialog[str]):
    """What can be done without a model.

    It ends with the setting ``model`` to use: ``starter``, or a path that was typed; with `BROWSE`
    when the user wants to see the models found on this machine.

    Args:
        starter: Whether the starter model is installed.
        found: How many model files were found on this machine.
    """

    HEADING: ClassVar[str] = "Welcome to tchat"
    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "choose"), Hint("escape", "later"))
    DEFAULT_CSS = """
    Welcome {
        & > #frame { max-width: 84; height: auto; max-height: 100%; padding: 1 2 0 2; }
        &.-short > #frame { height: 100%; padding: 0 1; }
        & #text { margin-bottom: 1; }
        & FuzzyList { height: 8; }
        &.-short FuzzyList { height: 1fr; }
    }
    """

    def __init__(self, *, starter: bool, found: int = 0) -> None:
        super().__init__()
        self._starter = starter
        self._found = found
        self.list = FuzzyList(
            self._items(), placeholder="Or type the path of a GGUF file", empty="", matching=False
        )

    def body(self) -> ComposeResult:
        """Text and choices."""
        yield Static(TEXT, id="text", markup=False)
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.list.focus()

    @on(FuzzyList.Filtered)
    def _offer_path(self, event: FuzzyList.Filtered) -> None:
        path = event.query.strip()
        typed = [Item(key=path, title=f"Load the file {path}")] if path else []
        self.list.set_items([*typed, *self._items()], cursor=path)

    @on(FuzzyList.Chosen)
    def _choose(self, event: FuzzyList.Chosen) -> None:
        if event.item.key:
            self.finish(event.item.key)

    def _items(self) -> Iterator[Item]:
        if self._starter:
            yield Item(
                key=STARTER,
                title="Use the starter model",
                about="SmolLM2-135M-Instruct, 98 MB, installed already: small and quick.",
            )
        else:
            yield Item(
                key="",
                title=INSTALL,
                about="The starter model, 98 MB: leave tchat, run this line, start tchat again.",
            )
        if self._found:
            yield Item(
                key=BROWSE,
                title=f"Choose from {self._found:,} file{'s' * (self._found != 1)} on this machine",
                about="From Hugging Face's cache, LM Studio, Ollama and llama.cpp.",
            )
