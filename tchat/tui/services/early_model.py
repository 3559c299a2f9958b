"""A model that loads while the user is asked for the passphrase: it needs no store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import Call
from tchat.settings import Settings, needs_loading

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.preload import Preloaded
    from tchat.paths import Paths


class EarlyModel:
    """The model of the first settings, where it can be loaded unseen; see `preload`.

    Attributes:
        cancel: What stops its loading, and later its work.
    """

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self.cancel = Cancel()
        self._settings = settings
        self._paths = paths
        self._preloading: Call[Preloaded | None] | None = Call(self._preload)
        threading.Thread(target=self._preloading, name="preload", daemon=True).start()

    def _preload(self) -> Preloaded | None:
        from tchat.chat.preload import preload

        return preload(self._settings, self._paths, self.cancel)

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        preloaded = next(iter(self._preloading.made), None) if self._preloading else None
        return preloaded is not None and preloaded.background.is_done

    def take(self, settings: Settings) -> ChatModel | None:
        """The model, for a chat with ``settings``; None where there is none, or they need another.

        It may be loading still.
        """
        if needs_loading(self._settings, settings):
            self.abandon()
            return None
        preloaded = self._taken()
        if preloaded is None:
            return None
        from tchat.chat.model import preloaded_model

        return preloaded_model(preloaded, settings, self._paths, self.cancel)

    def abandon(self) -> None:
        """Stop loading, and free the model; nothing where it was taken."""
        self.cancel.set()
        if (preloaded := self._taken()) is not None:
            preloaded.background.abandon()
        self.cancel.clear()

    def _taken(self) -> Preloaded | None:
        preloading, self._preloading = self._preloading, None
        return preloading.result() if preloading is not None else None
