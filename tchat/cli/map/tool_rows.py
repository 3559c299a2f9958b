"""Rows whose prompts may call tools: one after the other, each in a chat of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tchat.engine.events import Finished, Notice, ToolStep
from tchat.errors import Interrupted, TchatError, UsageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.tool_loop import ChatTools
    from tchat.engine.batch import BatchResult, BatchTask


def open_reading_tools(settings: Settings, paths: Paths, names: Sequence[str]) -> ChatTools | None:
    """The tools ``names``, which only compute and read; None without names.

    Raises:
        UsageError: One may do more, or is not there.
    """
    from tchat.chat.tool_setup import open_tools

    tools = open_tools(settings, paths, None, ask=None, names=names, typed=names)
    if tools is None:
        return None
    from tchat.tools.tool import Effect

    for name in tools.names:
        if not tools.executor.registry.get(name).effects <= {Effect.READS_FILES}:
            raise UsageError(
                tr("{name} may do more than read, and nobody can be asked for each row", name=name),
                tr("leave it out of -T"),
            )
    return tools


class ToolRows:
    """Answers tasks with ``tools``.

    Attributes:
        calls: The records of the calls of each row.
    """

    def __init__(
        self, settings: Settings, paths: Paths, model: ChatModel, tools: ChatTools
    ) -> None:
        self.calls: dict[int, list[dict[str, Any]]] = {}
        self._settings = settings
        self._paths = paths
        self._model = model
        self._tools = tools

    def results(self, tasks: Iterable[BatchTask]) -> Iterator[BatchResult]:
        """The outcome of each task, in their order."""
        from tchat.engine.batch import BatchResult

        for task in tasks:
            notices: list[Notice] = []
            try:
                result: Finished | TchatError = self._answer(task, notices)
            except Interrupted:
                raise
            except TchatError as error:
                result = error
            if self._model.engine.cancel.is_set():
                return
            yield BatchResult(task.index, result, tuple(notices))

    def _answer(self, task: BatchTask, notices: list[Notice]) -> Finished:
        from tchat.chat.chat import Chat
        from tchat.cli.output.steps import ENDED, step_record
        from tchat.sessions.store import SessionStore

        prompt = task.ask()[-1].content
        with SessionStore.in_memory() as store:
            cancel = self._model.engine.cancel
            chat = Chat(
                self._seeded(task.index),
                self._paths,
                store,
                cancel=cancel,
                model=self._model,
                tools=self._tools,
                is_private=False,  # a map is none, whether it stores or not
            )
            finished = None
            try:
                for event in chat.send(prompt):
                    if isinstance(event, Finished):
                        finished = event
                    elif isinstance(event, Notice):
                        notices.append(event)
                    elif isinstance(event, ToolStep) and event.state in ENDED:
                        self.calls.setdefault(task.index, []).append(step_record(event))
            finally:
                chat.release_model()
        if finished is None:
            raise TchatError(tr("there is no reply"), tr("run it again"))
        return finished

    def _seeded(self, index: int) -> Settings:
        """The settings with the seed of a row; one that is drawn stays so."""
        sampling = self._settings.sampling
        if sampling.seed < 0:
            return self._settings
        seed = (sampling.seed + index) % (2**32 - 1)
        return replace(self._settings, sampling=replace(sampling, seed=seed))
