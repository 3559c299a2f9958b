"""The settings: what holds, where it comes from, and how to change it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from tchat.errors import TchatError, UsageError
from tchat.sanitize import printable_json, single_line
from tchat.settings import Key, Settings, Value, keys, spell
from tchat.settings.keys import parse
from tchat.settings.schema import (
    CATALOGUE,
    CONFIG_FILE,
    ENVIRONMENT,
    FLAG,
    MODEL_FILE,
    MODELS_FILE,
    SESSION,
)
from tchat.translation import N_, tr, trn
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint, Picker
from tchat.tui.keys import Scope, bindings
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item, fit

SHOWN = 32  # characters of a value in the list
NARROW, SHOWN_NARROW = 80, 10  # cells of a screen and of a value, so that its source has room
WHOLE = 120  # characters of a value below the list, where the list cuts it
HELD = 12  # characters of another one that the file holds
DEFAULT, SAVED, CHANGED = "default", CONFIG_FILE, SESSION
START = "start"  # it was so when tchat started; config.toml was changed since
ORIGINS = {
    DEFAULT: N_("default"),
    MODEL_FILE: N_("model file"),
    CATALOGUE: N_("catalogue"),
    MODELS_FILE: "models.toml",
    SAVED: SAVED,
    ENVIRONMENT: N_("environment"),
    FLAG: N_("flag"),
    CHANGED: N_("session"),
    START: N_("at the start"),
}
"""Where a value comes from, and the word for it."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    N_("Model"): ("model", "system", "ctx_size", "think", "lora", "control_vector"),
    N_("Screen"): ("theme", "markdown", "show_reasoning", "show_details", "show_scores"),
    N_("Sampling"): ("temp", "top_k", "top_p", "min_p", "seed", "max_tokens", "stop"),
    N_("Repetition"): (
        "loop_guard",
        "repeat_last_n",
        "repeat_penalty",
        "frequency_penalty",
        "presence_penalty",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
    ),
    N_("More sampling"): (
        "top_n_sigma",
        "typical_p",
        "xtc_probability",
        "xtc_threshold",
        "dynatemp_range",
        "dynatemp_exp",
        "adaptive_target",
        "adaptive_decay",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "samplers",
        "logit_bias",
        "grammar",
    ),
    N_("Tools"): (
        "tools.enabled",
        "tools.allow",
        "tools.ask",
        "tools.deny",
        "tools.roots",
        "tools.allow_reading",
        "tools.ask_after_untrusted",
        "tools.tool_choice",
        "tools.max_steps",
        "tools.mcp",
        "tools.network",
        "tools.variables",
        "tools.trusted_servers",
    ),
    N_("Speed and memory"): (
        "threads",
        "gpu_layers",
        "tensor_split",
        "batch_size",
        "cache_type",
        "flash_attn",
        "swa_full",
        "mmap",
        "mlock",
        "force",
        "prompt_lookup",
        "draft_model",
        "prefill_while_typing",
        "kv_cache_disk_mb",
    ),
}
OTHER = N_("General")  # the section of every other setting

Change: TypeAlias = Callable[[Key, Value, bool], Awaitable[object]]
"""Called with a checked value, and whether it is to be kept in ``config.toml`` too."""


class SettingsScreen(Dialog[None]):
    """All settings. A change is applied at once, for this chat; saving keeps it for good.

    ``origins`` says where each value comes from, by name, as a key of `ORIGINS`; what is absent is
    a default. ``saved`` is what the file holds, whose path is ``file``. When ``change`` raises
    `TchatError`, nothing is shown as changed, and the setting tells why.
    """

    HEADING: ClassVar[str] = N_("Settings")
    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("change")),
        Hint("settings.save", N_("save to config.toml")),
        Hint("settings.reset", N_("default")),
        Hint("settings.changed", N_("only changed")),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.SETTINGS)]
    DEFAULT_CSS = """
    SettingsScreen.-narrow FuzzyList > .about { max-height: 6; }
    """

    def __init__(
        self,
        settings: Settings,
        origins: Mapping[str, str],
        change: Change,
        saved: Mapping[str, Value] | None = None,
        file: str = "",
    ) -> None:
        super().__init__()
        self._saved = dict(saved or {})
        self._file = file
        self._one_change = asyncio.Lock()  # in the order in which they were asked for
        self._values = {key.name: key.value_in(settings) for key in keys().values()}
        self._origins = dict(origins)
        self._below = {  # what holds without the session, where that is not of the file
            name: (self._values[name], origin)
            for name, origin in origins.items()
            if origin not in (DEFAULT, SAVED, CHANGED)
        }
        self._change = change
        self._problems: dict[str, str] = {}  # of the last attempts to change a setting
        self._only_changed = False
        self._is_narrow = False
        self.list = FuzzyList(self._items(), placeholder=tr("Type to filter names and meanings"))

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self._show()
        self.list.focus()

    def on_resize(self) -> None:
        """Cut values where there is little room."""
        if self._is_narrow != (self.size.width < NARROW):
            self._is_narrow = not self._is_narrow
            self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that act on a setting are off while a value is edited."""
        return not (action in ("save", "reset", "changed") and self.list.editing)

    def action_save(self) -> None:
        """Keep the value of the highlighted setting in ``config.toml``."""
        if key := self._key():
            self._save(key)

    def action_reset(self) -> None:
        """Take the default of the highlighted setting, for this chat."""
        if key := self._key():
            self._apply(key, key.default)

    def action_changed(self) -> None:
        """Show only what differs from the default, or everything again."""
        self._only_changed = not self._only_changed
        self._show()

    @on(FuzzyList.Chosen)
    async def _begin(self) -> None:
        """Switch what is on or off, list the values of a choice, let the user type the others."""
        key = self._key()
        if key is None:
            return
        value = self._values[key.name]
        if key.kind is bool:
            self._apply(key, not value)
        elif choices := self._choices(key):
            items = (Item(key=each, title=each, marked=each == value) for each in choices)
            picker = Picker(f"{key.name} · {tr(key.help)}", items, cursor=str(value))
            self.app.push_screen(picker, partial(self._choose, key))
        else:
            await self.list.edit(editable(value), behind_title=True)

    def _choices(self, key: Key) -> Sequence[str]:
        return sorted(self.app.available_themes) if key.name == "theme" else key.choices

    def _choose(self, key: Key, value: str | None) -> None:
        if value is not None and value != self._values[key.name]:
            self._apply(key, value)

    @on(FuzzyList.Edited)
    async def _end(self, event: FuzzyList.Edited) -> None:
        key = keys()[event.item.key]
        try:
            value = typed(key, event.text)
        except UsageError as error:
            self._show_problem(key, error)
            await self.list.edit(event.text, behind_title=True)
            return
        if value != self._values[key.name]:
            self._apply(key, value)
        elif self._problems.pop(key.name, ""):
            self._show()

    @background(group="settings")
    async def _apply(self, key: Key, value: Value) -> None:
        """Use a value in this chat."""
        async with self._one_change:
            if not await self._changed(key, value, saves=False):
                return
            self._values[key.name] = value
            self._origins[key.name] = self._origin_of(key.name, value)
            self._show()

    async def _changed(self, key: Key, value: Value, *, saves: bool) -> bool:
        """Whether a setting could be changed; where not, it tells why."""
        self._problems.pop(key.name, None)
        try:
            await self._change(key, value, saves)
        except TchatError as error:
            self._show_problem(key, error)
            return False
        return True

    def _show_problem(self, key: Key, error: TchatError) -> None:
        self._problems[key.name] = single_line(str(error))
        self._show()

    def put_back(self, values: Mapping[str, Value], problem: str) -> None:
        """Show values that are in force again: the model did not load with others."""
        for name, value in values.items():
            self._problems[name] = single_line(problem)
            self._values[name] = value
            self._origins[name] = self._origin_of(name, value)
        self._show()

    def _origin_of(self, name: str, value: Value) -> str:
        """Where ``value`` comes from: the session, unless that is what holds without it."""
        if name in self._below:
            held, origin = self._below[name]
            return origin if held == value else CHANGED
        if self._saved.get(name, keys()[name].default) != value:
            return CHANGED
        return SAVED if name in self._saved else DEFAULT

    @background(group="settings")
    async def _save(self, key: Key) -> None:
        """Keep the value in force, after what was asked for before."""
        async with self._one_change:
            value = self._values[key.name]
            if not await self._changed(key, value, saves=True):
                return
            self._saved[key.name] = value
            self._origins[key.name] = SAVED
            self._show()
            if self._file:
                self.set_heading(tr(self.HEADING), tr("saved in {path}", path=self._file))

    def _show(self) -> None:
        changed = sum(self._values[key.name] != key.default for key in keys().values())
        told = trn("{count} differs from the default", "{count} differ from the default", changed)
        self.set_heading(tr(self.HEADING), told)
        self.list.set_items(self._items(), empty=tr("Everything has its default."))

    def _origin(self, name: str) -> str:
        """Where a value comes from, and what the file holds where that is another one."""
        origin = tr(ORIGINS[self._origins.get(name, DEFAULT)])
        if name not in self._saved or self._saved[name] == self._values[name]:
            return origin
        held = single_line(editable(self._saved[name]), HELD) or "–"
        return tr("{origin}; {file}: {value}", origin=origin, file=SAVED, value=held)

    def _key(self) -> Key | None:
        item = self.list.item
        return keys()[item.key] if item else None

    def _items(self) -> Iterator[Item]:
        for section, key in _by_section():
            value = self._values[key.name]
            if self._only_changed and value == key.default:
                continue
            problem = self._problems.get(key.name, "")
            told = (f"✗ {problem}",) if problem else ()
            origin = f"✗ {tr('not changed')}" if problem else self._origin(key.name)
            whole = _shown(key, value)
            shown = fit(whole, SHOWN_NARROW) if self._is_narrow else whole
            cut = () if shown == whole else (single_line(editable(value), WHOLE),)
            yield Item(
                key=key.name,
                title=key.name,
                columns=(shown, origin),
                tones=("", "bad" if problem else ""),
                also=f"{tr(key.help)} {key.help}",
                group=tr(section),
                about="\n".join((*told, *cut, tr(key.help), _allowed(key), _names(key))),
                marked=value != key.default,
            )


def _by_section() -> Iterator[tuple[str, Key]]:
    """Every setting with its section, in the order shown."""
    listed = {name for names in SECTIONS.values() for name in names}
    rest = tuple(name for name in keys() if name not in listed)
    for section, names in (*SECTIONS.items(), (OTHER, rest)):
        yield from ((section, keys()[name]) for name in names)


def _shown(key: Key, value: Value) -> str:
    """``value`` for people, with its unit."""
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    text = single_line(editable(value), SHOWN) or "–"
    has_unit = key.unit and not isinstance(value, str | tuple) and value > 0
    return f"{text} {tr(key.unit)}" if has_unit else text


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
    default = tr("default {value}", value=_shown(key, key.default))
    if key.kind is bool:
        return default
    return f"{key.allowed} · {default}"


def _names(key: Key) -> str:
    """How it is called outside the screen."""
    table = f"[{key.section}] {key.plain_name}" if key.section else key.name
    return " · ".join(("config.toml: " + table, *key.flags[:1], key.variable))
