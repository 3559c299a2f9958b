"""Changing files below the allowed folders: the diff first, atomically, with undo."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tchat.sanitize import single_line
from tchat.tools.roots import FILE_FLAGS, Location, Roots
from tchat.tools.tool import ToolError
from tchat.tools.undo_history import UndoHistory
from tchat.translation import tr

MAX_SIZE = 4 << 20  # bytes of a file that is changed
PERMISSIONS = 0o777  # never set-user-ID and the like


@dataclass(frozen=True, slots=True)
class FileState:
    """A file that is to be changed: its content, None when it does not exist, and its mode."""

    path: Path
    content: bytes | None
    mode: int | None


@dataclass
class FileChanges:
    """Writes files below ``roots``, and keeps what was there.

    A change whose diff was shown is refused when the file is no longer as it was then.
    """

    roots: Roots
    history: UndoHistory
    _shown: dict[Path, str | None] = field(default_factory=dict)

    def read(self, name: str) -> FileState:
        """What a file holds now.

        Raises:
            ToolError: It is outside, protected, too large, or no regular file.
        """
        with self.roots.open_parent(name, create=False) as location:
            return _state(location)

    def preview(self, state: FileState, content: bytes) -> str:
        """The unified diff of a change, which `write` then holds the file to."""
        self._shown[state.path] = digest(state.content)
        return diff(state.path.name, state.content or b"", content)

    def write(self, name: str, content: bytes, state: FileState | None = None) -> FileState:
        """Replace a file atomically, and return what was there.

        Args:
            name: Its path; missing folders are made.
            content: What it shall hold.
            state: What the content was derived from.

        Raises:
            ToolError: It cannot be written, or was changed since it was read or shown.
        """
        if len(content) > MAX_SIZE:
            raise ToolError(tr("the content is too long to write"), tr("write less at once"))
        with self.roots.open_parent(name, create=True) as location:
            before = _state(location)
            shown = self._shown.pop(location.path, digest(before.content))
            derived = digest(before.content if state is None else state.content)
            if digest(before.content) != shown or digest(before.content) != derived:
                raise ToolError(
                    tr("{path} was changed meanwhile", path=single_line(name)),
                    tr("look at it again and repeat the change"),
                )
            entry = self.history.add(before.path, before.content, digest(content) or "")
            try:
                _replace(location, content, before)
            except BaseException:
                self.history.discard(entry)
                raise
            return before

    def preview_undo(self) -> str:
        """The unified diff of what `undo` would do.

        Raises:
            ToolError: There is nothing to undo, or it cannot be read.
        """
        entry = self.history.last()
        now = self.read(str(entry.path))
        before = self.history.content_of(entry)
        return diff(entry.path.name, now.content or b"", before or b"")

    def undo(self) -> Path:
        """Restore the file that was changed last, and return its path.

        Raises:
            ToolError: There is nothing to undo, or the file was changed since.
        """
        entry = self.history.last()
        name = str(entry.path)
        with self.roots.open_parent(name) as location:
            now = _state(location)
            if digest(now.content) != entry.written:
                raise ToolError(
                    tr("{path} was changed since", path=single_line(name)),
                    tr("restore it by hand from {file}", file=entry.saved),
                )
            content = self.history.content_of(entry)
            if content is None:
                os.unlink(location.name, dir_fd=location.folder)
            else:
                _replace(location, content, now)
        self.history.discard(entry)
        return entry.path


def digest(content: bytes | None) -> str | None:
    """The SHA-256 of a content; None for a file that is not there."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def diff(name: str, before: bytes, after: bytes) -> str:
    """The unified diff of two contents of a text file."""
    old, new = (each.decode(errors="replace").splitlines() for each in (before, after))
    lines = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="")
    return "\n".join(lines)


def _state(location: Location) -> FileState:
    try:
        descriptor = os.open(location.name, FILE_FLAGS, dir_fd=location.folder)
    except FileNotFoundError:
        return FileState(location.path, None, None)
    except OSError as error:
        raise _cannot_write(location, error) from error
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        content = file.read(MAX_SIZE + 1) if stat.S_ISREG(info.st_mode) else None
    if content is None or len(content) > MAX_SIZE:
        raise ToolError(
            tr("{path} is no file that tools change", path=single_line(str(location.path))),
            tr("name a regular file of a few megabytes at most"),
        )
    return FileState(location.path, content, stat.S_IMODE(info.st_mode) & PERMISSIONS)


def _replace(location: Location, content: bytes, before: FileState) -> None:
    folder = location.folder
    part = f".{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # The umask decides about new files, as with any editor.
        descriptor = os.open(part, flags, 0o666, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            if before.mode is not None:
                os.fchmod(descriptor, before.mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if before.content is None:
            # Unlike a rename this fails when the file came into being meanwhile.
            os.link(part, location.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.unlink(part, dir_fd=folder)
        else:
            os.rename(part, location.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        raise _cannot_write(location, error) from error
    finally:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)


def _cannot_write(location: Location, error: OSError) -> ToolError:
    reason = error.strerror or str(error)
    if error.errno == errno.ELOOP:
        reason = tr("it is a link")
    return ToolError(
        tr("cannot write {path}: {reason}", path=single_line(str(location.path)), reason=reason),
        tr("free some space or check the permissions"),
    )
