"""The Hugging Face cache, shared with every other program that uses it.

::

    models--user--repo/refs/main                     the commit that the branch led to
                       blobs/<sha256>                the content
                       snapshots/<commit>/<name>     a link to the content
    .locks/models--user--repo/<sha256>.lock          held while the content is fetched

Layout: ``hf_hub_download`` in huggingface_hub's file_download.py. What is not complete is called
``blobs/<sha256>.incomplete``.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError
from tchat.models.files import has_gguf_ending
from tchat.models.hub.names import DEFAULT_REVISION, is_safe_path
from tchat.models.hub.repo_files import RepoFile

COMMIT = re.compile(r"[0-9a-f]{40}")
PREFIX = "models--"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the cache is, by the variables that huggingface_hub reads."""
    # The library's own constants cost 0.2 s to import.
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := environ.get(name):
            return _expanded(named)
    if home := environ.get("HF_HOME"):
        return _expanded(home) / "hub"
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(caches) / "huggingface" / "hub"


@dataclass(frozen=True, slots=True)
class HubCache:
    """The paths of the cache below ``root``, and the last steps of an arrival."""

    root: Path

    def folder(self, repo: str) -> Path:
        """Everything of a repository."""
        return self.root / (PREFIX + repo.replace("/", "--"))

    def blob(self, file: RepoFile) -> Path:
        """The content of ``file``."""
        return self.folder(file.repo) / "blobs" / file.blob

    def incomplete(self, file: RepoFile) -> Path:
        """What has come so far of the content."""
        return self.blob(file).with_name(f"{file.blob}.incomplete")

    def lock(self, file: RepoFile) -> Path:
        """Locked by whoever fetches the content, in huggingface_hub too."""
        return self.root / ".locks" / self.folder(file.repo).name / f"{file.blob}.lock"

    def snapshot(self, file: RepoFile) -> Path:
        """The file under its name."""
        return self.folder(file.repo) / "snapshots" / file.commit / file.name

    def has(self, file: RepoFile) -> bool:
        """Whether the content is there, by its size."""
        return self.find_content(file) is not None

    def find_content(self, file: RepoFile) -> Path | None:
        """Where the content is, by its size; None when it is not there."""
        paths = (self.blob(file), self.snapshot(file))
        return next((path for path in paths if _size(path) == file.size), None)

    def discard(self, file: RepoFile) -> None:
        """Delete content that turned out to be wrong; a link to it stays.

        Raises:
            StorageError: It cannot be deleted.
        """
        for path in (self.blob(file), self.snapshot(file)):
            try:
                if not path.is_symlink() or path == self.blob(file):
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(path, error) from error

    def present_bytes(self, file: RepoFile) -> int:
        """Bytes of the content that are there, complete or not."""
        return file.size if self.has(file) else _size(self.incomplete(file)) or 0

    def commit(self, repo: str, revision: str = DEFAULT_REVISION) -> str:
        """The commit that ``revision`` led to at the last download; empty when there was none."""
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
        """The repositories that something is there of, by name."""
        try:
            names = sorted(entry.name for entry in self.root.iterdir())
        except OSError:
            return
        for name in names:
            user, separator, repo = name.removeprefix(PREFIX).partition("--")
            if name.startswith(PREFIX) and separator:
                yield f"{user}/{repo}"

    def files(self, repo: str, revision: str = DEFAULT_REVISION) -> list[RepoFile]:
        """The complete GGUF files of a repository, without asking the hub; by name."""
        commit = self.commit(repo, revision)
        snapshot = self.folder(repo) / "snapshots" / commit
        if not commit or not snapshot.is_dir():
            return []
        return [
            file
            for path in sorted(snapshot.rglob("*"))
            if has_gguf_ending(path.name)
            and (file := _cached(path, path.relative_to(snapshot), repo, commit, revision))
        ]

    def finalize(self, file: RepoFile) -> None:
        """Give the verified content its final name, for good.

        Raises:
            StorageError: The disk stands in the way.
        """
        blob = self.blob(file)
        try:
            self.incomplete(file).replace(blob)
            sync_folder(blob.parent)
        except OSError as error:
            raise unwritable(blob, error) from error

    def link(self, file: RepoFile) -> Path:
        """Give the file its name in the snapshot, and return that path.

        Raises:
            StorageError: The disk stands in the way.
        """
        path = self.snapshot(file)
        if _size(path) == file.size:
            return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(self.blob(file), path)
            sync_folder(path.parent)
        except OSError as error:
            raise unwritable(path, error) from error
        return path

    def write_ref(self, file: RepoFile) -> None:
        """Note which commit the revision of ``file`` led to.

        Raises:
            StorageError: The disk stands in the way.
        """
        if self.commit(file.repo, file.revision) == file.commit:
            return
        path = self.folder(file.repo) / "refs" / file.revision
        fresh = _temporary(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("x", encoding="ascii") as opened:  # never through a link
                opened.write(file.commit)
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise unwritable(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` outlast a power failure.

    Raises:
        OSError: The folder cannot be opened, or the disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> StorageError:
    """The failure to write below the cache."""
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        "free some space, or set HF_HUB_CACHE to a folder that you may write to",
    )


def _cached(path: Path, name: Path, repo: str, commit: str, revision: str) -> RepoFile | None:
    size = _size(path)
    if size is None:
        return None
    blob = path.resolve().name
    sha256 = blob if len(blob) == 64 else ""
    return RepoFile(repo, commit, revision, name.as_posix(), size, sha256, blob)


def _link(blob: Path, path: Path) -> None:
    """Point ``path`` at ``blob``; where the file system knows no links, move it there."""
    fresh = _temporary(path)
    try:
        fresh.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        blob.replace(path)
    else:
        fresh.replace(path)


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that nobody can foresee, for what replaces it."""
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(text)))  # noqa: PTH111
