"""The settings, and the theme picker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Static

from tchat.errors import UsageError
from tchat.sanitize import printable_json, single_line
from tchat.settings import Key, Settings, Value, keys, spell
from tchat.settings.keys import parse
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint, ListDialog
from tchat.tui.keys import Scope, bindings
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

SHOWN = 32  # characters of a value in the list
HELD = 12  # characters of another one that the file holds
GROUPS = {"": "General", "sampling": "Sampling"}
CHANGED, SAVED, DEFAULT = "this chat", "config.toml", "default"

Change: TypeAlias = Callable[[Key, Value, bool], Awaitable[object]]
"""Called with a checked value, and whether it is to be kept in ``config.toml`` too."""


class SettingsScreen(Dialog[None]):
    """All settings. A change is applied at once, for this chat; saving keeps it for good.

    ``origins`` says where each value comes from, by name; what is absent is a default. ``saved`` is
    what ``config.toml`` holds. When ``change`` raises `TchatError`, nothing is shown as changed.
    """

    HEADING: ClassVar[str] = "Settings"
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", "change"),
        Hint("settings.save", "save for good"),
        Hint("settings.reset", "default"),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.SETTINGS)]

    def __init__(
        self,
        settings: Settings,
        origins: Mapping[str, str],
        change: Change,
        saved: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__()
        self._saved = dict(saved or {})
        self._one_change = asyncio.Lock()  # in the order in which they were asked for
        self._values = {key.name: key.value_in(settings) for key in keys().values()}
        self._origins = dict(origins)
        self._change = change
        self.list = FuzzyList(self._items(), placeholder="Type to filter names and meanings")

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.list.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that act on a setting are off while a value is edited."""
        return not (action in ("save", "reset") and self.list.editing)

    def action_save(self) -> None:
        """Keep the value of the highlighted setting in ``config.toml``."""
        if key := self._key():
            self._save(key)

    def action_reset(self) -> None:
        """Take the default of the highlighted setting, for this chat."""
        if key := self._key():
            self._apply(key, key.default)

    @on(FuzzyList.Chosen)
    async def _begin(self) -> None:
        """Switch what has few values to its next one, and let the user type the others."""
        key = self._key()
        if key is None:
            return
        value = self._values[key.name]
        if key.kind is bool:
            self._apply(key, not value)
        elif key.choices:
            at = key.choices.index(str(value)) + 1
            self._apply(key, key.choices[at % len(key.choices)])
        else:
            await self.list.edit(editable(value), behind_title=True)

    @on(FuzzyList.Edited)
    async def _end(self, event: FuzzyList.Edited) -> None:
        key = keys()[event.item.key]
        try:
            value = typed(key, event.text)
        except UsageError as error:
            self.notify(single_line(error.message), severity="error", markup=False)
            await self.list.edit(event.text, behind_title=True)
            return
        if value != self._values[key.name]:
            self._apply(key, value)

    @background(group="settings")
    async def _apply(self, key: Key, value: Value) -> None:
        """Use a value in this chat."""
        async with self._one_change:
            await self._change(key, value, False)
            self._values[key.name] = value
            self._origins[key.name] = SAVED if self._saved.get(key.name) == value else CHANGED
            self.list.set_items(self._items())

    def put_back(self, values: Mapping[str, Value]) -> None:
        """Show values that are in force again: the model did not load with others."""
        for name, value in values.items():
            self._values[name] = value
            kept = self._saved.get(name, keys()[name].default) == value
            where = SAVED if name in self._saved else DEFAULT
            self._origins[name] = where if kept else CHANGED
        self.list.set_items(self._items())

    @background(group="settings")
    async def _save(self, key: Key) -> None:
        """Keep the value in force, after what was asked for before."""
        async with self._one_change:
            value = self._values[key.name]
            await self._change(key, value, True)
            self._saved[key.name] = value
            self._origins[key.name] = SAVED
            self.list.set_items(self._items())

    def _origin(self, name: str) -> str:
        """Where a value comes from, and what the file holds where that is another one."""
        origin = self._origins.get(name, DEFAULT)
        if name not in self._saved or self._saved[name] == self._values[name]:
            return origin
        held = single_line(editable(self._saved[name]), HELD) or "–"
        return f"{origin}; {SAVED}: {held}"

    def _key(self) -> Key | None:
        item = self.list.item
        return keys()[item.key] if item else None

    def _items(self) -> Iterator[Item]:
        for key in keys().values():
            value = self._values[key.name]
            yield Item(
                key=key.name,
                title=key.name,
                columns=(single_line(editable(value), SHOWN) or "–", self._origin(key.name)),
                also=key.help,
                group=GROUPS.get(key.section, key.section),
                about=f"{key.help}\n{_allowed(key)}",
                marked=value != key.default,
            )


def editable(value: Value) -> str:
    """``value`` as one line that `typed` reads back, whatever characters it holds."""
    if isinstance(value, tuple):
        return printable_json(json.dumps(list(value), ensure_ascii=False)) if value else ""
    if isinstance(value, str):
        quoted = printable_json(json.dumps(value, ensure_ascii=False))
        return quoted if quoted != f'"{value}"' or value.startswith('"') else value
    return spell(value)


def typed(key: Key, text: str) -> Value:
    """The value of ``key`` that ``text`` spells, as `editable` writes it or as a flag takes it.

    Raises:
        UsageError: It spells no allowed value; says what is allowed.
    """
    if key.kind is tuple and not text.strip():
        return ()
    if key.kind is str and text.startswith('"'):
        with suppress(ValueError):  # else it is a text that begins with a quotation mark
            text = str(json.loads(text))
    return parse(key, text, "")


def _allowed(key: Key) -> str:
    default = single_line(editable(key.default), SHOWN)
    parts = [key.allowed, f"default {default}" if default else "", key.variable]
    return " · ".join(part for part in parts if part)


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
