"""One theme from one TOML file, checked so that no value of it can break the screen.

::

    dark = true
    primary = "#7aa2f7"          # Textual's colour names; these three are needed:
    background = "#1a1b26"       # primary, background, foreground
    foreground = "#c0caf5"
    [variables]
    user = "#7dcfff"             # tchat's (see `theme_variables`), and Textual's own

The theme is named after its file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from tchat.errors import StorageError, UsageError
from tchat.settings.keys import did_you_mean
from tchat.settings.load import parse_toml, read_text
from tchat.tui.theme_variables import VARIABLES

NEEDED = ("primary", "background", "foreground")
COLOURS = (
    *NEEDED,
    "secondary",
    "accent",
    "warning",
    "error",
    "success",
    "surface",
    "panel",
    "boost",
)
LARGEST = 64 * 1024  # bytes; tchat's own themes have 0.7 kB
TEXT_STYLES = frozenset({"none", "bold", "dim", "italic", "underline", "reverse", "strike"})
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHADED = re.compile(r"(\S+)(?: (?:\d{1,2}|100)%)?")


def read_theme(path: Path) -> Theme:
    """The theme in the file ``path``.

    Raises:
        UsageError: It is not TOML, too large, or not a theme; names the file and the field.
        StorageError: It cannot be read.
    """
    if not _NAME.fullmatch(path.stem):
        raise UsageError(
            f"{path}: this cannot be a theme's name",
            "use lower-case letters, digits, - and _, at most 64",
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if size > LARGEST:
        raise UsageError(f"{path} is larger than a theme can be ({LARGEST // 1024} kB)")
    return parse_theme(read_text(path), path)


def parse_theme(text: str, path: Path) -> Theme:
    """The theme that the TOML ``text`` of ``path`` spells.

    Raises:
        UsageError: It is not TOML, or not a theme; names the file and the field.
    """
    document = parse_toml(text, path)
    known = (*COLOURS, "dark", "variables")
    for name in document:
        if name not in known:
            raise UsageError(f"{path}: there is no colour `{name}`", did_you_mean(name, known))
    for name in NEEDED:
        if name not in document:
            raise UsageError(f"{path} has no `{name}`", f'add a line such as {name} = "#7aa2f7"')
    colours: dict[str, Any] = {
        name: _opaque(document[name], name, path) for name in COLOURS if name in document
    }
    return Theme(
        name=path.stem,
        dark=_dark(document, path),
        variables=_variables(document.get("variables", {}), path),
        **colours,
    )


def _dark(document: Mapping[str, Any], path: Path) -> bool:
    dark = document.get("dark", True)
    if not isinstance(dark, bool):
        raise UsageError(f"{path}: `dark` must be true or false")
    return dark


def _opaque(value: object, name: str, path: Path) -> str:
    """``value`` when it is a colour of its own, not one of the terminal's palette."""
    color = _color(value)
    if color is None or color.a < 1 or color.ansi is not None:
        raise UsageError(
            f"{path}: `{name}` must be an opaque colour, not `{value}`",
            'write one like "#7aa2f7" or "teal"',
        )
    return str(value)


def _color(value: object) -> Color | None:
    try:
        return Color.parse(value) if isinstance(value, str) else None
    except ColorParseError:
        return None


def _variables(table: object, path: Path) -> dict[str, str]:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: `variables` must be a table, written [variables]")
    return {name: _variable(name, value, path) for name, value in table.items()}


def _variable(name: str, value: object, path: Path) -> str:
    if name in VARIABLES:
        return _opaque(value, f"variables.{name}", path)
    if name not in _textual_variables():
        known = (*VARIABLES, *_textual_variables())
        hint = did_you_mean(name, known) or "tchat's own: " + ", ".join(VARIABLES)
        raise UsageError(f"{path}: there is no variable `{name}`", hint)
    fits = _is_text_style if name.endswith("-style") else _is_shaded
    if not isinstance(value, str) or not fits(value):
        what = "a text style" if name.endswith("-style") else "a colour"
        raise UsageError(f"{path}: `variables.{name}` must be {what}, not `{value}`")
    return value


@functools.cache
def _textual_variables() -> frozenset[str]:
    return frozenset(Theme("any", primary="#000000").to_color_system().generate())


def _is_text_style(value: str) -> bool:
    return bool(value) and set(value.split(" ")) <= TEXT_STYLES


def _is_shaded(value: str) -> bool:
    """Whether it is a colour, or the word for one with contrast, by itself or at a percentage."""
    match = _SHADED.fullmatch(value)
    return match is not None and (match[1] == "auto" or _color(match[1]) is not None)
