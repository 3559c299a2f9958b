"""The theme picker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.theme import BUILTIN_THEMES, Theme
from textual.timer import Timer
from textual.widgets import Static

from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import Hint, ListDialog
from tchat.tui.themes import DEFAULT
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript

REST = 0.06  # seconds that the cursor rests before the screen changes: a held key stays smooth
QUESTION = N_("Why is the sky blue?")
REPLY = N_(
    """\
Short waves **scatter** more, see [Rayleigh scattering](https://example.org).

```python
def scattering(wave: float) -> float:
    return 1 / wave**4  # "blue" wins
```

| wave | length |
|------|-------:|
| blue | 450 nm |
| red  | 700 nm |

> At dusk `red` is left.
"""
)
REASONING = N_("First the wavelengths.")
NOTICE, ERROR = N_("2 messages left the context"), N_("the model does not fit")


class ThemePicker(ListDialog):
    """Themes by kind, each applied while it is highlighted; it ends with the one chosen.

    A turn beside the list shows every colour. In a narrow terminal the list stands aside, so that
    the chat shows them. Esc takes the theme from before.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("keep")),
        Hint("dialog.close", N_("back")),
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-beside")]  # noqa: RUF012  as in Textual
    DEFAULT_CSS = """
    ThemePicker {
        align: right middle;
        background: transparent;
        & > #frame, &.-short > #frame { width: 44; max-width: 80%; height: 100%; max-height: 100%; }
        & #columns { height: 1fr; }
        & #preview { display: none; }
        &.-beside {
            align: center middle;
            & > #frame { width: 94%; max-width: 140; height: 92%; max-height: 46; }
            & FuzzyList { width: 36; }
            & #preview {
                display: block;
                width: 1fr;
                margin-left: 1;
                border-left: solid $muted 40%;
                background: $background;
            }
            & #preview Transcript { height: 1fr; }
            & #status { background: $background; padding: 0 1; height: 1; }
        }
    }
    """

    def __init__(self, themes: Sequence[Theme], current: str) -> None:
        super().__init__(tr("Themes"), theme_items(themes, current), cursor=current)
        self._before = current
        self._wanted = current
        self._resting: Timer | None = None

    def body(self) -> ComposeResult:
        """The list, and a turn in the colours of the theme."""
        with Horizontal(id="columns"):
            yield self.list
            with Vertical(id="preview"):
                transcript = Transcript()
                transcript.can_focus = False
                yield transcript
                yield Static(_status(), id="status", markup=False)

    def opened(self) -> None:
        """Show the turn from its question on, and begin to type at once."""
        super().opened()
        transcript = self.query_one(Transcript)
        transcript.show(_turn())
        transcript.action_scroll_home()

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


def theme_items(themes: Sequence[Theme], current: str) -> Iterator[Item]:
    """tchat's and the user's themes, the default first, dark before light; then Textual's."""

    def is_textuals(theme: Theme) -> bool:
        return BUILTIN_THEMES.get(theme.name) == theme

    def order(theme: Theme) -> tuple[bool, bool, bool, str]:
        return is_textuals(theme), not theme.dark, theme.name != DEFAULT, theme.name

    for theme in sorted(themes, key=order):
        kind = tr("Dark") if theme.dark else tr("Light")
        yield Item(
            key=theme.name,
            title=theme.name,
            columns=((tr("dark") if theme.dark else tr("light")),) if is_textuals(theme) else (),
            also=f"{kind} {'dark' if theme.dark else 'light'}",
            group=tr("Textual's") if is_textuals(theme) else kind,
            marked=theme.name == current,
        )


def _turn() -> list[Entry]:
    return [
        Entry(key=1, role="user", text=tr(QUESTION)),
        Entry(key=2, role="assistant", text=tr(REPLY), reasoning=tr(REASONING), reasoning_tokens=5),
        Entry(key=3, role="notice", text=tr(NOTICE)),
        Entry(key=4, role="error", text=tr(ERROR)),
    ]


def _status() -> Content:
    """The bars of the context at each of their levels; the styles follow the theme."""
    return Content.assemble(
        ("43 tok/s  ", "$muted"),
        ("━━ 1.1k/8k  ", "$gauge-ok"),
        ("━━━━ 5.2k/8k  ", "$gauge-warn"),
        ("━━━━━ 7.9k/8k", "$gauge-full"),
    )
