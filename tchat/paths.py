"""Where everything lives. Nothing is created at import, nor by asking for a path."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import StorageError

BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite names after a database


@dataclass(frozen=True, slots=True)
class Paths:
    """The user's folders and files.

    ``TCHAT_HOME`` puts all of them under one folder; otherwise the platform's
    configuration and cache folders are used.
    """

    config: Path
    cache: Path

    @property
    def config_file(self) -> Path:
        """Settings, written by the user."""
        return self.config / "config.toml"

    @property
    def sessions_db(self) -> Path:
        """Sessions and messages (SQLite)."""
        return self.config / "sessions.db"

    @property
    def models_file(self) -> Path:
        """Aliases, registered files and settings of single models, written by the user."""
        return self.config / "models.toml"

    @property
    def prompts(self) -> Path:
        """The user's prompt templates, one TOML file each."""
        return self.config / "prompts"

    @property
    def judge(self) -> Path:
        """Discriminators and games, a folder for each model."""
        return self.config / "judge"

    @property
    def themes(self) -> Path:
        """The user's themes, one TOML file each."""
        return self.config / "themes"

    @property
    def models_db(self) -> Path:
        """Headers, verdicts and last uses of model files (SQLite); can be deleted at any time."""
        return self.cache / "models.db"

    @property
    def snapshots(self) -> Path:
        """KV states of chats, in a folder; can be deleted at any time."""
        return self.cache / "snapshots"

    @property
    def snapshot_key(self) -> Path:
        """What the snapshots of this user are sealed with."""
        return self.config / "snapshot.key"

    @property
    def log_file(self) -> Path:
        """llama.cpp's log and tchat's own."""
        return self.cache / "tchat.log"

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        """Names and places, for ``config path`` and ``doctor``."""
        yield "config", self.config_file
        yield "sessions", self.sessions_db
        yield "prompts", self.prompts
        yield "themes", self.themes
        yield "judge", self.judge
        yield "models", self.models_file
        yield "verdicts", self.models_db
        yield "log", self.log_file


def user_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """The folders of this user, by ``TCHAT_HOME`` or the platform's rules."""
    if home := environ.get("TCHAT_HOME"):
        root = expanded(home)
        return Paths(config=root, cache=root / "cache")
    import platformdirs

    return Paths(
        config=platformdirs.user_config_path("tchat", appauthor=False),
        cache=platformdirs.user_cache_path("tchat", appauthor=False),
    )


def expanded(name: str) -> Path:
    """The path that a user named, with ``~`` for the home folder.

    Unlike `Path.expanduser` this never raises: a ``~`` that stands for no known user is a name.
    """
    return Path(os.path.expanduser(name))  # noqa: PTH111


def private_folder(path: Path) -> Path:
    """Make ``path`` and what is missing above it with mode 0700, whatever the umask.

    Folders that are there keep their mode: they may be somebody else's.

    Raises:
        StorageError: The folder cannot be made.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True, mode=0o700)
        path.mkdir(exist_ok=True)  # says so when it is a file
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {path}: {error.strerror}",
            "set TCHAT_HOME to a folder that you may write to",
        ) from error
    return path


def private_file(path: Path) -> Path:
    """Make ``path``, when absent, with mode 0600 in a private folder, and return it.

    Raises:
        StorageError: The file cannot be made.
    """
    private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if os.name == "posix" and path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        folder = isinstance(error, IsADirectoryError)
        raise StorageError(
            f"cannot write {path}: {error.strerror}",
            "move it away" if folder else "free some space or check the permissions",
        ) from error
    return path


def special_file(database: Path) -> Path | None:
    """The first of a database's files that is there and no regular file, its links followed.

    SQLite would wait for ever for the other end of a pipe.
    """
    for suffix in BESIDE:
        file = database.with_name(database.name + suffix)
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                return file
        except OSError:
            continue  # SQLite says what is wrong with it
    return None
