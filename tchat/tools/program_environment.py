"""The environment of programs that tools start: what they need to work, and no secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# Nothing here names a file that a program loads, or holds a key.
_KEPT = (
    *("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES"),
    *("LC_COLLATE", "LC_NUMERIC", "LC_TIME", "TZ", "TMPDIR"),
)
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def program_environment(
    environ: Mapping[str, str] = os.environ,
    *,
    extra: Sequence[str] = (),
    writable: Sequence[Path] = (),
) -> dict[str, str]:
    """The variables for a program.

    Args:
        environ: tchat's own.
        extra: Names of more variables that the user passes on.
        writable: Folders that a model may write to: programs are not looked for there.
    """
    kept = {name: environ[name] for name in (*_KEPT, *extra) if name in environ}
    kept["PATH"] = safe_path(environ.get("PATH", ""), writable)
    # Programs that would wait for a person end instead.
    kept |= {"TERM": "dumb", "GIT_TERMINAL_PROMPT": "0", "PAGER": "cat", "GIT_PAGER": "cat"}
    return kept


def safe_path(path: str, writable: Sequence[Path]) -> str:
    """The absolute folders of a ``PATH`` that do not lie in ``writable``."""
    roots = [Path(os.path.realpath(each)) for each in writable]
    kept = [
        folder
        for folder in path.split(os.pathsep)
        if os.path.isabs(folder)  # noqa: PTH117
        and not any(Path(os.path.realpath(folder)).is_relative_to(root) for root in roots)
    ]
    return os.pathsep.join(kept) or _DEFAULT_PATH
