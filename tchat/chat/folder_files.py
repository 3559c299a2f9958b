"""The text files below a folder, for a prompt: what git ignores, hidden and binary files stay out.

Reads the disk; not for the user interface's thread.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tchat.chat.attachments import (
    GENERATED_FOLDERS,
    MAX_PATHS,
    MAX_SIZE,
    Attachment,
    read_file,
)
from tchat.errors import UsageError
from tchat.humanize import listed, size_text
from tchat.sanitize import single_line
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MOST_STARS = 4  # in a pattern's name: as a regular expression, each multiplies the time
IGNORE_FILE = ".gitignore"
SNIFFED = 8192  # bytes in which git looks for a NUL too
UNICODE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16, whose text holds NULs
BYTES_A_TOKEN = 4  # of English and of code, about
NAMED = 3  # largest files that an error names


class FolderFiles(NamedTuple):
    """The text files below ``folder``, and how many binary ones were left out."""

    folder: Path
    attachments: tuple[Attachment, ...]
    binary: int

    @property
    def summary(self) -> str:
        """What goes into the prompt, with its size: for the user, before the model reads it."""
        size = sum(len(each.text.encode()) for each in self.attachments)
        text = trn(
            "{folder}: {count} file, {size}, about {tokens:,} tokens",
            "{folder}: {count:,} files, {size}, about {tokens:,} tokens",
            len(self.attachments),
            folder=single_line(str(self.folder)),
            size=size_text(size) or "0 B",
            tokens=math.ceil(size / BYTES_A_TOKEN / 10) * 10,
        )
        if not self.binary:
            return text
        left_out = trn(
            "{count} binary file left out", "{count:,} binary files left out", self.binary
        )
        return tr("{first}; {second}", first=text, second=left_out)


def read_folder(folder: Path, encoding: str = "auto") -> FolderFiles:
    """Read the text files below ``folder``, in the order of their names.

    Links, hidden files, other file systems and what a ``.gitignore`` names are left out.

    Raises:
        UsageError: There is no text file, or there are too many, or they are too large.
        StorageError: One cannot be read.
    """
    sizes: list[tuple[int, Path]] = []
    binary = 0
    for path in _files(folder, _outer_rules(folder)):
        if not _size(path):  # empty, or of a kernel that would let its reader wait
            continue
        if _is_binary(path):
            binary += 1
        else:
            sizes.append((_size(path), path))
        if len(sizes) + binary > MAX_PATHS:
            raise UsageError(
                tr(
                    "{folder} holds more than {count:,} files",
                    folder=single_line(str(folder)),
                    count=MAX_PATHS,
                ),
                tr("name a folder below it, or files"),
            )
    _require_size(folder, sizes)
    read = tuple(Attachment(str(path), *read_file(path, encoding)) for _, path in sizes)
    files = tuple(each for each in read if each.text.strip())
    if not files:
        raise UsageError(
            tr("there is no text file in {folder}", folder=single_line(str(folder))),
            tr("hidden files, binary files and what .gitignore names are left out"),
        )
    return FolderFiles(folder, files, binary)


def largest_text(sizes: Sequence[tuple[int, str]]) -> str:
    """The names of the largest files with their sizes, for an error about all of them."""
    ordered = sorted(sizes, key=lambda each: (-each[0], each[1]))
    names = [f"{single_line(name)} {size_text(size)}" for size, name in ordered]
    return tr("the largest: {names}", names=listed(names, NAMED))


def _require_size(folder: Path, sizes: Sequence[tuple[int, Path]]) -> None:
    total = sum(size for size, _ in sizes)
    if total <= MAX_SIZE:
        return
    raise UsageError(
        tr(
            "the text files in {folder} have {size}, more than any context window holds",
            folder=single_line(str(folder)),
            size=size_text(total),
        ),
        largest_text([(size, str(path)) for size, path in sizes]),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is gone
        return 0  # reading it tells that


def _is_binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED)
    except OSError:
        return False  # reading it all tells the reason
    return b"\0" in start and not start.startswith(UNICODE_MARKS)


# The rules of one `.gitignore`, and the folder that its patterns start from.
_Rules = tuple[Path, "GitIgnoreSpec"]


def _files(folder: Path, rules: tuple[_Rules, ...]) -> Iterator[Path]:
    """The files below ``folder`` that are not ignored, the files of a folder before its folders.

    On its own file system only: reading a file of ``/proc`` may wait for ever.
    """
    device = _device(folder)
    waiting = [(folder, rules)]  # no recursion: a path can be deeper than it may go
    while waiting:
        folder, outer = waiting.pop()
        if _device(folder) != device:
            continue
        rules = (*outer, *_rules_in(folder))
        folders = []
        for entry in _entries(folder):
            path = folder / entry.name
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in GENERATED_FOLDERS and not _is_ignored(path, rules, "/"):
                    folders.append(path)
            elif entry.is_file(follow_symlinks=False) and not _is_ignored(path, rules):
                yield path
        waiting += ((each, rules) for each in reversed(folders))


def _device(folder: Path) -> int:
    try:
        return folder.stat().st_dev
    except OSError:  # gone, or its path is too long
        return -1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # not to be read, gone, or its path is too long
        return []


def _outer_rules(folder: Path) -> tuple[_Rules, ...]:
    """The rules of the folders around ``folder``, up to the root of its git repository."""
    found: list[_Rules] = []
    place = folder.absolute()
    if (place / ".git").exists():
        return ()
    for outer in place.parents:
        found[:0] = _rules_in(outer)
        if (outer / ".git").exists():
            return tuple(found)
    return ()


def _rules_in(folder: Path) -> tuple[_Rules, ...]:
    from pathspec import GitIgnoreSpec

    path = folder / IGNORE_FILE
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # git follows no link here; a pipe would wait
            return ()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    patterns = (line for line in lines if not line.startswith("#"))
    if any(part.count("*") > MOST_STARS for line in patterns for part in line.split("/")):
        reason = tr("more than {most} stars in a name", most=MOST_STARS)
        raise _not_understood(path, reason)
    try:
        return ((folder.absolute(), GitIgnoreSpec.from_lines(lines)),)
    except (ValueError, re.error) as error:
        raise _not_understood(path, str(error)) from error


def _not_understood(path: Path, reason: str) -> UsageError:
    return UsageError(
        tr("{path} cannot be understood: {reason}", path=single_line(str(path)), reason=reason),
        tr("correct it, or name files instead of the folder"),
    )


def _is_ignored(path: Path, rules: Sequence[_Rules], mark: str = "") -> bool:
    """Whether git ignores it: the rules of the nearest folder that say something decide."""
    absolute = path.absolute()
    for folder, spec in reversed(rules):
        name = absolute.relative_to(folder).as_posix() + mark
        decided = spec.check_file(name).include
        if decided is not None:
            return decided
    return False
