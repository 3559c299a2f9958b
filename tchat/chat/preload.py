"""Load a known model while the rest of the program is being imported; and its snapshots.

A one-shot's time to the first token is llama.cpp loading the model and Python importing modules.
The one needs no GIL, so they go on side by side; what is imported here comes before both.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.chat.machine import require_memory
from tchat.engine.binding import Cancel, backend, build_name
from tchat.engine.context import context_size
from tchat.engine.loading import BackgroundLoad, ControlVector, EngineOptions, Lora
from tchat.errors import ModelInvalid, TchatError, UsageError
from tchat.models.files import file_key, label
from tchat.models.gguf.compatibility import ModelKind
from tchat.models.memory import main_memory
from tchat.models.metadata import MetadataCache, ModelMetadata, read_metadata
from tchat.models.resolve import resolve, resolve_chosen
from tchat.paths import Paths, expanded, is_file
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.snapshots.index import ModelRecord
    from tchat.engine.snapshots.snapshots import Snapshots
    from tchat.engine.snapshots.store import SnapshotStore


@dataclass(frozen=True, slots=True)
class Preloaded:
    """A model that is being loaded."""

    metadata: ModelMetadata
    options: EngineOptions
    background: BackgroundLoad


def preload(settings: Settings, paths: Paths, cancel: Cancel) -> Preloaded | None:
    """Start to load the model of ``settings`` in the background.

    Returns:
        None where there is more to it than loading: the file is new, the model is split over
        workers or on a server, or something is wrong, which is said when the model is needed.
    """
    if settings.server:
        return None
    try:
        with MetadataCache(paths) as metadata_cache:
            metadata = metadata_cache.metadata(resolve_chosen(settings, paths))
            if not is_known_good(metadata, metadata_cache):
                return None
            settings = with_models_file(settings, paths, metadata.path)
            if settings.rpc:
                return None
            require_memory(settings, metadata)
            draft = draft_model_metadata(settings, paths, metadata_cache)
            if draft is not None and not is_known_good(draft, metadata_cache):
                return None
            options = engine_options(settings, metadata, draft)
            backend().log.write_to(lambda: paths.log)
            preloaded = Preloaded(metadata, options, BackgroundLoad(options, cancel))
            for each in filter(None, (metadata, draft)):
                metadata_cache.record_use(each)
    except TchatError:
        return None
    return preloaded


def is_known_good(metadata: ModelMetadata, metadata_cache: MetadataCache) -> bool:
    """Whether a file is a chat model and passed its load check."""
    verdict = metadata_cache.verdict(metadata, build_name())
    return not metadata.refusal and verdict is not None and verdict.ok


def require_valid_options(settings: Settings, paths: Paths) -> None:
    """Raise an error unless the model of ``settings`` is there and they fit it and each other.

    Raises:
        ModelError: The model or its draft model is missing or cannot chat, or an adapter is none.
        UsageError: Settings cannot be combined, or a server is not described correctly.
    """
    if settings.server:
        from tchat.servers.config import find_server_model

        find_server_model(settings.model, settings.servers, str(paths.config_file))
        return
    with MetadataCache(paths) as metadata_cache:
        metadata = metadata_cache.metadata(resolve_chosen(settings, paths))
        if metadata.refusal:
            from tchat.models.verify import refusal_text

            raise ModelInvalid(refusal_text(metadata))
        settings = with_models_file(settings, paths, metadata.path)
        engine_options(settings, metadata, draft_model_metadata(settings, paths, metadata_cache))


def with_models_file(settings: Settings, paths: Paths, model: Path) -> Settings:
    """``settings`` with those of ``model`` in ``models.toml``; nothing is imported without it.

    Raises:
        UsageError: The file cannot be read.
    """
    if not os.path.lexists(paths.models_file):
        return settings
    from tchat.models.models_file import settings_for

    return settings_for(settings, paths, model)


def draft_model_metadata(
    settings: Settings, paths: Paths, metadata_cache: MetadataCache
) -> ModelMetadata | None:
    """The metadata of the draft model; None when none is set.

    Raises:
        ModelError: There is none of this name, or it is no model.
    """
    if not settings.draft_model:
        return None
    return metadata_cache.metadata(resolve(settings.draft_model, paths))


def engine_options(
    settings: Settings, metadata: ModelMetadata, draft: ModelMetadata | None = None
) -> EngineOptions:
    """The engine options for a checked file and its draft model.

    Raises:
        ModelError: An adapter is missing, or is none.
        UsageError: Settings cannot be combined.
    """
    if settings.cache_type != "f16" and settings.flash_attn == "off":
        raise UsageError(
            tr(
                "a KV cache of type {cache_type} needs flash attention",
                cache_type=settings.cache_type,
            ),
            tr("leave flash_attn at auto, or cache_type at f16"),
        )
    return EngineOptions(
        path=metadata.path,
        template=metadata.chat_template or None,
        ctx_size=settings.ctx_size,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        tensor_split=parse_shares(settings.tensor_split),
        batch_size=settings.batch_size,
        kv_type=settings.cache_type,
        flash_attn=settings.flash_attn,
        swa_full=settings.swa_full,
        mmap=settings.mmap,
        mlock=settings.mlock,
        prompt_lookup=settings.prompt_lookup,
        draft=draft.path if draft else None,
        loras=tuple(_loras(settings.lora)),
        control=tuple(_control_vectors(settings.control_vector)),
        rpc=_workers(settings.rpc),
        rpc_timeout=settings.rpc_timeout,
    )


def _workers(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    from tchat.settings.endpoints import parse_endpoints

    return parse_endpoints(text)


def parse_scaled(entry: str) -> tuple[Path, float]:
    """``PATH`` or ``PATH:SCALE``; a colon that no number follows belongs to the path.

    Raises:
        UsageError: There is no path, or the scale is infinite or no number.
    """
    name, _, number = entry.rpartition(":")
    try:
        scale = float(number) if name else 1.0
    except ValueError:
        # A file may be called so; where it is not, and the rest is a file, a scale was meant.
        scale = math.nan if is_file(name) and not is_file(entry) else 1.0
        name = ""
    if not entry or not math.isfinite(scale):
        raise UsageError(
            tr("`{entry}` is not an adapter's PATH or PATH:SCALE", entry=single_line(entry, 80)),
            tr("write for example adapter.gguf:0.5"),
        )
    return expanded(name or entry), scale


def parse_shares(text: str) -> tuple[float, ...]:
    """Parse shares such as ``3,1``; empty for an empty text.

    Raises:
        UsageError: It is no list of numbers of 0 or more, or they are all 0.
    """
    if not text:
        return ()
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not all(0 <= share < math.inf for share in shares) or not any(shares):
        raise UsageError(
            tr("`tensor_split` must be numbers like 3,1, not `{text}`", text=single_line(text, 60)),
            tr("one share for each GPU, in the order of `tchat doctor`"),
        )
    return shares


def _loras(entries: Sequence[str]) -> Iterator[Lora]:
    for entry in entries:
        path, scale = parse_scaled(entry)
        _require(path, ModelKind.LORA, "--lora")
        yield Lora(path, scale)


def _control_vectors(entries: Sequence[str]) -> Iterator[ControlVector]:
    for entry in entries:
        path, scale = parse_scaled(entry)
        _require(path, ModelKind.CONTROL_VECTOR, "--control-vector")
        from tchat.models.gguf.control_vector import read_control_vector

        directions = read_control_vector(path)
        yield ControlVector(path, directions.width, directions.by_layer, scale)


def _require(path: Path, kind: ModelKind, flag: str) -> None:
    """llama.cpp would crash on a missing adapter, and take a model for one."""
    found = read_metadata(path).kind
    if found is not kind:
        raise ModelInvalid(
            tr("{path} is a {found}", path=label(path), found=found),
            tr("{flag} takes a {kind}", flag=flag, kind=kind),
        )


# The snapshots of a model: where they are, how large they may get, and their key

MEGABYTE = 1 << 20

# What an engine is made from and its KV states do not depend on, or is told otherwise in the key.
_ASIDE = frozenset(
    {
        *("path", "template", "ctx_size", "threads", "batch_size", "mmap", "mlock"),
        *("prompt_lookup", "draft", "rpc", "rpc_timeout"),
    }
)


def open_snapshots(
    settings: Settings, paths: Paths, metadata: ModelMetadata, options: EngineOptions
) -> Snapshots:
    """The snapshots of one model, loaded as ``options`` say."""
    from tchat.engine.snapshots.snapshots import Snapshots

    limit = settings.kv_cache_disk_mb * MEGABYTE
    key = snapshot_key(metadata, options)
    return Snapshots(snapshot_store(paths), key, metadata.name, limit, _free_memory)


def _free_memory() -> int | None:
    memory = main_memory()
    return memory.free if memory else None


def snapshot_store(paths: Paths) -> SnapshotStore:
    """The user's snapshots."""
    from tchat.engine.snapshots.store import SnapshotStore

    return SnapshotStore(paths.snapshots, paths.snapshot_key, paths.encryption)


def forget_sessions(paths: Paths, sessions: Iterable[str]) -> None:
    """Remove the snapshots of sessions that are deleted, or changed in their middle."""
    with closing(snapshot_store(paths)) as store:
        store.forget(sessions)


def restore_status(known: ModelRecord) -> str:
    """Describe whether the snapshots of a model are restored."""
    from tchat.engine.snapshots.index import RECHECK_SECONDS
    from tchat.humanize import when

    if known.exact:
        return tr("chats reopen at once")
    if known.restores is False:
        again = when(known.checked + RECHECK_SECONDS)
        return tr(
            "chats are read again, until a check after {again}: {reason}",
            again=again,
            reason=known.reason,
        )
    if known.reason:
        return tr("to be checked again: {reason}", reason=known.reason)
    return tr("not checked yet, as no long chat was saved")


def snapshot_key(metadata: ModelMetadata, options: EngineOptions) -> str:
    """A key of everything but tokens that a KV state depends on.

    A field that `EngineOptions` gains counts, unless it is set aside here.
    """
    import hashlib
    import json

    about = {
        "files": _files([metadata.path, *metadata.parts]),
        "build": build_name(),
        "context": context_size(options.ctx_size, metadata.context_length),
        **{
            field.name: _plain(getattr(options, field.name))
            for field in fields(options)
            if field.name not in _ASIDE
        },
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    """A field's value; an adapter is known by its file and its strength."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    path = getattr(value, "path", None)
    return [*_files([path]), getattr(value, "scale", 1.0)] if isinstance(path, Path) else value


def _files(paths: Sequence[Path]) -> list[str]:
    return [str(file_key(path)) for path in paths]
