"""Options by which programs that mostly read write a file, or run another program.

A ``*`` in a pattern that allows a command stands for none of them: `git log *` is meant to show the
log, and `git log --output=FILE` overwrites any file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class _Options(NamedTuple):
    """Long names, and the letters of short ones, which may stand in a row: ``-nO``."""

    names: tuple[str, ...]
    letters: str = ""


_GIT = _Options(
    (
        *("--output", "--output-directory", "--open-files-in-pager", "--ext-diff", "--textconv"),
        *("--exec", "--exec-path", "--extcmd", "--tool", "--upload-pack", "--receive-pack"),
        *("--config", "--config-env", "--template", "--paginate", "--git-dir", "--work-tree"),
        *("--separate-git-dir", "--filter-process", "--editor", "--web", "--browser", "--strategy"),
    ),
    "Ooxc",
)
_PROGRAMS: Mapping[str, _Options] = {
    "git": _GIT,
    "hg": _Options(("--config", "--output", "--tool", "--repository"), "oR"),
    "svn": _Options(
        ("--config-option", "--config-dir", "--diff-cmd", "--diff3-cmd", "--editor-cmd")
    ),
    "jj": _Options(("--config", "--config-file", "--config-toml", "--tool", "--repository"), "R"),
    "rg": _Options(("--pre", "--hostname-bin")),
    "fd": _Options(("--exec", "--exec-batch"), "xX"),
    "sort": _Options(("--output", "--compress-program"), "o"),
    "tree": _Options(("--output",), "oR"),
    "less": _Options(("--log-file", "--LOG-FILE"), "oO"),
    "man": _Options(("--pager", "--html", "--preprocessor"), "PH"),
    "diff": _Options(("--output",)),
}


def is_acting(program: str, argument: str) -> bool:
    """Whether ``argument`` may be such an option of ``program``; long ones may be shortened."""
    options = _PROGRAMS.get(program)
    if options is None or len(argument) < 2 or argument[0] != "-":
        return False
    if argument[1] != "-":
        return bool(set(argument) & set(options.letters))
    name = argument.partition("=")[0]
    return len(name) > 2 and any(
        each.startswith(name) or name.startswith(each) for each in options.names
    )


def names_acting(program: str, argument: str) -> bool:
    """Whether ``argument``, the beginning of one, already names such an option in full."""
    options = _PROGRAMS.get(program)
    if options is None:
        return False
    if argument.startswith("--"):
        return argument.partition("=")[0] in options.names
    return is_acting(program, argument)
