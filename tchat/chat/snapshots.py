"""The snapshots of a model: where they are, how large they may get, and their key."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from tchat.engine.binding import build_name
from tchat.engine.context import context_size
from tchat.engine.loading import EngineOptions
from tchat.engine.snapshots.index import RECHECK_SECONDS, ModelRecord
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.engine.snapshots.store import SnapshotStore
from tchat.models.files import file_key
from tchat.models.memory import main_memory
from tchat.models.metadata import ModelMetadata
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.translation import tr

MEGABYTE = 1 << 20

# What an engine is made from and its KV states do not depend on, or is told otherwise in the key.
_ASIDE = frozenset(
    {
        *("path", "template", "ctx_size", "threads", "batch_size", "mmap", "mlock"),
        *("prompt_lookup", "draft"),
    }
)


def open_snapshots(
    settings: Settings, paths: Paths, metadata: ModelMetadata, options: EngineOptions
) -> Snapshots:
    """The snapshots of one model, loaded as ``options`` say."""
    limit = settings.kv_cache_disk_mb * MEGABYTE
    key = snapshot_key(metadata, options)
    return Snapshots(snapshot_store(paths), key, metadata.name, limit, _free_memory)


def _free_memory() -> int | None:
    memory = main_memory()
    return memory.free if memory else None


def snapshot_store(paths: Paths) -> SnapshotStore:
    """The user's snapshots."""
    return SnapshotStore(paths.snapshots, paths.snapshot_key)


def forget_sessions(paths: Paths, sessions: Iterable[str]) -> None:
    """Remove the snapshots of sessions that are deleted, or changed in their middle."""
    with closing(snapshot_store(paths)) as store:
        store.forget(sessions)


def restore_status(known: ModelRecord) -> str:
    """Describe whether the snapshots of a model are restored."""
    if known.exact:
        return tr("chats reopen at once")
    if known.restores is False:
        again = time.strftime("%Y-%m-%d %H:%M", time.localtime(known.checked + RECHECK_SECONDS))
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
