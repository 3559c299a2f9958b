"""The settings as data: one `Key` for each field that `schema` declares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any, TypeAlias, cast

from tchat.errors import UsageError
from tchat.settings.nearest import did_you_mean
from tchat.settings.schema import Sampling, Settings

Value: TypeAlias = bool | int | float | str | tuple[str, ...]

# Annotations are strings here (PEP 563); resolving them would cost an import of typing's machinery.
KINDS: dict[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "tuple[str, ...]": tuple,
}
TABLES = frozenset(
    {"sampling", "keys", "fixed"}
)  # fields of Settings that are no settings themselves
LARGEST_INT = 2**31 - 1  # llama.cpp counts in 32 bits


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: its name, type, bounds and flags.

    ``section`` is the table of ``config.toml``, empty for the top level. ``kind`` is `bool`,
    `int`, `float`, `str`, or `tuple` for a list of texts. ``flags`` is empty for a setting that
    no flag sets. ``former`` is the name it had before, or empty. ``live`` ones need no loading
    anew; ``require`` raises for a text that is not allowed.
    """

    name: str
    section: str
    kind: type
    default: Value
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    flags: tuple[str, ...]
    former: str
    live: bool
    require: Callable[[str], object] | None

    @property
    def dotted(self) -> str:
        """The name with its section, as in ``sampling.temp``."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_of(self.name)

    @property
    def allowed(self) -> str:
        """What it may hold, in words that fit after "must be"."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind in (int, float):
            noun = "a whole number" if self.kind is int else "a number"
            return noun + _bounds(self.low, self.high)
        return {bool: "true or false", str: "text", tuple: "a list of texts"}[self.kind]

    def value_in(self, settings: Settings) -> Value:
        """The value that ``settings`` hold."""
        value: Value = getattr(settings.sampling if self.section else settings, self.name)
        return value

    def put(self, settings: Settings, value: Value) -> Settings:
        """``settings`` with ``value``, which was checked before."""
        if self.section:
            sampling = replace(settings.sampling, **{self.name: value})  # type: ignore[arg-type]
            return replace(settings, sampling=sampling)
        fixed = settings.fixed | {self.name}
        return replace(settings, fixed=fixed, **{self.name: value})  # type: ignore[arg-type]


def variable_of(name: str) -> str:
    """The environment variable of the setting called ``name``."""
    return f"TCHAT_{name.upper()}"


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
    plain = [_key(field, "") for field in fields(Settings) if field.name not in TABLES]
    return {
        key.name: key for key in plain + [_key(field, "sampling") for field in fields(Sampling)]
    }


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
    return f"`{name}` is now called `{now}`; the old name still works"


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

    So does a name that it had before.

    Raises:
        UsageError: There is none; the hint names the nearest.
    """
    plain = name.removeprefix("sampling.").replace("-", "_")
    key = keys().get(plain) or former_names().get(plain)
    if key is None or (plain != name.replace("-", "_") and key.section != "sampling"):
        raise UsageError(
            f"there is no setting `{name}`",
            did_you_mean(plain, keys()) or "`tchat config show` lists them all",
        )
    return key


def _key(field: Field[Any], section: str) -> Key:
    told = field.metadata
    kind = KINDS[str(field.type)]
    flag = told["flag"] or f"--{field.name.replace('_', '-')}"
    return Key(
        name=field.name,
        section=section,
        kind=kind,
        default=cast("Value", field.default),
        help=told["help"],
        low=told["low"],
        high=LARGEST_INT if told["high"] is None and kind is int else told["high"],
        choices=told["choices"],
        flags=() if flag == "-" else tuple(flag.split("/")),
        former=told["former"],
        live=bool(section) or told["live"],
        require=told["require"],
    )


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of {low} or more"
    return "" if high is None else f" of {high} or less"
