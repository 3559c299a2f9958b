"""The model files, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tchat.models.library import Library
from tchat.models.model_rows import InfoRow
from tchat.models.removal import RemovalPlan
from tchat.paths import Paths
from tchat.settings import Value, find_key
from tchat.settings.write import set_value
from tchat.tui.model_rows import ModelRow, hub_rows, model_rows, offer_rows, planned_pull
from tchat.tui.services.downloads import Downloads

T = TypeVar("T")


class ModelService:
    """The model files as `ModelPicker` uses them.

    Every method raises `TchatError` as `Library` does.

    Args:
        paths: The user's folders.
        current: The file of the model in use.
        pulls: What is being pulled.
        pull: Begins a download in the background.
        keep: Called with settings that new chats begin with.
    """

    def __init__(
        self,
        paths: Paths,
        current: Path | None,
        pulls: Downloads,
        pull: Callable[[str], object],
        keep: Callable[[Mapping[str, Value]], object] = lambda _: None,
    ) -> None:
        self._paths = paths
        self._current = current
        self._pulls = pulls
        self._pull = pull
        self._keep = keep

    @property
    def pulling(self) -> str:
        """The model that is being pulled; empty when none is."""
        return self._pulls.name

    async def plan_pull(self, name: str) -> str:
        """What pulling a model would bring, on one line; asks the hub."""
        return await asyncio.to_thread(planned_pull, name, self._paths)

    def pull(self, name: str) -> None:
        """Begin a download in the background."""
        self._pull(name)

    def stop_pull(self) -> None:
        """End it; what came is kept."""
        self._pulls.stop()

    async def rows(self, everything: bool) -> Sequence[ModelRow]:
        """The models; with ``everything``, other programs' too."""
        return await asyncio.to_thread(
            model_rows, self._paths, self._current, everything=everything
        )

    async def offers(self) -> Sequence[ModelRow]:
        """Models of the catalogue that are not on this disk."""
        return await asyncio.to_thread(offer_rows, self._paths)

    async def search(self, words: str) -> Sequence[ModelRow]:
        """Models on the hub."""
        return await asyncio.to_thread(hub_rows, words)

    async def details(self, choice: str) -> Sequence[InfoRow]:
        """What a model says about itself, on this disk or on the hub."""
        from tchat.chat.model_info import inspect_model

        return await asyncio.to_thread(lambda: list(inspect_model(choice, self._paths).rows()))

    async def plan_removal(self, choice: str) -> RemovalPlan:
        """What removing a model would do."""
        return await self._with_library(lambda library: library.plan_removal(choice))

    async def remove(self, removal: RemovalPlan) -> None:
        """Remove a model."""
        await self._with_library(lambda library: library.remove(removal))

    async def make_default(self, choice: str) -> None:
        """Let new chats begin with a model."""
        key = find_key("model")
        await asyncio.to_thread(set_value, self._paths.config_file, key, choice)
        self._keep({key.name: choice})

    async def _with_library(self, work: Callable[[Library], T]) -> T:
        def opened() -> T:
            with Library(self._paths) as library:
                return work(library)

        return await asyncio.to_thread(opened)
