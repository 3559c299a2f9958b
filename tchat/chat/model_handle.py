"""The model of a chat: opened on first use, released to another chat."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from tchat.engine.binding import Cancel
from tchat.engine.events import Event
from tchat.paths import Paths
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel


class ModelHandle:
    """At most one open model.

    Args:
        paths: The user's folders.
        cancel: Stops the model.
        model: One that is open, and perhaps being loaded already.

    Attributes:
        model: The open one; None before it is needed.
    """

    def __init__(self, paths: Paths, cancel: Cancel, model: ChatModel | None = None) -> None:
        self._paths, self._cancel = paths, cancel
        self.model = model

    @property
    def loaded(self) -> ChatModel | None:
        """The model, if it is loaded."""
        return self.model if self.model is not None and self.model.engine.is_loaded else None

    def load(self, settings: Settings) -> Generator[Event, None, ChatModel | None]:
        """Open and load the model; return None if the user stopped it.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
        """
        try:
            if self.model is None:
                from tchat.chat.model import open_model

                self.model = yield from open_model(settings, self._paths, self._cancel)
            yield from self.model.engine.load()
        except InterruptedError:
            return None
        return self.model

    def require(self, settings: Settings) -> ChatModel:
        """The model, loaded.

        Raises:
            ModelError, DoesNotFit: It cannot be loaded.
            InterruptedError: The user stopped that.
        """
        loading = self.load(settings)
        while True:
            try:
                next(loading)
            except StopIteration as ended:
                if ended.value is None:
                    raise InterruptedError from None
                model: ChatModel = ended.value
                return model

    def release(self) -> ChatModel | None:
        """Release the model without closing it."""
        model, self.model = self.model, None
        return model

    def close(self) -> None:
        """Free the model; it is opened anew when it is needed."""
        if (model := self.release()) is not None:
            model.engine.close()
