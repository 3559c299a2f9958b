"""Patterns of paths, such as ``docs/*``: ``*`` stands for anything, ``/`` too.

A pattern that allows covers exactly what it says. One that restricts also covers what lies below a
path that it covers, other spellings of it, and other names of the same file. The folder where a
relative pattern starts is always taken literally.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from tchat.paths import expanded
from tchat.tools.protected_names import folded

WILDCARDS = "*?["


def is_covered(path: str, pattern: str, base: Path) -> bool:
    """Whether a pattern that allows covers ``path``, which is absolute and without links."""
    fixed, rest = _split(pattern, base, WILDCARDS)
    start = escape(os.path.realpath(fixed))
    return fnmatchcase(path, "/".join([start.rstrip("/") or "/", *rest]) if rest else start)


def is_touched(path: str, pattern: str, bases: Sequence[Path]) -> bool:
    """Whether a pattern that restricts covers ``path``, from any of the folders ``bases``."""
    name = _folded_path(path)
    patterns = {each for base in bases for each in _spellings(pattern, base)}
    return any(
        fnmatchcase(name, each)
        or fnmatchcase(name, f"{each.rstrip('/')}/*")
        or fnmatchcase(name, each.removesuffix("/**").removesuffix("/*"))
        for each in patterns
    ) or _is_linked(path, pattern, bases)


def literal_folder(pattern: str, base: Path) -> Path:
    """The part of a pattern before its first wildcard, without links."""
    return Path(os.path.realpath(_split(pattern, base, WILDCARDS)[0]))


def _split(pattern: str, base: Path, wildcards: str) -> tuple[Path, tuple[str, ...]]:
    """The path before the first part with a wildcard, and the parts from there."""
    parts = expanded(pattern).parts
    end = next((n for n, part in enumerate(parts) if set(part) & set(wildcards)), len(parts))
    return base.joinpath(*parts[:end]), parts[end:]


def _spellings(pattern: str, base: Path) -> Iterator[str]:
    """The patterns that ``pattern`` may mean, folded and absolute."""
    for wildcards in (WILDCARDS, "*?"):  # a name may hold a bracket
        fixed, rest = _split(pattern, base, wildcards)
        # Before and after links in the pattern itself are resolved.
        for start in (os.path.realpath(fixed), os.path.abspath(fixed)):  # noqa: PTH100
            names = [escape(folded(part)) for part in start.split("/")[1:] if part]
            yield _joined(names, rest, wildcards)
            yield _joined(names, [part for part in rest if part != "**"], wildcards)


def _joined(names: Sequence[str], rest: Sequence[str], wildcards: str) -> str:
    parts = list(names)
    for part in rest:
        if part == "..":
            del parts[-1:]
        else:
            name = folded(part)
            parts.append(name if "[" in wildcards else name.replace("[", "[[]"))
    return "/" + "/".join(parts)


def _is_linked(path: str, pattern: str, bases: Sequence[Path]) -> bool:
    """Whether ``path`` is another name (a hard link) of the file that a literal pattern names."""
    try:
        info = Path(path).lstat()
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(info.st_mode) or info.st_nlink < 2:
        return False
    for base in bases:
        try:
            named = (base / expanded(pattern)).stat()
        except (OSError, ValueError):
            continue
        if (named.st_dev, named.st_ino) == (info.st_dev, info.st_ino):
            return True
    return False


def _folded_path(path: str) -> str:
    return "/".join(folded(part) for part in path.split("/"))
