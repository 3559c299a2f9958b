"""The model of a chat: found and checked from settings, opened on first use.

The engine is imported with the first model, after the first picture of the screen.
"""

from __future__ import annotations

import collections
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tchat.engine.events import Event, Notice
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.chat.backend import Backend
    from tchat.chat.outgoing import OutgoingTexts, SessionHolder
    from tchat.chat.preload import Preloaded
    from tchat.engine.binding import Cancel
    from tchat.engine.engine import Engine
    from tchat.models.metadata import ModelMetadata
    from tchat.paths import Paths
    from tchat.settings import Settings


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A backend, which is mostly the engine in this process, and the metadata of its model."""

    engine: Backend
    metadata: ModelMetadata

    def close_snapshots(self) -> None:
        """Close the files of the saved KV cache; the next use opens them again."""
        if (engine := self.engine.local_engine) is not None:
            engine.close_snapshots()

    def require_engine(self) -> Engine:
        """The engine in this process, for what only it can do.

        Raises:
            UsageError: The model is on a server.
        """
        if (engine := self.engine.local_engine) is None:
            raise UsageError(
                tr(
                    "{name} is on a server, and this needs a model in this process: hidden states, "
                    "control vectors and batches are not given by servers",
                    name=single_line(str(self.metadata.path), 80),
                ),
                tr("choose one: -m MODEL"),
            )
        return engine


def open_model(
    settings: Settings,
    paths: Paths,
    cancel: Cancel,
    *,
    schema: Mapping[str, Any] | None = None,
) -> Generator[Event, None, ChatModel]:
    """Find and check the model of ``settings``; returns it with its engine, not yet loaded.

    A file that was not seen before is probed in a child first, which takes as long as loading it;
    a `Notice` says so. Nothing is sent to a server yet.

    Raises:
        ModelError: It is not there, cannot chat, or is refused by llama.cpp.
        DoesNotFit: There is no memory for it.
        UsageError: It is on a server that is not described correctly, or its key is missing.
    """
    if settings.server:
        from tchat.chat.server_model import open_server_model

        server, named = open_server_model(settings, paths, cancel)
        server.schema = schema
        return ChatModel(server, named)
    from tchat.chat.machine import require_memory
    from tchat.chat.preload import (
        draft_model_metadata,
        engine_options,
        open_snapshots,
        with_models_file,
    )
    from tchat.engine.binding import backend, build_name
    from tchat.engine.engine import Engine
    from tchat.models.files import label
    from tchat.models.metadata import MetadataCache
    from tchat.models.resolve import resolve_chosen
    from tchat.models.verify import require_loadable

    path = resolve_chosen(settings, paths)
    with MetadataCache(paths) as metadata_cache:
        metadata = metadata_cache.metadata(path)
        settings = with_models_file(settings, paths, path)
        draft = draft_model_metadata(settings, paths, metadata_cache)
        if settings.rpc:
            from tchat.chat.rpc_model import open_rpc_engine

            engine = yield from open_rpc_engine(settings, paths, metadata, draft, cancel)
            metadata_cache.record_use(metadata)
            return ChatModel(engine, metadata)
        if not metadata.refusal:
            require_memory(settings, metadata)
        for each in filter(None, (metadata, draft)):
            if not each.refusal and metadata_cache.verdict(each, build_name()) is None:
                text = tr(
                    "{path} is new: checking once that it loads safely", path=label(each.path)
                )
                yield Notice("model", text)
            require_loadable(
                each, metadata_cache, probe_command, build=build_name(), cancelled=cancel.is_set
            )
        for each in filter(None, (metadata, draft)):
            metadata_cache.record_use(each)
    backend().log.write_to(lambda: paths.log)
    options = engine_options(settings, metadata, draft)
    snapshots = open_snapshots(settings, paths, metadata, options)
    return ChatModel(Engine(options, cancel, snapshots=snapshots), metadata)


def probe_command(path: Path) -> Sequence[str]:
    """The command line that probes ``path`` in a child process."""
    return [sys.executable, "-m", "tchat.chat.probe", str(path)]


def preloaded_model(
    preloaded: Preloaded, settings: Settings, paths: Paths, cancel: Cancel
) -> ChatModel:
    """The engine of a model that is being loaded already."""
    from tchat.chat.preload import open_snapshots
    from tchat.engine.engine import Engine

    snapshots = open_snapshots(settings, paths, preloaded.metadata, preloaded.options)
    engine = Engine(preloaded.options, cancel, preloaded.background, snapshots)
    return ChatModel(engine, preloaded.metadata)


class ModelHandle:
    """At most one open model.

    Attributes:
        model: The open one, perhaps still being loaded; None before it is needed.
        schema: The JSON schema that replies of a server must match; None for none.
    """

    def __init__(
        self,
        paths: Paths,
        cancel: Cancel,
        model: ChatModel | None = None,
        *,
        is_private: bool = False,
        chat: SessionHolder | None = None,
    ) -> None:
        self._chat = chat
        self._outgoing: OutgoingTexts | None = None
        self._paths, self._cancel, self._is_private = paths, cancel, is_private
        self.model = model
        self.schema: Mapping[str, Any] | None = None
        self._resolved: tuple[Settings, ChatModel, Settings] | None = None

    @property
    def loaded(self) -> ChatModel | None:
        """The model, if it is loaded."""
        return self.model if self.model is not None and self.model.engine.is_loaded else None

    def load(self, settings: Settings) -> Generator[Event, None, ChatModel | None]:
        """Open and load the model; return None if the user stopped it.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            UsageError: It is on a server that a private chat may not be sent to.
        """
        if self._is_private and settings.server:  # also one that another chat has opened
            from tchat.chat.server_model import require_private_use

            require_private_use(settings, self._paths)
        try:
            if self.model is None:
                self.model = yield from open_model(
                    settings,
                    self._paths,
                    self._cancel,
                    schema=self.schema,
                )
            self._bind_redaction(settings)
            was_loaded = self.loaded is not None
            yield from self.model.engine.load()
            if not was_loaded and self.model.metadata.sampling:
                from tchat.models.model_sampling import file_sampling

                for note in file_sampling(self.model.metadata.sampling).notes:
                    yield Notice("sampling", note)
        except InterruptedError:
            return None
        return self.model

    @property
    def outgoing(self) -> OutgoingTexts | None:
        """Redacts what of the chat leaves this machine; None where there is no chat."""
        if self._outgoing is None and self._chat is not None:
            from tchat.chat.outgoing import OutgoingTexts

            self._outgoing = OutgoingTexts(self._chat)
        return self._outgoing

    def _bind_redaction(self, settings: Settings) -> None:
        """Let the server of the model get texts with the placeholders of this session."""
        if settings.server and self.model is not None and (outgoing := self.outgoing) is not None:
            from tchat.chat.server_model import bind_redaction

            bind_redaction(self.model.engine, settings, outgoing)

    def settings_for_model(self, settings: Settings) -> Settings:
        """``settings`` with what the open model recommends, and what is set for it; on any thread.

        Raises:
            UsageError: ``models.toml`` cannot be read.
        """
        known, model = self._resolved, self.model
        if model is None or not self._has_own(settings, model):
            return settings
        if known is None or known[0] is not settings or known[1] is not model:
            from tchat.models.model_sampling import with_model_sampling

            own = with_model_sampling(settings, self._paths, model.metadata)
            known = self._resolved = settings, model, own
        return known[2]

    def _has_own(self, settings: Settings, model: ChatModel) -> bool:
        """Whether the model may have sampling of its own; the catalogue is not read for that.

        Names of the catalogue hold a colon, and files of its repositories a hyphen. The starter
        recommends none.
        """
        from tchat.models.sources.starter import STARTER

        metadata, name = model.metadata, settings.model
        if model.engine.local_engine is None:
            return False
        if metadata.sampling or os.path.lexists(self._paths.models_file):
            return True
        return name != STARTER and (":" in name or "-" in metadata.path.stem)

    def require(self, settings: Settings) -> ChatModel:
        """The model, loaded.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: The user stopped that.
        """
        collections.deque(self.load(settings), maxlen=0)
        if self.loaded is None:
            raise InterruptedError
        return self.loaded

    def release(self) -> ChatModel | None:
        """Release the model without closing it."""
        model, self.model = self.model, None
        return model

    def close(self) -> None:
        """Free the model; it is opened anew when it is needed."""
        if (model := self.release()) is not None:
            model.engine.close()
