"""The user's folders and files.

Asking for a path creates nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.private_files import LOCK_COPY, LOCK_FILE
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption
    from tchat.log_file import LogFile


@dataclass(frozen=True, slots=True)
class Paths:
    """The user's folders and files.

    ``TCHAT_HOME`` puts all of them under one folder; otherwise the platform's
    configuration and cache folders are used.

    Attributes:
        config: What cannot be made again.
        cache: What can.
        encryption: The keys of an encrypted store; None where there is no lock file.
    """

    config: Path
    cache: Path
    encryption: Encryption | None = field(default=None, compare=False)

    @property
    def config_file(self) -> Path:
        """Settings, written by the user."""
        return self.config / "config.toml"

    @property
    def lock_file(self) -> Path:
        """The wrapped keys of an encrypted store."""
        return self.config / LOCK_FILE

    @property
    def lock_copy(self) -> Path:
        """Its copy, for when one of them is damaged."""
        return self.config / f"{LOCK_FILE}{LOCK_COPY}"

    @property
    def sessions_db(self) -> Path:
        """Sessions and messages (SQLite)."""
        return self.config / "sessions.db"

    @property
    def models_file(self) -> Path:
        """Aliases, registered files and settings of single models, written by the user."""
        return self.config / "models.toml"

    @property
    def catalogue_file(self) -> Path:
        """Models that the user adds to the catalogue, written by the user."""
        return self.config / "catalogue.toml"

    @property
    def mcp_file(self) -> Path:
        """MCP servers, in the form that other programs use too; written by the user."""
        return self.config / "mcp.json"

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
    def tools(self) -> Path:
        """The user's own tools, see `tchat.tools.user_tools`."""
        return self.config / "tools"

    @property
    def tool_log(self) -> Path:
        """The audit log of tools, JSON lines."""
        return self.config / "tool-log.jsonl"

    @property
    def tool_undo(self) -> Path:
        """What files held before tools changed them, a folder."""
        return self.config / "tool-undo"

    @property
    def egress_log(self) -> Path:
        """What left this machine, JSON lines."""
        return self.config / "egress.jsonl"

    @property
    def models_db(self) -> Path:
        """Headers, verdicts and last uses of model files (SQLite); can be deleted at any time."""
        return self.cache / "models.db"

    @property
    def snapshots(self) -> Path:
        """KV cache snapshots of chats, a folder; can be deleted at any time."""
        return self.cache / "snapshots"

    @property
    def snapshot_key(self) -> Path:
        """The key that authenticates this user's snapshots."""
        return self.config / "snapshot.key"

    @property
    def palette_file(self) -> Path:
        """What was chosen in the command palette."""
        return self.cache / "palette.json"

    @property
    def suggestion_mark(self) -> Path:
        """Is there once a better model than the starter was looked for after an answer."""
        return self.cache / "better-model-suggested"

    @property
    def log_file(self) -> Path:
        """llama.cpp's log and tchat's own."""
        return self.cache / "tchat.log"

    @property
    def log(self) -> LogFile:
        """What writes to `log_file`, and reads it."""
        from tchat.log_file import LogFile

        return LogFile(self.log_file, self.encryption)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        """Names and paths, for ``config path`` and ``doctor``."""
        yield N_("config"), self.config_file
        yield N_("sessions"), self.sessions_db
        yield N_("prompts"), self.prompts
        yield N_("themes"), self.themes
        yield N_("judge"), self.judge
        yield N_("models"), self.models_file
        yield N_("catalogue"), self.catalogue_file
        yield N_("MCP servers"), self.mcp_file
        yield N_("tools"), self.tools
        yield N_("tool log"), self.tool_log
        yield N_("egress log"), self.egress_log
        yield N_("verdicts"), self.models_db
        yield N_("log"), self.log_file


def user_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """The folders of this user, by ``TCHAT_HOME`` or the platform's rules."""
    if home := environ.get("TCHAT_HOME"):
        config = expanded(home)
        cache = config / "cache"
    else:
        import platformdirs

        config = platformdirs.user_config_path("tchat", appauthor=False)
        cache = platformdirs.user_cache_path("tchat", appauthor=False)
    lock_file = config / LOCK_FILE
    if not any(os.path.lexists(f"{lock_file}{ending}") for ending in ("", LOCK_COPY)):
        return Paths(config, cache)
    from tchat.encryption.unlock_sources import shared_encryption

    return Paths(config, cache, shared_encryption(lock_file))


def expanded(name: str) -> Path:
    """The path ``name``, with ``~`` expanded.

    Unlike `Path.expanduser` this never raises: a ``~`` of an unknown user is kept.
    """
    return Path(os.path.expanduser(name))  # noqa: PTH111


def path_text(path: Path) -> str:
    """The whole path, with ``~`` for the home folder: how messages name a file that was written."""
    return with_tilde(path.absolute())


def with_tilde(path: Path) -> str:
    """The path with ``~`` for the home folder, to be shown and typed."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def is_file(name: str) -> bool:
    """Whether ``name``, with ``~`` expanded, is a file; unlike `Path.is_file` this never raises."""
    return os.path.isfile(expanded(name))  # noqa: PTH113


def is_directory(path: Path) -> bool:
    """Whether ``path`` is a folder; unlike `Path.is_dir` this never raises."""
    return os.path.isdir(path)  # noqa: PTH112


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; False where that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False
