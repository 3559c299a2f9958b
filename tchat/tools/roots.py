"""The folders that tools may use, and opening what lies below them without a way out.

A path is walked folder by folder, each opened relative to the one before it and never through a
link, so that nothing that is swapped between a check and its use leads outside. `Roots.resolve`
follows links that stay inside; everything else refuses them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.tools.protected_names import is_read_only, is_secret
from tchat.tools.tool import ToolError
from tchat.translation import tr

MAX_LINKS = 40
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK opening a pipe waits for a writer.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Location(NamedTuple):
    """A name in an open folder.

    Attributes:
        folder: The descriptor of the folder; the folder itself when ``name`` is empty.
        name: The last part of the path.
        path: The whole path, without links.
    """

    folder: int
    name: str
    path: Path


class _Root(NamedTuple):
    path: Path
    spellings: tuple[Path, ...]
    identity: tuple[int, int]


class Roots:
    """The allowed folders.

    Args:
        folders: Relative paths start at the first.
        excluded: Folders that stay out even below an allowed one, such as tchat's own.
        is_denied: Whether the user denies a path, which has no links.

    Raises:
        ToolError: One is not a folder, or is itself excluded.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        excluded: Sequence[Path] = (),
        is_denied: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        self.is_denied = is_denied
        self._excluded = frozenset(
            identity for each in excluded if (identity := _identity(each)) is not None
        )
        self._excluded_paths = tuple(Path(os.path.realpath(each)) for each in excluded)
        self._roots = tuple(self._root(each) for each in folders)
        if not self._roots:
            raise ToolError(tr("no folder is allowed for tools"), tr("name one"))

    @property
    def folders(self) -> tuple[Path, ...]:
        """The allowed folders, without links."""
        return tuple(each.path for each in self._roots)

    def hidden(self) -> tuple[Path, ...]:
        """What is there and no tool may open: excluded folders; right below a root, also what is
        secret or denied.
        """
        found = {each for each in self._excluded_paths if each.exists()}
        for root in self.folders:
            with suppress(OSError), os.scandir(root) as entries:
                found |= {
                    root / each.name
                    for each in entries
                    if (is_secret(each.name) or self.is_denied(root / each.name))
                    and not each.is_symlink()
                }
        inside = (each for each in found if any(map(each.is_relative_to, self.folders)))
        return tuple(sorted(inside))

    def resolve(self, name: str, *, writing: bool = False) -> Path:
        """The path that ``name`` means, links that stay inside followed; it need not exist.

        Raises:
            ToolError: It lies outside, is protected, or cannot be looked up.
        """
        with self._walk(name, follow=True, writing=writing) as walk:
            return walk.path.joinpath(*walk.missing)

    @contextmanager
    def open_file(self, name: str) -> Iterator[tuple[BinaryIO, Location]]:
        """Open a regular file to read.

        Raises:
            ToolError: It cannot be opened, lies outside, or is no regular file.
        """
        with self._walk(name) as walk:
            location = walk.location()
            if not location.name or walk.missing:
                raise _cannot(name, tr("it is a folder") if not walk.missing else tr("not found"))
            with _reported(name):
                descriptor = os.open(location.name, FILE_FLAGS, dir_fd=location.folder)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _cannot(name, tr("it is no regular file"))
                yield file, location

    @contextmanager
    def open_folder(self, name: str) -> Iterator[Location]:
        """Open a folder; the descriptor is closed at the end.

        Raises:
            ToolError: It cannot be opened, or lies outside.
        """
        with self._walk(name) as walk:
            if walk.missing:
                raise _cannot(name, tr("not found"))
            if walk.file:
                raise _cannot(name, tr("it is no folder"))
            yield Location(walk.folder, "", walk.path)

    @contextmanager
    def open_parent(self, name: str, *, create: bool = False) -> Iterator[Location]:
        """Open the folder of a file that may be written, which need not exist.

        Args:
            name: The path of the file.
            create: Make missing folders.

        Raises:
            ToolError: It lies outside, is protected, or is a folder.
        """
        with self._walk(name, writing=True) as walk:
            if create:
                with _reported(name):
                    walk.make_folders()
            location = walk.location()
            if not location.name:
                raise _cannot(name, tr("it is a folder"))
            if len(walk.missing) > 1:
                raise _cannot(name, tr("its folder does not exist"))
            yield location

    def open_below(self, folder: int, name: str) -> int | None:
        """Open the folder ``name`` in an open one; None for what tools must not enter."""
        if is_secret(name):
            return None
        try:
            descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        except OSError:
            return None
        if _identity_of(os.fstat(descriptor)) in self._excluded:
            os.close(descriptor)
            return None
        return descriptor

    def _root(self, folder: Path) -> _Root:
        path = Path(os.path.realpath(expanded(str(folder))))
        identity = _identity(path)
        if identity is None or not path.is_dir():
            raise ToolError(
                tr("{folder} is no folder", folder=single_line(str(folder))),
                tr("name an existing folder for tools"),
            )
        inside = any(path.is_relative_to(each) for each in self._excluded_paths)
        if inside or identity in self._excluded:
            raise ToolError(
                tr("{folder} cannot be opened to tools", folder=single_line(str(folder))),
                tr("name another folder"),
            )
        return _Root(path, (path, Path(os.path.abspath(expanded(str(folder))))), identity)  # noqa: PTH100

    @contextmanager
    def _walk(self, name: str, *, follow: bool = False, writing: bool = False) -> Iterator[_Walk]:
        root, parts = self._start(name)
        with _reported(name):
            descriptor = os.open(root.path, FOLDER_FLAGS)
        walk = _Walk(root, name, [descriptor], self._excluded, self.is_denied, writing)
        try:
            if _identity_of(os.fstat(descriptor)) != root.identity:
                raise _cannot(name, tr("the allowed folder was replaced"))
            with _reported(name):
                walk.go(parts, follow=follow)
            yield walk
        finally:
            walk.close()

    def _start(self, name: str) -> tuple[_Root, list[str]]:
        """The root that a path starts at, and the parts that are walked from there."""
        if not name or "\0" in name or len(name) > 4096:
            raise _cannot(name, tr("it is no path"))
        try:
            name.encode()
        except UnicodeEncodeError:
            raise _cannot(name, tr("it is no path")) from None
        path = expanded(name)
        if not path.is_absolute():
            return self._roots[0], list(path.parts)
        found = [
            (len(spelling.parts), root, list(path.relative_to(spelling).parts))
            for root in self._roots
            for spelling in root.spellings
            if path.is_relative_to(spelling)
        ]
        if not found:
            raise _outside(name)
        _, root, parts = max(found, key=lambda each: each[0])
        return root, parts


@dataclass
class _Walk:
    """The open folders from a root down to where a path leads.

    Attributes:
        root: Where it starts; never left.
        asked: The path as it was asked for, for errors.
        folders: Descriptors, the root's first; one more than ``names``.
        excluded: Identities of folders that are not entered.
        is_denied: Whether the user denies a path.
        writing: Whether the path is to be written.
        names: The folders below the root.
        file: The last part, if it is there and no folder.
        missing: The parts that do not exist.
    """

    root: _Root
    asked: str
    folders: list[int]
    excluded: frozenset[tuple[int, int]]
    is_denied: Callable[[Path], bool]
    writing: bool
    names: list[str] = field(default_factory=list)
    file: str = ""
    missing: list[str] = field(default_factory=list)

    @property
    def folder(self) -> int:
        return self.folders[-1]

    @property
    def path(self) -> Path:
        return self.root.path.joinpath(*self.names, self.file)

    def location(self) -> Location:
        """The folder and the name that the path ends in."""
        name = self.file or (self.missing[-1] if self.missing else "")
        return Location(self.folder, name, self.path.joinpath(*self.missing))

    def go(self, parts: Sequence[str], *, follow: bool) -> None:
        queue, links = deque(parts), 0
        while queue:
            part = queue.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                self._up()
                continue
            self._require_open(part)
            try:
                mode = os.stat(part, dir_fd=self.folder, follow_symlinks=False).st_mode
            except FileNotFoundError:
                self._miss([part, *queue])
                return
            if stat.S_ISLNK(mode):
                links += 1
                if not follow or links > MAX_LINKS:
                    raise _cannot(self.asked, tr("there is a link in it"))
                queue.extendleft(reversed(self._target(part)))
            elif stat.S_ISDIR(mode):
                self._enter(part)
            elif any(each not in ("", ".") for each in queue):
                raise _cannot(self.asked, tr("{name} is no folder", name=single_line(part)))
            else:
                self.file = part

    def make_folders(self) -> None:
        """Make the missing folders above the last part."""
        while len(self.missing) > 1:
            part = self.missing[0]
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=self.folder)
            self._enter(part)
            del self.missing[0]

    def close(self) -> None:
        for descriptor in self.folders:
            os.close(descriptor)
        self.folders.clear()

    def _up(self) -> None:
        if not self.names:
            raise _outside(self.asked)
        os.close(self.folders.pop())
        self.names.pop()

    def _miss(self, parts: Sequence[str]) -> None:
        if ".." in parts:
            raise _cannot(self.asked, tr("not found"))
        self.missing = [each for each in parts if each not in ("", ".")]
        for part in self.missing:
            self._require_open(part)

    def _target(self, link: str) -> list[str]:
        target = os.readlink(link, dir_fd=self.folder)
        if not target.startswith("/"):
            return target.split("/")
        for spelling in self.root.spellings:
            if Path(target).is_relative_to(spelling):
                while self.names:
                    self._up()
                return list(Path(target).relative_to(spelling).parts)
        raise _outside(self.asked)

    def _enter(self, part: str) -> None:
        descriptor = os.open(part, FOLDER_FLAGS, dir_fd=self.folder)
        self.folders.append(descriptor)
        self.names.append(part)
        if _identity_of(os.fstat(descriptor)) in self.excluded:
            raise _cannot(self.asked, tr("it is tchat's own"))

    def _require_open(self, part: str) -> None:
        if self.is_denied(self.path / part):
            raise _cannot(self.asked, tr("a rule denies it"))
        if is_secret(part):
            raise _cannot(self.asked, tr("{name} may hold secrets", name=single_line(part)))
        if self.writing and is_read_only(part):
            raise _cannot(self.asked, tr("{name} is not written by tools", name=single_line(part)))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return _identity_of(path.stat())
    except OSError:
        return None


def _identity_of(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn a failed system call into an error that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _cannot(
                name, tr("there is a link in it, or a file where a folder was")
            ) from error
        raise _cannot(name, error.strerror or str(error)) from error


def _cannot(name: str, reason: str) -> ToolError:
    return ToolError(
        tr("cannot open {path}: {reason}", path=single_line(name), reason=reason),
        tr("name another path below an allowed folder"),
    )


def _outside(name: str) -> ToolError:
    return ToolError(
        tr("{path} is outside the allowed folders", path=single_line(name)),
        tr("name a path below an allowed folder"),
    )
