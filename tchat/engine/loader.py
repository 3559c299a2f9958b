"""From options to a model that can chat, in steps that a user can stop and take up again."""

from __future__ import annotations

import time
from collections.abc import Generator

from tchat.engine.background_load import BackgroundLoad
from tchat.engine.cancel import Cancel
from tchat.engine.events import LoadProgress
from tchat.engine.loading import LoadedModel, assemble, precompile_template, template_of
from tchat.engine.model import Model
from tchat.engine.options import EngineOptions


class ModelLoader:
    """Loads one model, once or again after it was stopped.

    Args:
        options: What is loaded, and how.
        cancel: Stops it.
        opening: The model in the making already, where there is one.
    """

    def __init__(
        self, options: EngineOptions, cancel: Cancel, opening: BackgroundLoad | None
    ) -> None:
        self._options = options
        self._cancel = cancel
        self._opening = opening
        self._seconds = 0.0

    def close(self) -> None:
        """Give up what is in the making."""
        if self._opening is not None:
            self._cancel.set()
            self._drop(self._opening)

    def begin(self) -> None:
        """Begin, beside what the caller does next, unless it has begun."""
        self._begun()

    def load(self) -> Generator[LoadProgress, None, LoadedModel]:
        """Wait for what `begin` began; returns it with all that goes with it.

        Raises:
            ModelError, DoesNotFit, UsageError: It cannot be loaded.
            InterruptedError: It was stopped.
        """
        yield LoadProgress(self._options.path.name, 0.0)
        precompile_template(self._options)
        opening, model = self._opened_model()
        try:
            template = template_of(self._options, model, self._cancel)
        except BaseException:
            self._drop(opening)
            raise
        if not opening.context_is_there():
            raise InterruptedError
        self._opening = None
        context = opening.context()
        self._seconds = time.perf_counter() - opening.started
        return assemble(self._options, model, context, template, self._cancel)

    def taken(self) -> float:
        """Seconds that it took, for the first reply; 0 for the others."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _begun(self) -> BackgroundLoad:
        self._opening = self._opening or BackgroundLoad(self._options, self._cancel)
        return self._opening

    def _opened_model(self) -> tuple[BackgroundLoad, Model]:
        """The model in the making, once it is made.

        One that the user does not wait for stays in ``_opening``: `close` frees it, and the next
        load finds it made, or begins anew where an earlier stop had reached it.
        """
        while True:
            opening = self._begun()
            if not opening.model_is_there():
                raise InterruptedError
            try:
                return opening, opening.model()
            except InterruptedError:
                self._opening = None
                if self._cancel.is_set():
                    raise
            except BaseException:
                self._opening = None
                raise

    def _drop(self, opening: BackgroundLoad) -> None:
        self._opening = None
        opening.abandon()
