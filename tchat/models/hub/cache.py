"""The Hugging Face cache, shared with other programs; what `scan_cache_dir` does is done here.

huggingface_hub's own scan takes 0.2 s to import, reports a repository with one broken link as
corrupt as a whole, and knows nothing of GGUF files. Layout::

    models--user--repo/refs/main                     the commit of the branch
                       blobs/<sha256>                the content
                       snapshots/<commit>/<name>     a link to the content
    .locks/models--user--repo/<sha256>.lock          locked during the download

An incomplete blob is called ``blobs/<sha256>.incomplete``; it is kept across processes. Source:
``hf_hub_download`` in huggingface_hub's file_download.py.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tchat.errors import StorageError
from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import DEFAULT_REVISION, RepoFile, is_safe_path
from tchat.translation import tr

COMMIT = re.compile(r"[0-9a-f]{40}")
PREFIX = "models--"
PIECE = 1 << 20  # bytes read at once
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the cache, by the variables that huggingface_hub reads."""
    # Importing huggingface_hub's own constants takes 0.2 s.
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := environ.get(name):
            return _expanded(named)
    if home := environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(caches) / "huggingface" / "hub"


@dataclass(frozen=True, slots=True)
class HubCache:
    """The cache below ``root``: its paths, its files, and the last steps of a download.

    Raises, from methods that write:
        StorageError: The cache cannot be written.
    """

    root: Path

    def folder(self, repo: str) -> Path:
        """The folder of a repository."""
        return self.root / (PREFIX + repo.replace("/", "--"))

    def blob(self, file: RepoFile) -> Path:
        """The blob of ``file``."""
        return self.folder(file.repo) / "blobs" / file.blob

    def incomplete(self, file: RepoFile) -> Path:
        """The incomplete blob of ``file``."""
        return self.blob(file).with_name(f"{file.blob}.incomplete")

    def lock(self, file: RepoFile) -> Path:
        """The lock file of a download, the same as huggingface_hub's."""
        return self.root / ".locks" / self.folder(file.repo).name / f"{file.blob}.lock"

    def snapshot(self, file: RepoFile) -> Path:
        """The link to the blob, under the file's name."""
        return self.folder(file.repo) / "snapshots" / file.commit / file.name

    def find_content(self, file: RepoFile) -> Path | None:
        """The path of the complete content, by its size; None when there is none."""
        paths = (self.blob(file), self.snapshot(file))
        return next((path for path in paths if _size(path) == file.size), None)

    def discard(self, file: RepoFile) -> None:
        """Delete content that failed verification; links to it stay."""
        for path in (self.blob(file), self.snapshot(file)):
            with writing(path):
                if not path.is_symlink() or path == self.blob(file):
                    path.unlink(missing_ok=True)

    def present_bytes(self, file: RepoFile) -> int:
        """Bytes of the content on this disk, complete or not."""
        if self.find_content(file) is not None:
            return file.size
        return _size(self.incomplete(file)) or 0

    def unfinished_bytes(self) -> int:
        """Bytes of all interrupted downloads."""
        return sum(_size(path) or 0 for path in self.root.glob(f"{PREFIX}*/blobs/*.incomplete"))

    def commit(self, repo: str, revision: str = DEFAULT_REVISION) -> str:
        """The commit of ``revision`` at the last download; empty when there was none."""
        if COMMIT.fullmatch(revision):
            return revision
        if not is_safe_path(revision):
            return ""
        try:
            text = (self.folder(repo) / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return ""
        return text if COMMIT.fullmatch(text) else ""

    def repositories(self) -> Iterator[str]:
        """The names of the cached repositories, sorted."""
        try:
            names = sorted(entry.name for entry in self.root.iterdir())
        except OSError:
            return
        for name in names:
            user, separator, repo = name.removeprefix(PREFIX).partition("--")
            if name.startswith(PREFIX) and separator:
                yield f"{user}/{repo}"

    def files(self, repo: str, revision: str = DEFAULT_REVISION) -> list[RepoFile]:
        """The complete GGUF files of a cached repository, sorted by name."""
        commit = self.commit(repo, revision)
        snapshot = self.folder(repo) / "snapshots" / commit
        if not commit:
            return []
        found = (  # unlike rglob, walk bears with folders that are removed meanwhile
            Path(folder, name) for folder, _, names in os.walk(snapshot) for name in names
        )
        return [
            file
            for path in sorted(found)
            if has_gguf_ending(path.name)
            and (file := _cached(path, path.relative_to(snapshot), repo, commit, revision))
        ]

    def finalize(self, file: RepoFile) -> None:
        """Rename the verified incomplete blob to its final name, durably."""
        blob = self.blob(file)
        with writing(blob):
            self.incomplete(file).replace(blob)
            _sync_folder(blob.parent)

    def link(self, file: RepoFile) -> Path:
        """Link the file into its snapshot, and return that path."""
        path = self.snapshot(file)
        if _size(path) == file.size:
            return path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(self.blob(file), path)
            _sync_folder(path.parent)
        return path

    def write_ref(self, file: RepoFile) -> None:
        """Write the ref: the commit of the revision of ``file``."""
        if self.commit(file.repo, file.revision) == file.commit:
            return
        path = self.folder(file.repo) / "refs" / file.revision
        fresh = _temporary(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with fresh.open("x", encoding="ascii") as ref:  # never through a link
                    ref.write(file.commit)
                fresh.replace(path)
            except OSError:
                with suppress(OSError):
                    fresh.unlink(missing_ok=True)
                raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate an error of writing ``path``.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageError(
                tr("the disk is full: no room for {path}", path=path),
                tr("free some space and pull again, which resumes; or set HF_HUB_CACHE"),
            ) from error
        raise StorageError(
            tr("cannot write {path}: {reason}", path=path, reason=error.strerror or error),
            tr("check the disk, or set HF_HUB_CACHE to a folder that you may write to"),
        ) from error


def _cached(path: Path, name: Path, repo: str, commit: str, revision: str) -> RepoFile | None:
    size = _size(path)
    if size is None:
        return None
    blob = path.resolve().name
    sha256 = blob if len(blob) == 64 else ""
    return RepoFile(repo, commit, revision, name.as_posix(), size, sha256, blob)


def _link(blob: Path, path: Path) -> None:
    """Link ``path`` to ``blob``; where links are not supported, move the blob there."""
    fresh = _temporary(path)
    try:
        fresh.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        blob.replace(path)
    else:
        fresh.replace(path)


def _temporary(path: Path) -> Path:
    """An unpredictable name beside ``path``, for the file that replaces it."""
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))  # noqa: PTH111


class PartialFile:
    """The incomplete content of ``file``, at ``path``; writes are not buffered.

    Not safe to use from several processes.

    Attributes:
        size: Bytes written and hashed.

    Raises, also from its methods:
        StorageError: It cannot be written.
    """

    def __init__(self, path: Path, file: RepoFile) -> None:
        self.size = 0
        self._path = path
        self._file = file
        self._hash = new_hash(self._file)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = _open_own(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are written."""
        return self.size >= self._file.size

    def resume(self) -> Iterator[tuple[int, int]]:
        """Hash what an earlier attempt left; yields the bytes hashed and their total."""
        with writing(self._path):
            left = os.fstat(self._descriptor).st_size
            if left > self._file.size:
                self.reset()
                return
            while piece := os.read(self._descriptor, PIECE):
                self._hash.update(piece)
                self.size += len(piece)
                yield self.size, left

    def append(self, chunk: bytes) -> int:
        """Write the part of ``chunk`` that belongs to the file; returns its size."""
        view = memoryview(chunk)[: self._file.size - self.size]
        written = 0
        with writing(self._path):
            while written < len(view):
                written += os.write(self._descriptor, view[written:])
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def reset(self) -> None:
        """Empty the file, to begin again."""
        with writing(self._path):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
        self.size = 0
        self._hash = new_hash(self._file)

    def is_valid(self) -> bool:
        """Whether the content has the hash that the hub lists; if so, it is synced to disk."""
        if not self.is_complete or self._hash.hexdigest() != self._file.blob:
            return False
        with writing(self._path):
            os.fsync(self._descriptor)
        return True


def new_hash(file: RepoFile) -> hashlib._Hash:
    """The hash of the content of ``file``, before its first byte.

    SHA-256, or git's SHA-1 of a blob for a file that is not in the large file storage.
    """
    if file.sha256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


def _open_own(path: Path) -> int:
    """Open a regular file with a single name for writing.

    The cache may be shared: through a link, or a hard link to another file, a download would
    overwrite that file. Such a name is removed, and a new file is created.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            path.unlink()
    except FileNotFoundError:
        pass
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise FileExistsError(
            errno.EEXIST, tr("another program put something else there"), str(path)
        )
    return descriptor
