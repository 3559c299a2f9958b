"""Removing everything that tchat keeps of the user.

The keys go first: what is encrypted cannot be read from that moment on, wherever a copy of it is.
Nothing is overwritten. An SSD and many file systems write elsewhere instead, so it would only look
like more. A wipe that was interrupted is finished by the next one.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tchat.encryption.stored_kinds import Content
from tchat.errors import StorageError, UsageError
from tchat.paths import Paths
from tchat.privacy.linked_files import left_by_links
from tchat.privacy.processes import find_processes
from tchat.privacy.stored_data import StoredData, files_below, find_data
from tchat.translation import tr

ALL = frozenset(Content)
DATA = ALL - {Content.CONFIGURATION}


@dataclass(frozen=True, slots=True)
class Wiped:
    """What a wipe removed: entries, files and bytes; and whether a key was destroyed.

    ``left`` is what removed links led to and may not be tchat's.
    """

    entries: int
    files: int
    size: int
    is_key_destroyed: bool
    left: tuple[Path, ...] = ()


def to_be_wiped(paths: Paths, contents: Collection[Content] = DATA) -> list[StoredData]:
    """What a wipe would remove, the keys first."""
    found = [each for each in find_data(paths) if each.kind.content in contents and each.paths]
    return sorted(found, key=lambda each: each.kind.content is not Content.KEYS)


def require_alone(paths: Paths) -> None:
    """Check that no other process uses the files.

    Raises:
        UsageError: One runs; it is named.
    """
    for each in find_processes() or ():
        if not each.is_own and each.config in (None, paths.config):
            raise UsageError(
                tr("tchat is running elsewhere (process {pid})", pid=each.pid),
                tr("close it first (Ctrl+Q), or end it: kill {pid}", pid=each.pid),
            )
    for lock in _held_locks(paths):
        raise UsageError(
            tr("another process uses the sessions ({name} is locked)", name=lock.name),
            tr("end every tchat first"),
        )


def wipe(paths: Paths, contents: Collection[Content] = DATA) -> Wiped:
    """Remove all of these contents.

    Raises:
        StorageError: Something cannot be removed; the rest is.
    """
    found = to_be_wiped(paths, contents)
    keys = (paths.lock_file, paths.lock_copy)
    has_key = any(entry in keys for each in found for entry in each.paths)
    if has_key:
        _forget_key(paths)
    left = left_by_links(
        (file for each in found for entry in each.paths for file in files_below(entry)),
        (entry for each in found for entry in each.paths),
    )
    failure: OSError | None = None
    names = {path.name for path in keys}
    for each in found:
        # The lock file and its copy before all others; the file before the link to it.
        for entry in sorted(each.paths, key=lambda path: path.name not in names):
            try:
                _remove(entry)
            except OSError as error:
                failure = failure or error
    for folder in (paths.cache, paths.config):
        with suppress(OSError):  # it holds something else
            folder.rmdir()
    if failure is not None:
        raise StorageError(
            tr("cannot delete {failed}: {reason}", failed=failure.filename,
               reason=failure.strerror),
            tr("check the permissions, and run `tchat privacy wipe` again"),
        )  # fmt: skip
    return Wiped(
        entries=sum(len(each.paths) for each in found),
        files=sum(each.files for each in found),
        size=sum(each.size for each in found),
        is_key_destroyed=has_key,
        left=tuple(left),
    )


def _forget_key(paths: Paths) -> None:
    """Take the key out of this process and out of the keyring; the file may be damaged."""
    encryption = paths.encryption
    if encryption is None:
        return
    from tchat.encryption.key_slots import SlotKind
    from tchat.encryption.system_keyring import delete_secret
    from tchat.encryption.unlock_sources import keyring_account
    from tchat.errors import TchatError

    with suppress(TchatError):
        lock = encryption.lock
        encryption.forget()
        if lock.slot(SlotKind.KEYRING):
            delete_secret(keyring_account(lock.id))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _held_locks(paths: Paths) -> Iterator[Path]:
    """Locks of processes that have the sessions open now; the system frees those of dead ones."""
    from tchat.private_files import acquire_lock

    folder = paths.sessions_db.with_name(f"{paths.sessions_db.name}.writers")
    for path in sorted(folder.glob("*.lock")):
        try:
            lock = acquire_lock(path, 0)
        except (OSError, NotImplementedError):
            continue
        if lock is None:
            yield path
        else:
            lock.release()
