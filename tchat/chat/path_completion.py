"""Complete file names after an ``@``."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from tchat.paths import expanded, is_file, is_folder

# A walk from the home folder must end; a project of this size is still listed whole.
MAX_PATHS = 4000
_BEHIND = ",;:!?.)]}'\""  # what a sentence puts behind a name
# Full of files that nobody wrote by hand.
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "target", "site-packages"})


def complete_paths(word: str, folder: Path | None = None) -> list[str]:
    """Files and folders below the folder that ``word`` begins with, nearest first.

    ``src/te`` lists everything below ``src``; what comes after the last slash only decides whether
    hidden names are listed: they are when it begins with a dot. The names are spelled as the word
    is, from its folder on, and folders end in a slash. A folder that cannot be read is empty.

    Reads the disk; not for the user interface's thread.

    Args:
        word: What was typed: relative, absolute, or with ``~`` in front.
        folder: What a relative word starts from; the working folder by default.

    Returns:
        At most `MAX_PATHS` names: a folder's own names in alphabetical order, before those below.
    """
    head, slash, rest = word.rpartition("/")
    spelled = head + slash
    root = (folder or Path()) / expanded(spelled)
    hidden = rest.startswith(".")
    names = []
    for name in _walk(root, hidden):
        names.append(spelled + name)
        if len(names) == MAX_PATHS:
            break
    return names


def existing_files(words: Iterable[str]) -> list[str]:
    """The words that name existing files, without trailing punctuation.

    Reads the disk; not for the user interface's thread.
    """
    names = (next(filter(is_file, (word, word.rstrip(_BEHIND))), "") for word in words)
    return [name for name in names if name]


def _walk(root: Path, hidden: bool) -> Iterator[str]:
    """Names below ``root``, breadth first; links to folders and hidden folders are not entered."""
    waiting = deque([""])
    while waiting:
        below = waiting.popleft()
        for entry in _entries(root / below):
            if entry.name.startswith(".") and not hidden:
                continue
            name = below + entry.name
            if not is_folder(entry):
                yield name
                continue
            yield f"{name}/"
            if not (entry.name.startswith(".") or entry.name in _SKIPPED or entry.is_symlink()):
                waiting.append(f"{name}/")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name.casefold())
    except (OSError, ValueError):  # a NUL in the name
        return []
