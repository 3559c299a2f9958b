"""Temporary files: in memory where the system has such files, and removed whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tchat.private_files import is_alive

PREFIX = "tchat-"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - Linux keeps its files in memory
MOUNTS = "/proc/self/mountinfo"
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
SHARE = 4  # of the free memory, a file may take one part of so many
_OURS = re.compile(rf"{PREFIX}(\d+)-\w+")


def memory_folder(size: int = 0, environ: Mapping[str, str] = os.environ) -> Path | None:
    """A folder whose files lie in memory and have room for ``size`` bytes; None without one.

    What lies there reaches the disk only where the system swaps.
    """
    for name in (environ.get("XDG_RUNTIME_DIR", ""), SHARED_MEMORY):
        if not name or not os.access(name, os.W_OK | os.X_OK) or not _is_in_memory(name):
            continue
        facts = os.statvfs(name)
        if size * SHARE <= facts.f_bavail * facts.f_frsize:
            return Path(name)
    return None


def _is_in_memory(folder: str) -> bool:
    """Whether the file system of ``folder`` is one in memory, as Linux tells."""
    try:
        device = os.stat(folder).st_dev  # noqa: PTH116
        wanted = f"{os.major(device)}:{os.minor(device)}"
        mounts = Path(MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for mount in mounts:
        before, _, behind = mount.partition(" - ")
        if before.split()[2:3] == [wanted]:
            return behind.split(" ", 1)[0] in IN_MEMORY
    return False


@contextmanager
def temporary_folder(within: Path | None) -> Iterator[Path]:
    """A private folder in ``within``, by default where temporary files are; removed at the end.

    Those that killed processes left there are removed first.

    Raises:
        OSError: It cannot be made.
    """
    place = Path(within or tempfile.gettempdir())
    _remove_abandoned(place)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=place) as folder:
        yield Path(folder)


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of this user whose processes have died."""
    if os.name != "posix":  # there, asking whether a process lives ends it
        return
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = _OURS.fullmatch(entry.name)
            if not found or not entry.is_dir(follow_symlinks=False):
                continue
            is_ours = entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if is_ours and not is_alive(int(found[1])):
                shutil.rmtree(entry.path, ignore_errors=True)


def memory_file() -> IO[bytes] | None:
    """A file without a name, in memory, that other processes can use; None where there is none."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.fdopen(os.memfd_create("tchat"), "w+b")
    return None


def anonymous_file() -> IO[bytes]:
    """A file without a name that other processes can use: in memory, or else on disk.

    Raises:
        OSError: It cannot be made.
    """
    return memory_file() or tempfile.TemporaryFile()
