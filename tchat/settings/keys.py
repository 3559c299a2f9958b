"""The settings as data, one `Key` for each field that `schema` declares, and checks of values."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from tchat.errors import SETTINGS, ErrorHint, UsageError
from tchat.settings.schema import SESSION, Sampling, Settings, Tools
from tchat.translation import N_, tr

Value: TypeAlias = bool | int | float | str | tuple[str, ...]

# Annotations are strings here (PEP 563); resolving them would cost an import of typing's machinery.
KINDS: dict[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "tuple[str, ...]": tuple,
}
SECTIONS: Mapping[str, type] = MappingProxyType({"sampling": Sampling, "tools": Tools})
# Fields of Settings that are no settings
TABLES = frozenset({*SECTIONS, "keys", "servers", "fixed", "origins"})
LARGEST_INT = 2**31 - 1  # llama.cpp counts in 32 bits
YES = frozenset({"true", "yes", "on", "1"})
NO = frozenset({"false", "no", "off", "0"})
NEAR = 0.74  # similarity from which a name is suggested: one letter of four transposed or missing
# What other programs call a setting; only suggested, not taken.
FOREIGN_NAMES = {
    "context": "ctx_size",
    "context_length": "ctx_size",
    "context_size": "ctx_size",
    "ctx": "ctx_size",
    "max_context": "ctx_size",
    "n_ctx": "ctx_size",
    "num_ctx": "ctx_size",
    "max_completion_tokens": "max_tokens",
    "max_length": "max_tokens",
    "max_new_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "temperature": "temp",
    "penalty_repeat": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "typical": "typical_p",
    "n_batch": "batch_size",
    "num_batch": "batch_size",
    "num_gpu": "gpu_layers",
    "n_gpu_layers": "gpu_layers",
    "ngl": "gpu_layers",
    "num_thread": "threads",
    "n_threads": "threads",
    "cache_type_k": "cache_type",
    "cache_type_v": "cache_type",
    "model_draft": "draft_model",
    "reasoning": "think",
    "stop_sequence": "stop",
    "stop_sequences": "stop",
    "system_prompt": "system",
}
SHORT_NAMES = {"tools": "tools.enabled"}
SHOWN = 60  # characters of a refused value that are quoted back


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: its name, type, bounds and flags.

    ``section`` is the table of ``config.toml``, empty for the top level, and ``plain_name`` its
    name there; those of tools are too general to stand without the table. ``kind`` is `bool`,
    `int`, `float`, `str`, or `tuple` for a list of texts. ``unit`` is what a number counts, or
    empty. ``flags`` is empty for a setting that no flag sets. ``former`` is the name it had
    before, or empty. ``live`` ones need no loading anew; ``require`` raises for a text that is not
    allowed; ``escapes`` are read in typed texts, see `unescaped`; ``commas`` part typed lists.
    """

    name: str
    plain_name: str
    section: str
    kind: type
    default: Value
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    unit: str
    flags: tuple[str, ...]
    former: str
    live: bool
    require: Callable[[str], object] | None
    escapes: bool
    commas: bool

    @property
    def is_sampling(self) -> bool:
        """Whether it is about the sampling of a reply."""
        return self.section == "sampling"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_of(self.name)

    @property
    def allowed(self) -> str:
        """What it may hold, in words that fit after "must be"."""
        if self.choices:
            return tr("one of {choices}", choices=", ".join(self.choices))
        if self.kind in (int, float):
            return _number_text(self.kind is int, self.low, self.high)
        kinds = {bool: N_("true or false"), str: N_("text"), tuple: N_("a list of texts")}
        return tr(kinds[self.kind])

    def value_in(self, settings: Settings) -> Value:
        """The value that ``settings`` hold."""
        table = getattr(settings, self.section) if self.section else settings
        value: Value = getattr(table, self.plain_name)
        return value

    def put(self, settings: Settings, value: Value) -> Settings:
        """``settings`` with ``value``, which was checked before."""
        origins = {**settings.origins, self.name: SESSION}
        if self.section:
            table = replace(getattr(settings, self.section), **{self.plain_name: value})
            return replace(settings, origins=origins, **{self.section: table})
        fixed = settings.fixed | {self.name}
        values = {self.name: value}
        return replace(settings, fixed=fixed, origins=origins, **values)  # type: ignore[arg-type]


def variable_of(name: str) -> str:
    """The environment variable of the setting called ``name``."""
    return f"TCHAT_{name.upper().replace('.', '_')}"


def spell(value: Value) -> str:
    """``value`` as `tchat config set` and ``/set`` take it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        import json

        return json.dumps(list(value), ensure_ascii=False) if value else ""
    return str(value)


@functools.cache
def keys() -> dict[str, Key]:
    """All settings by name, in the order of their declaration."""
    found = [_key(field, "") for field in fields(Settings) if field.name not in TABLES]
    for section, table in SECTIONS.items():
        found += (_key(field, section) for field in fields(table))
    return {key.name: key for key in found}


def full_name(section: str, plain_name: str) -> str:
    """The name of the setting that stands as ``plain_name`` in a table of ``config.toml``."""
    return f"{section}.{plain_name}" if section == "tools" else plain_name


@functools.cache
def former_names() -> dict[str, Key]:
    """The renamed settings by the names that they had before."""
    return {key.former: key for key in keys().values() if key.former}


def renamed(name: str) -> str:
    """A notice for the former name of a setting, flag or variable; empty for any other name."""
    plain = name.removeprefix("TCHAT_").removeprefix("--").lower()
    key = former_names().get(plain.replace("-", "_"))
    if key is None:
        return ""
    now = key.name
    if name.startswith("TCHAT_"):
        now = key.variable
    elif name.startswith("--"):
        now = key.flags[-1]
    return tr("`{name}` is now called `{now}`; the old name still works", name=name, now=now)


def needs_loading(before: Settings, after: Settings) -> bool:
    """Whether the model must be reloaded when ``before`` becomes ``after``."""
    return any(
        not key.live and key.value_in(before) != key.value_in(after) for key in keys().values()
    )


def with_values(settings: Settings, values: Mapping[str, Value]) -> Settings:
    """``settings`` with ``values`` by their keys' names, which were checked before."""
    for name, value in values.items():
        settings = keys()[name].put(settings, value)
    return settings


def find_key(name: str) -> Key:
    """The setting called ``name``: ``temp``, ``sampling.temp``, ``top-p`` and ``top_p`` all work.

    So do a name that it had before, and ``tools`` for those that are on.

    Raises:
        UsageError: There is none; the hint names the nearest.
    """
    plain = name.removeprefix("sampling.").replace("-", "_")
    key = keys().get(SHORT_NAMES.get(plain, plain)) or former_names().get(plain)
    if key is None or (plain != name.replace("-", "_") and not key.is_sampling):
        near = nearest_key(plain)
        all_settings = ErrorHint(
            tr("`tchat config show` lists them all"),
            tr("{settings} lists them all", settings=SETTINGS),
        )
        raise UsageError(
            tr("there is no setting `{name}`", name=name),
            tr("did you mean `{name}`?", name=near) if near else all_settings,
        )
    return key


def _key(field: Field[Any], section: str) -> Key:
    metadata = field.metadata
    kind = KINDS[str(field.type)]
    flag = metadata["flag"] or f"--{field.name.replace('_', '-')}"
    return Key(
        name=full_name(section, field.name),
        plain_name=field.name,
        section=section,
        kind=kind,
        default=cast("Value", field.default),
        help=metadata["help"],
        low=metadata["low"],
        high=LARGEST_INT if metadata["high"] is None and kind is int else metadata["high"],
        choices=metadata["choices"],
        unit=metadata["unit"],
        flags=() if flag == "-" else tuple(flag.split("/")),
        former=metadata["former"],
        live=bool(section) or metadata["live"],
        require=metadata["require"],
        escapes=metadata["escapes"],
        commas=metadata["commas"],
    )


def _number_text(whole: bool, low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        text = (
            N_("a whole number from {low} to {high}")
            if whole
            else N_("a number from {low} to {high}")
        )
    elif low is not None:
        text = N_("a whole number of {low} or more") if whole else N_("a number of {low} or more")
    elif high is not None:
        text = N_("a whole number of {high} or less") if whole else N_("a number of {high} or less")
    else:
        text = N_("a whole number") if whole else N_("a number")
    return tr(text, low=low, high=high)


def nearest(word: str, names: Iterable[str], cutoff: float = NEAR) -> str:
    """The name most like ``word`` (by `difflib`, 0 to 1); empty when none is close.

    Leading dashes and slashes, which all names share, do not count.
    """
    import difflib

    by_letters = {name.lstrip("-/"): name for name in names}
    matches = difflib.get_close_matches(word.lstrip("-/"), by_letters, n=1, cutoff=cutoff)
    return by_letters[matches[0]] if matches else ""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``did you mean `name`?`` as a hint, or the empty string."""
    name = nearest(word, names)
    return tr("did you mean `{name}`?", name=name) if name else ""


def nearest_key(word: str) -> str:
    """The name of the setting that ``word`` most likely means; empty if none is close.

    Knows what other programs call it, with dashes or underscores: ``num_ctx``, ``temperature``.
    """
    plain = word.lstrip("-").replace("-", "_").lower()
    found = FOREIGN_NAMES.get(plain) or nearest(plain, [*keys(), *FOREIGN_NAMES])
    return FOREIGN_NAMES.get(found, found)


def parse(key: Key, text: str, origin: str) -> Value:
    """Parse the value of ``key`` from text: a flag, a variable or ``config set``.

    A list of texts is either one text, or a JSON array of texts. Messages name the ``origin`` where
    it was typed: ``--temp``, ``TCHAT_TEMP``; empty where the user sees it.

    Raises:
        UsageError: The value is not allowed.
    """
    try:
        value = _spelled(key, text)
    except ValueError:
        raise _refusal(key, text, origin) from None
    if not _allowed(key, value):
        raise _refusal(key, text, origin)
    return check(key, value, origin)


def check(key: Key, value: object, origin: str) -> Value:
    """Check ``value`` from TOML or JSON; messages name the ``origin``.

    Raises:
        UsageError: Wrong type or out of bounds.
    """
    if not _allowed(key, value):
        raise _refusal(key, value, origin)
    if key.kind is tuple:
        return tuple(cast("list[str]", value))
    if key.require is not None:
        _require(key.require, cast("str", value), origin)
    return cast("Value", float(cast("int", value)) if key.kind is float else value)


def _require(require: Callable[[str], object], value: str, origin: str) -> None:
    try:
        require(value)
    except UsageError as error:
        message = error.message
        if origin:
            message = tr("{message} ({origin})", message=message, origin=origin)
        raise UsageError(message, error.hint) from None


def _spelled(key: Key, text: str) -> object:
    if key.kind is bool:
        word = text.strip().lower()
        if word not in YES | NO:
            raise ValueError(text)
        return word in YES
    if key.kind is int:
        return int(text)
    if key.kind is float:
        return float(text)
    if key.kind is tuple:
        if key.commas and not text.lstrip().startswith("["):
            return tuple(filter(None, map(str.strip, text.split(","))))
        return _list_spelled(text, unescaped if key.escapes else str)
    return text


def unescaped(text: str) -> str:
    """``text`` with the characters that its escapes stand for; other backslashes are themselves."""
    characters = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    return re.sub(r"\\([ntr\\])", lambda match: characters[match[1]], text)


def _list_spelled(text: str, spelled: Callable[[str], str]) -> object:
    if not text.lstrip().startswith("["):
        return (spelled(text),)
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return (spelled(text),)  # a stop string such as "[/INST]"


def _allowed(key: Key, value: object) -> bool:
    if key.kind is tuple:
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    if isinstance(value, bool) or key.kind is bool:
        return type(value) is key.kind
    if isinstance(value, int) and key.kind is float:
        return _within(key, value)
    if type(value) is not key.kind:
        return False
    return value in key.choices if key.choices else isinstance(value, str) or _within(key, value)


def _within(key: Key, value: object) -> bool:
    number = cast("float", value)
    above = key.low is None or number >= key.low
    return above and (key.high is None or number <= key.high) and math.isfinite(number)


def _refusal(key: Key, value: object, origin: str) -> UsageError:
    shown = value if isinstance(value, str) else repr(value)
    if len(shown) > SHOWN:
        shown = shown[:SHOWN] + "…"
    text = N_("`{name}` must be {allowed}, not `{shown}`")
    if origin:
        text = N_("`{name}` ({origin}) must be {allowed}, not `{shown}`")
    return UsageError(tr(text, name=key.name, origin=origin, allowed=key.allowed, shown=shown))


FORMER_THEMES = MappingProxyType(
    {
        "catppuccin-like": "catppuccin-mocha",
        "dracula-like": "dracula",
        "everforest-like": "everforest",
        "gruvbox-like": "gruvbox",
        "nord-like": "nord",
        "tokyo-night-like": "tokyo-night",
    }
)


def renamed_theme(name: str) -> str:
    """The notice for a former name."""
    return tr(
        "the theme `{name}` is now called `{former_themes}`; the old name still works",
        name=name,
        former_themes=FORMER_THEMES[name],
    )
