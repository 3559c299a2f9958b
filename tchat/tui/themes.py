"""Themes: tchat's own colours beside Textual's, TOML files checked field by field, and watched."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from tchat.errors import StorageError, TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.settings.keys import FORMER_THEMES, did_you_mean
from tchat.settings.load import parse_toml, read_text
from tchat.translation import tr

DEFAULT = "tchat-dark"
_PACKAGE = Path(__file__).parent.parent

Snapshot: TypeAlias = Mapping[str, tuple[int, int, int]]
"""The files of a folder by name: time of change in ns, size in bytes, inode."""


class LoadedThemes(NamedTuple):
    """Themes in the order of their names, and one line for each file that could not be used."""

    themes: list[Theme]
    problems: list[str]


def shipped_folder(package: Path = _PACKAGE) -> Path:
    """Where tchat's own themes are: inside the installed package, or in the checkout beside it."""
    packaged = package / "data" / "themes"
    return packaged if packaged.is_dir() else package.parent / "themes"


def load_themes(paths: Paths) -> LoadedThemes:
    """All themes of tchat and of the user; a broken one is told of and left out. Never raises."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in (shipped_folder(), paths.themes):
        try:
            files = _files(folder)
        except OSError as error:
            problems.append(
                single_line(
                    tr("cannot read {folder}: {strerror}", folder=folder, strerror=error.strerror)
                )
            )
            continue
        for path in files:
            try:
                themes[path.stem] = read_theme(path)
            except TchatError as error:
                problems.append(single_line(str(error)))
    return LoadedThemes([themes[name] for name in sorted(themes)], problems)


def load_theme(paths: Paths, name: str) -> Theme | None:
    """The theme ``name``, the user's before tchat's own; None when none can be used.

    A former name gives the theme under its new one. Never raises: what is wrong with a file is told
    by `load_themes`.
    """
    for folder in (paths.themes, shipped_folder()):
        if name == Path(name).name:
            with suppress(TchatError):
                return read_theme(folder / f"{name}.toml")
    return load_theme(paths, FORMER_THEMES[name]) if name in FORMER_THEMES else None


def current_name(name: str, known: Collection[str]) -> str:
    """The present name of a theme that was renamed; any other name, and a ``known`` one, stays."""
    return name if name in known else FORMER_THEMES.get(name, name)


def require_theme(paths: Paths, name: str) -> str:
    """The present name of the theme ``name``, which tchat, the user or Textual has.

    Raises:
        UsageError: None has it; lists the names, and what is wrong with files that are left out.
    """
    themes, problems = load_themes(paths)
    names = sorted({*(theme.name for theme in themes), *BUILTIN_THEMES})
    found = current_name(name, names)
    if found not in names:
        hint = "; ".join([tr("these are: {names}", names=", ".join(names)), *problems])
        raise UsageError(tr("there is no theme `{name}`", name=single_line(name, 60)), hint)
    return found


def changed(folder: Path, previous: Snapshot) -> Snapshot | None:
    """The theme files in ``folder`` as they are now; None when they are as in ``previous``.

    Costs one look at the folder and one at each file. A folder that is not there has no files, so
    the first ``previous`` may be ``{}``. Never raises.
    """
    try:
        now = {path.name: _stamp(path) for path in _files(folder)}
    except OSError:
        return None
    return None if now == previous else now


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)  # a link to nowhere, or gone since the folder was read
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except (FileNotFoundError, NotADirectoryError):
        return []


# Contrast of text that WCAG 2.2 asks for at level AA (1.4.3).
READABLE = 4.5
SELECTED = 7.0  # the same of selected text, at level AAA: it lies on a colour of its own
STANDS_OUT = 3.0  # contrast to what is around it (1.4.11)
VISIBLE = 1.3  # contrast of the background of prompts and of code to that of the screen
_STEPS = 20

# Each variable, and the colour of Textual's that it starts from.
TEXTS = {
    "user": "primary",
    "assistant": "foreground",
    "server": "secondary",
    "heading": "primary",
    "reasoning": "foreground",
    "muted": "foreground",
    "notice": "warning",
    "link": "accent",
    "match": "accent",
    "code": "foreground",
    "gauge-ok": "success",
    "gauge-warn": "warning",
    "gauge-full": "error",
}
BACKGROUNDS = {"user-background": "surface", "code-background": "surface"}
SYNTAX = {  # in blocks of code; a theme does not set them
    "syntax-comment": "foreground",
    "syntax-keyword": "accent",
    "syntax-string": "success",
    "syntax-number": "secondary",
    "syntax-function": "primary",
    "syntax-type": "warning",
    "syntax-error": "error",
}
SELECTION = ("selection", "selection-background")
VARIABLES = (*TEXTS, *BACKGROUNDS, *SELECTION)
# The share of the background that is mixed in.
_FAINT = {"reasoning": 0.3, "muted": 0.3, "syntax-comment": 0.3}
# The backgrounds of tchat's own that a text is on beside the theme's.
_OWN_GROUNDS = {
    "user": ("user-background",),
    "link": ("user-background", "code-background"),
    "muted": ("code-background",),
}


def variable_defaults(theme: Theme) -> dict[str, str]:
    """What tchat's variables are in ``theme`` where it does not set them; never raises.

    They follow the theme's own colours, moved away from the background until they can be read.
    """
    colors = theme.to_color_system().generate()
    names = {**TEXTS, **BACKGROUNDS, **SYNTAX}
    try:
        parsed = {name: Color.parse(colors[source]) for name, source in names.items()}
        grounds = [Color.parse(colors[name]) for name in ("background", "surface", "panel")]
        set_here = {
            name: Color.parse(theme.variables[name])
            for name in (*BACKGROUNDS, "muted")
            if name in theme.variables
        }
        every = (*parsed.values(), *grounds, *set_here.values())
        opaque = all(color.ansi is None and color.a == 1 for color in every)
    except ColorParseError:
        opaque = False
    if not opaque:  # the terminal's own colours: their contrast is the terminal's business
        own = {name: colors[source] for name, source in names.items()}
        return {**own, **_pair("ansi_black", "ansi_cyan")}
    for name, share in _FAINT.items():
        parsed[name] = parsed[name].blend(grounds[0], share, alpha=1)
    parsed["syntax-comment"] = set_here.get("muted", parsed["syntax-comment"])
    bands = {name: readable(parsed[name], grounds[:1], VISIBLE) for name in BACKGROUNDS}
    shown = {**bands, **set_here}
    code = [shown["code-background"]]
    texts = {
        name: [*grounds, *(shown[own] for own in _OWN_GROUNDS.get(name, ()))] for name in TEXTS
    }
    behind = {**texts, **dict.fromkeys(("code", *SYNTAX), code)}
    return {
        **{name: readable(parsed[name], behind[name]).hex for name in behind},
        **{name: band.hex for name, band in bands.items()},
        **_selection(Color.parse(colors["primary"]), grounds),
    }


def _selection(primary: Color, grounds: Sequence[Color]) -> dict[str, str]:
    """Selected text stands out from each of ``grounds`` and can be read."""
    behind = readable(primary, grounds, STANDS_OUT)
    text = readable(grounds[0], [behind], SELECTED)
    return _pair(text.hex, behind.hex)


def _pair(text: str, behind: str) -> dict[str, str]:
    return dict(zip(SELECTION, (text, behind), strict=True))


def readable(
    color: Color,
    backgrounds: Sequence[Color],
    ratio: float = READABLE,
    shown: Callable[[Color], Color] = lambda color: color,
) -> Color:
    """``color``, moved towards black or white until its contrast to each background is ``ratio``.

    Where neither reaches it, the better of the two. It is measured, and returned, as ``shown``.
    """
    ends = (Color(255, 255, 255), Color(0, 0, 0))
    far = max(ends, key=lambda end: min(contrast(end, ground) for ground in backgrounds))
    for step in range(_STEPS + 1):
        moved = shown(color.blend(far, step / _STEPS, alpha=1))
        if min(contrast(moved, ground) for ground in backgrounds) >= ratio:
            return moved
    return shown(far)


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of two opaque colours, 1..21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (_linear(channel / 255) for channel in color.rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


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
            tr("{path}: this cannot be a theme's name", path=path),
            tr("use lower-case letters, digits, - and _, at most 64"),
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from error
    if size > LARGEST:
        raise UsageError(
            tr(
                "{path} is larger than a theme can be ({largest} kB)",
                path=path,
                largest=LARGEST // 1024,
            )
        )
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
            raise UsageError(
                tr("{path}: there is no colour `{name}`", path=path, name=name),
                did_you_mean(name, known),
            )
    for name in NEEDED:
        if name not in document:
            raise UsageError(
                tr("{path} has no `{name}`", path=path, name=name),
                tr('add a line such as {name} = "#7aa2f7"', name=name),
            )
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
        raise UsageError(tr("{path}: `dark` must be true or false", path=path))
    return dark


def _opaque(value: object, name: str, path: Path) -> str:
    """``value`` when it is a colour of its own, not one of the terminal's palette."""
    color = _color(value)
    if color is None or color.a < 1 or color.ansi is not None:
        raise UsageError(
            tr(
                "{path}: `{name}` must be an opaque colour, not `{value}`",
                path=path,
                name=name,
                value=value,
            ),
            tr('write one like "#7aa2f7" or "teal"'),
        )
    return str(value)


def _color(value: object) -> Color | None:
    try:
        return Color.parse(value) if isinstance(value, str) else None
    except ColorParseError:
        return None


def _variables(table: object, path: Path) -> dict[str, str]:
    if not isinstance(table, dict):
        raise UsageError(tr("{path}: `variables` must be a table, written [variables]", path=path))
    return {name: _variable(name, value, path) for name, value in table.items()}


def _variable(name: str, value: object, path: Path) -> str:
    if name in VARIABLES:
        return _opaque(value, f"variables.{name}", path)
    if name not in _textual_variables():
        known = (*VARIABLES, *_textual_variables())
        hint = did_you_mean(name, known) or tr("tchat's own: {names}", names=", ".join(VARIABLES))
        raise UsageError(tr("{path}: there is no variable `{name}`", path=path, name=name), hint)
    fits = _is_text_style if name.endswith("-style") else _is_shaded
    if not isinstance(value, str) or not fits(value):
        what = tr("a text style") if name.endswith("-style") else tr("a colour")
        raise UsageError(
            tr(
                "{path}: `variables.{name}` must be {what}, not `{value}`",
                path=path,
                name=name,
                what=what,
                value=value,
            )
        )
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
