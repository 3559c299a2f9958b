"""Make an engine from settings: find the model, check its file, choose its options."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tchat.chat.memory import require_memory
from tchat.chat.preload import Preloaded, draft_model_facts, engine_options
from tchat.chat.snapshots import open_snapshots
from tchat.engine.binding import Cancel, backend, build_name
from tchat.engine.engine import Engine
from tchat.engine.events import Event, Notice
from tchat.models.files import label
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.models.models_file import settings_for
from tchat.models.resolve import resolve_chosen
from tchat.paths import Paths
from tchat.settings import Settings


@dataclass(frozen=True, slots=True)
class ChatModel:
    """An engine and the metadata of its model file."""

    engine: Engine
    facts: ModelMetadata


def open_model(
    settings: Settings, paths: Paths, cancel: Cancel
) -> Generator[Event, None, ChatModel]:
    """Find and check the model of ``settings``; returns it with its engine, not yet loaded.

    A file that was not seen before is probed in a child first, which takes as long as loading it;
    a `Notice` says so.

    Raises:
        ModelError: It is not there, cannot chat, or is refused by llama.cpp.
        DoesNotFit: There is no memory for it.
    """
    from tchat.models.verify import require_loadable

    path = resolve_chosen(settings, paths)
    with MetadataCache(paths) as store:
        facts = store.metadata(path)
        settings = settings_for(settings, paths, path)
        draft = draft_model_facts(settings, paths, store)
        if not facts.refusal:
            require_memory(settings, facts)
        for each in filter(None, (facts, draft)):
            if not each.refusal and store.verdict(each, build_name()) is None:
                text = f"{label(each.path)} is new: checking once that it loads safely"
                yield Notice("model", text)
            require_loadable(
                each, store, probe_command, build=build_name(), cancelled=cancel.is_set
            )
        store.record_use(facts)
    backend().log.write_to(paths.log_file)
    options = engine_options(settings, facts, draft)
    snapshots = open_snapshots(settings, paths, facts, options)
    return ChatModel(Engine(options, cancel, snapshots=snapshots), facts)


def probe_command(path: Path) -> Sequence[str]:
    """The command line that probes ``path`` in a child process."""
    return [sys.executable, "-m", "tchat.chat.probe", str(path)]


def preloaded_model(
    begun: Preloaded, settings: Settings, paths: Paths, cancel: Cancel
) -> ChatModel:
    """The engine of a model that is being loaded already."""
    snapshots = open_snapshots(settings, paths, begun.facts, begun.options)
    return ChatModel(Engine(begun.options, cancel, begun.opening, snapshots), begun.facts)
