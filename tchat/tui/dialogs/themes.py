"""The theme picker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Static

from tchat.tui.dialogs.dialog import Hint, ListDialog
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

REST = 0.06  # seconds that the cursor rests before the screen changes: a held key stays smooth

# A style that names a variable follows the theme by itself.
SAMPLE = Content("\n").join(
    Content.assemble(*line)
    for line in (
        [("You  ", "bold $user"), ("Why is the sky blue?", "$user on $user-background")],
        [("Thought for 2 s", "italic $reasoning")],
        [("Short waves scatter more. ", "$assistant"), ("More", "underline $link")],
        [
            (" for ", "bold $syntax-keyword on $code-background"),
            ("wave in 'light' ", "$code on $code-background"),
            ("  hit", "bold $match"),
        ],
        [("███ ok ", "$gauge-ok"), ("████ tight ", "$gauge-warn"), ("█████ full", "$gauge-full")],
    )
)


class ThemePicker(ListDialog):
    """Themes by name, each applied while it is highlighted; it ends with the one chosen.

    Esc takes the theme from before. The box stands aside, so that the chat shows the colours.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "keep"), Hint("dialog.close", "back"))
    DEFAULT_CSS = """
    ThemePicker {
        align: right middle;
        background: transparent;
        & > #frame { width: 44; max-width: 80%; height: 100%; max-height: 100%; }
        & #sample {
            height: 7;
            margin-top: 1;
            padding: 1;
            background: $background;
        }
        &.-short #sample { display: none; }
    }
    """

    def __init__(self, themes: Sequence[Theme], current: str) -> None:
        items = [
            Item(
                key=theme.name,
                title=theme.name,
                columns=("dark" if theme.dark else "light",),
                also="dark" if theme.dark else "light",
                marked=theme.name == current,
            )
            for theme in themes
        ]
        super().__init__("Themes", items, cursor=current)
        self._before = current
        self._wanted = current
        self._resting: Timer | None = None

    def body(self) -> ComposeResult:
        """The list, and every colour of tchat's in a few lines."""
        yield from super().body()
        yield Static(SAMPLE, id="sample", markup=False)

    @on(FuzzyList.Highlighted)
    def preview(self, event: FuzzyList.Highlighted) -> None:
        """Apply the highlighted theme once the cursor rests."""
        if event.item is None:
            return
        self._wanted = event.item.key
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST, self._apply_theme)

    def _apply_theme(self) -> None:
        if self.app.theme != self._wanted:
            self.app.theme = self._wanted

    def choose(self, key: str) -> None:
        """Keep the theme."""
        self._end(key, key)

    def action_close(self) -> None:
        """Restore the previous theme."""
        self._end(self._before, None)

    def _end(self, theme: str, result: str | None) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._wanted = theme
        self._apply_theme()
        self.finish(result)
