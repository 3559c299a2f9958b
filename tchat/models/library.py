"""The library of model files: list, show, verify, remove; and what is known of a model, as rows."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tchat.errors import ModelError, TchatError
from tchat.humanize import count_text, size_text
from tchat.models.disk import (
    DiskUsage,
    DuplicateSet,
    RemovalPlan,
    disk_usage,
    find_duplicates,
    plan_removal,
    remove,
)
from tchat.models.files import HashProgress
from tchat.models.gguf.details import HeaderDetails, read_details
from tchat.models.gguf.header import Value
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.models.resolve import resolve
from tchat.models.sources.registry import local_models
from tchat.models.sources.source import USER, LocalModel, model_stem
from tchat.models.verify import ProbeCommand, VerifyProgress, verify_model
from tchat.paths import Paths
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.models.hub.remote_model import RemoteModel
    from tchat.models.hub.update import ModelRevision
    from tchat.models.memory import Machine
    from tchat.models.recommendation import Recommendation

LONGEST_VALUE = 200  # characters of a metadata value
MOST_KEYS = 400
LONGEST_TEMPLATE = 20_000  # characters; the longest in circulation has 18,000
InfoRow = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryModel:
    """One model of the library. Texts are raw: sanitize them before printing.

    Attributes:
        path: Its file; of a split model, the first part.
        owner: Who keeps it.
        metadata: From its header; None when the file is damaged or gone.
        last_used: When it was loaded last, in seconds since the epoch; None for never.
        verdict: Whether it can chat here, as far as that is known, as text.
        speed: Decode speed measured here in tokens per second; 0 when it was not used yet.
    """

    name: str
    path: Path
    owner: str
    metadata: ModelMetadata | None
    last_used: float | None
    verdict: str
    speed: float = 0.0


class Library:
    """The model files of this user; verdicts are those for the llama.cpp build ``build``.

    Raises, from its methods:
        ModelError: No model, or several, have the name, or the file is not there or damaged.
        UsageError: models.toml is broken, or tchat may not remove the model.
        StorageError: A file cannot be deleted, or models.toml not be read or written.
    """

    def __init__(
        self, paths: Paths, environ: Mapping[str, str] = os.environ, *, build: str = ""
    ) -> None:
        self._paths = paths
        self._environ = environ
        self._build = build
        self._metadata_cache = MetadataCache(paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._metadata_cache.close()

    def models(self, *, all: bool = False) -> list[LibraryModel]:  # noqa: A002
        """The models; with ``all``, also those that other programs keep."""
        models = local_models(self._paths, self._environ, own_only=not all)
        return [self._row(found) for found in models]

    def inspect(self, path: Path) -> LibraryModel:
        """The row of any file, listed or not."""
        return self._row(LocalModel(model_stem(path), path, USER))

    def find(self, name: str) -> LibraryModel:
        """The model that ``name`` resolves to."""
        return self._row(self._found(name))

    def catalogue(self, machine: Machine, max_size: int = 0) -> list[Recommendation]:
        """The models of the catalogue on ``machine``, the smallest first.

        With ``max_size``, those with a file of at most so many bytes.
        """
        from tchat.models.recommendation import recommend

        return recommend(machine, self._metadata_cache, self._paths, self._environ, max_size)

    def show(self, name: str) -> tuple[LibraryModel, HeaderDetails]:
        """The model called ``name``, and the details of its header."""
        row = self.find(name)
        return row, read_details(row.path)

    def verify(
        self, name: str, probe_command: ProbeCommand, *, content: bool = True
    ) -> Iterator[VerifyProgress]:
        """Verify the file of a model by `verify_model`; no cached verdict is used."""
        found = self._found(name)
        return verify_model(
            found, self._metadata_cache, probe_command, build=self._build, content=content
        )

    def plan_removal(self, name: str) -> RemovalPlan:
        """What removing the model called ``name`` would delete; nothing is changed."""
        return plan_removal(self._found(name), self._cache, self._paths)

    def remove(self, removal: RemovalPlan) -> None:
        """Carry out a plan of `plan_removal`."""
        remove(removal, self._cache, self._paths)

    def remove_replaced(self, newer: ModelRevision, used: Path | None = None) -> str:
        """Remove the old files of a model that was updated; returns why they stay, else nothing.

        They stay while something names them by their path, and while ``used`` is one of them.
        """
        from tchat.models.models_file import aliases
        from tchat.settings import load

        path = self._cache.snapshot(newer.here.first)
        if path == used:
            return tr("the old file stays, since this chat uses it: {path}", path=path)
        default = load(self._paths, self._environ).settings.model
        if str(path) in {default, *aliases(self._paths).values()}:
            return tr("the old file stays, since it is named by its path: {path}", path=path)
        try:
            self.remove(self.plan_removal(str(path)))
        except TchatError as error:
            return tr("the old file stays: {reason}", reason=error.message)
        return ""

    def duplicates(self) -> Generator[HashProgress, None, list[DuplicateSet]]:
        """Files with the same content, other programs' too; see `disk.find_duplicates`."""
        return find_duplicates(local_models(self._paths, self._environ), self._metadata_cache)

    def usage(self) -> list[DiskUsage]:
        """Disk space by owner."""
        return disk_usage(
            local_models(self._paths, self._environ), self._metadata_cache, self._cache
        )

    @cached_property
    def _cache(self) -> HubCache:
        return HubCache(cache_folder(self._environ))

    def _found(self, name: str) -> LocalModel:
        """The model that ``name`` resolves to, with its owner."""
        path = resolve(name, self._paths, self._environ)
        models = local_models(self._paths, self._environ)
        for alike in (lambda other: other == path, lambda other: _same(other, path)):
            for found in models:
                if alike(found.path):
                    return found
        return LocalModel(model_stem(path), path, USER)

    def _row(self, found: LocalModel) -> LibraryModel:
        metadata, last_used, speed = None, None, 0.0
        try:
            metadata = self._metadata_cache.metadata(found.path)
            last_used = self._metadata_cache.last_use(metadata)
            speed = self._metadata_cache.speed(metadata)
            verdict = self._verdict(metadata)
        except ModelError as error:
            verdict = error.message
        return LibraryModel(
            name=found.name,
            path=found.path,
            owner=found.owner,
            metadata=metadata,
            last_used=last_used,
            verdict=verdict,
            speed=speed,
        )

    def _verdict(self, metadata: ModelMetadata) -> str:
        if metadata.refusal:
            return metadata.refusal
        verdict = self._metadata_cache.verdict(metadata, self._build)
        if verdict is None:
            return tr("not checked yet")
        return verdict.problem or tr("loads and answers")


def _same(one: Path, other: Path) -> bool:
    """Whether both paths resolve to the same path; hard links do not."""
    return os.path.realpath(one) == os.path.realpath(other)


def info_rows(row: LibraryModel, details: HeaderDetails) -> Iterator[InfoRow]:
    """Rows about a model on this disk."""
    yield tr("name"), row.name
    yield tr("file"), str(row.path)
    yield tr("owner"), tr(row.owner)
    if (metadata := row.metadata) is not None:
        yield from ((tr("part"), str(part)) for part in metadata.parts)
        yield from _told_by_header(metadata)
    yield tr("licence"), details.licence or tr("not declared")
    yield tr("verdict"), row.verdict
    yield "GGUF", tr("version {version}", version=details.version)


def remote_info_rows(remote_model: RemoteModel) -> Iterator[InfoRow]:
    """Rows about a model on the hub."""
    listing = remote_model.listing
    yield tr("name"), remote_model.model.name
    yield tr("owner"), tr("not on this disk")
    if remote_model.reason:
        yield tr("chosen"), remote_model.reason
    yield tr("repository"), listing.repo
    for file in remote_model.model.files:
        yield tr("file"), file.name
    yield from _told_by_header(remote_model)
    yield tr("downloads"), tr("{downloads:,} in the last month", downloads=listing.downloads)
    licence = listing.licence or remote_model.details.licence or tr("not declared")
    if listing.gated:
        licence = tr("{licence} (gated: accept its terms on the hub first)", licence=licence)
    yield tr("licence"), licence
    if remote_model.refusal:
        yield tr("verdict"), remote_model.refusal
    yield "GGUF", tr("version {version}", version=remote_model.details.version)


def header_rows(details: HeaderDetails) -> Iterator[InfoRow]:
    """Rows about the header: special tokens, tensors, metadata, the chat template."""
    for token in details.special:
        text = tr("(no such token)") if token.text is None else token.text
        yield tr("token {role}", role=token.role), f"{token.id:,} {text}"
    for mark, added in details.adds.items():
        if added is not None:
            yield tr("adds {mark}", mark=mark), tr("yes") if added else tr("no")
    for group in details.tensors:
        text = tr(
            "{tensors:,} tensors, {weights} weights, {size}",
            tensors=group.tensors,
            weights=count_text(group.weights),
            size=size_text(group.size),
        )
        yield tr("tensors {type}", type=group.type), text
    for key, value in list(details.metadata.items())[:MOST_KEYS]:
        yield key, _told(value)
    if len(details.metadata) > MOST_KEYS:
        yield "…", tr("and {metadata:,} more keys", metadata=len(details.metadata) - MOST_KEYS)
    if not details.template:
        yield tr("template"), tr("none")
    for line in details.template[:LONGEST_TEMPLATE].splitlines():
        yield tr("template"), line


def _told_by_header(metadata: ModelMetadata | RemoteModel) -> Iterator[InfoRow]:
    yield tr("title"), metadata.name if isinstance(metadata, ModelMetadata) else metadata.title
    yield tr("kind"), tr(metadata.kind)
    yield tr("family"), metadata.architecture
    yield tr("weights"), count_text(metadata.parameters)
    yield tr("quantization"), metadata.quantization
    yield tr("context"), f"{metadata.context_length:,}"
    yield tr("size"), size_text(metadata.size)


def _told(value: Value) -> str:
    """A metadata value as text; of a long array only the number of its values."""
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, int | float | str):
        return str(value)[:LONGEST_VALUE]
    items = ", ".join(str(item) for item in value.items[:8])[:LONGEST_VALUE]
    if not items:
        return tr("{count:,} values", count=value.count)
    return tr("{count:,} values: {items}", count=value.count, items=items)
