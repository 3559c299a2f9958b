"""The use cases of model files; the command and the screen are two consumers of them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tchat.errors import ModelError
from tchat.models.disk_usage import DiskUsage, DuplicateSet, disk_usage, find_duplicates
from tchat.models.files import HashProgress
from tchat.models.gguf.details import HeaderDetails, read_details
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.metadata import ModelMetadata
from tchat.models.metadata_cache import MetadataCache
from tchat.models.removal import RemovalPlan, plan_removal, remove
from tchat.models.resolve import resolve
from tchat.models.sources.registry import local_models
from tchat.models.sources.source import USER, LocalModel, model_stem
from tchat.models.verify import ProbeCommand, VerifyProgress, verify_model
from tchat.paths import Paths

if TYPE_CHECKING:
    from tchat.models.memory import Machine
    from tchat.models.recommendations import Recommendation

GOOD, UNKNOWN = "loads and answers", "not checked yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryModel:
    """One model of the library. Texts are raw: sanitize them before printing.

    Attributes:
        name: What it is called by: `resolve` finds its file by this name.
        path: Its file; of a split model, the first part.
        owner: Who keeps it.
        metadata: By its header; None when the file is damaged or gone.
        last_used: When it was loaded last, in seconds since the epoch; None when it never was.
        verdict: In words: what is known of whether it can chat here.
        speed: Tokens a second that it wrote here; 0 when it was not used yet.
    """

    name: str
    path: Path
    owner: str
    metadata: ModelMetadata | None
    last_used: float | None
    verdict: str
    speed: float = 0.0


class Library:
    """The model files of this user.

    Args:
        paths: The user's folders.
        environ: The environment; tells where other programs keep their files.
        build: Names the build of llama.cpp that verdicts are asked for.
    """

    def __init__(
        self, paths: Paths, environ: Mapping[str, str] = os.environ, *, build: str = ""
    ) -> None:
        self._paths = paths
        self._environ = environ
        self._build = build
        self._store = MetadataCache(paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def models(self, *, all: bool = False) -> list[LibraryModel]:  # noqa: A002
        """The models, by name; with ``all``, those that other programs keep too.

        Raises:
            TchatError: models.toml is broken.
        """
        places = local_models(self._paths, self._environ, own_only=not all)
        return [self._row(found) for found in places]

    def inspect(self, path: Path) -> LibraryModel:
        """A file that need not be in any list."""
        return self._row(LocalModel(model_stem(path), path, USER))

    def find(self, name: str) -> LibraryModel:
        """The model that ``name`` means anywhere in tchat.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: models.toml is broken.
        """
        return self._row(self._found(name))

    def catalogue(self, machine: Machine) -> list[Recommendation]:
        """The models of the catalogue on ``machine``, the smallest first."""
        from tchat.models.recommendations import recommend

        return recommend(machine, self._store, self._paths, self._environ)

    def show(self, name: str) -> tuple[LibraryModel, HeaderDetails]:
        """What the file of the model called ``name`` says about itself.

        Raises:
            ModelError: None has the name, several have, or the file is damaged.
            UsageError: models.toml is broken.
        """
        row = self.find(name)
        return row, read_details(row.path)

    def check(
        self, name: str, probe_command: ProbeCommand, *, content: bool = True
    ) -> Iterator[VerifyProgress]:
        """Examine the file of the model called ``name``; the last verdict is made anew.

        Args:
            name: Of the model.
            probe_command: The command that loads a path in a process of its own.
            content: Whether to read the whole file for its hash.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: models.toml is broken.
        """
        found = self._found(name)
        return verify_model(found, self._store, probe_command, build=self._build, content=content)

    def plan_removal(self, name: str) -> RemovalPlan:
        """What removing the model called ``name`` would do. Nothing is changed.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: It is not tchat's to remove, or models.toml is broken.
        """
        return plan_removal(self._found(name), self._cache, self._paths)

    def remove(self, removal: RemovalPlan) -> None:
        """Carry out what `plan_removal` told.

        Raises:
            StorageError: A file cannot be deleted, or models.toml not written.
            UsageError: It is being pulled at this moment.
        """
        remove(removal, self._cache, self._paths)

    def duplicates(self) -> Generator[HashProgress, None, list[DuplicateSet]]:
        """Files of the same content, other programs' too; see `tchat.models.disk_usage`.

        Raises:
            TchatError: models.toml is broken.
        """
        return find_duplicates(local_models(self._paths, self._environ), self._store)

    def usage(self) -> list[DiskUsage]:
        """What the models of each owner take of the disk.

        Raises:
            TchatError: models.toml is broken.
        """
        return disk_usage(local_models(self._paths, self._environ), self._store, self._cache)

    @cached_property
    def _cache(self) -> HubCache:
        return HubCache(cache_folder(self._environ))

    def _found(self, name: str) -> LocalModel:
        """The file that ``name`` means, and who keeps it."""
        path = resolve(name, self._paths, self._environ)
        places = local_models(self._paths, self._environ)
        for alike in (lambda other: other == path, lambda other: _same(other, path)):
            for found in places:
                if alike(found.path):
                    return found
        return LocalModel(model_stem(path), path, USER)

    def _row(self, found: LocalModel) -> LibraryModel:
        try:
            metadata = self._store.metadata(found.path)
        except ModelError as error:
            return _row(found, None, None, error.message)
        last_used, speed = self._store.last_use(metadata), self._store.speed(metadata)
        return _row(found, metadata, last_used, self._verdict(metadata), speed)

    def _verdict(self, metadata: ModelMetadata) -> str:
        if metadata.refusal:
            return metadata.refusal
        verdict = self._store.verdict(metadata, self._build)
        if verdict is None:
            return UNKNOWN
        return verdict.problem or GOOD


def _same(one: Path, other: Path) -> bool:
    """Whether both paths lead to one place; a hard link is another one."""
    return os.path.realpath(one) == os.path.realpath(other)


def _row(
    found: LocalModel,
    metadata: ModelMetadata | None,
    last_used: float | None,
    verdict: str,
    speed: float = 0.0,
) -> LibraryModel:
    return LibraryModel(
        name=found.name,
        path=found.path,
        owner=found.owner,
        metadata=metadata,
        last_used=last_used,
        verdict=verdict,
        speed=speed,
    )
