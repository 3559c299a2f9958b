"""Themes: tchat's own, then the user's, which replace those of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from textual.theme import BUILTIN_THEMES, Theme

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.tui.theme_file import read_theme

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
            problems.append(single_line(f"cannot read {folder}: {error.strerror}"))
            continue
        for path in files:
            try:
                themes[path.stem] = read_theme(path)
            except TchatError as error:
                problems.append(single_line(str(error)))
    return LoadedThemes([themes[name] for name in sorted(themes)], problems)


def load_theme(paths: Paths, name: str) -> Theme | None:
    """The theme ``name``, the user's before tchat's own; None when none can be used.

    Never raises: what is wrong with a file is told by `load_themes`.
    """
    for folder in (paths.themes, shipped_folder()):
        if name == Path(name).name:
            with suppress(TchatError):
                return read_theme(folder / f"{name}.toml")
    return None


def require_theme(paths: Paths, name: str) -> None:
    """Raise UsageError unless a theme of tchat, the user or Textual has the name.

    Raises:
        UsageError: None has; names them, and what is wrong with files that are left out.
    """
    themes, problems = load_themes(paths)
    names = sorted({*(theme.name for theme in themes), *BUILTIN_THEMES})
    if name not in names:
        hint = "; ".join([f"these are: {', '.join(names)}", *problems])
        raise UsageError(f"there is no theme `{single_line(name, 60)}`", hint)


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
