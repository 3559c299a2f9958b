"""A worker of `tchat map --ray`: an engine in a process of Ray, on any node."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tchat.cli.map.spread import Chunk
from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import on_large_stack
from tchat.errors import ModelInvalid, TchatError
from tchat.paths import user_paths
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel

T = TypeVar("T")
PIECE = 64 << 20  # bytes of a model that are sent at a time


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of a model: where the caller has it, and what it must be."""

    path: Path
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> SentFile:
        """The file at ``path``; reads it all."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, path.stat().st_size, digest)

    def pieces(self) -> Iterator[bytes]:
        """Its content."""
        with self.path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def is_at(self, path: Path) -> bool:
        """Whether ``path`` holds the same."""
        try:
            return path.stat().st_size == self.size and SentFile.of(path) == replace(
                self, path=path
            )
        except OSError:
            return False


# Makes the pieces of a file from what was sent for it.
Fetch = Callable[[int], Iterator[bytes]]


def local_model(files: Sequence[SentFile], folder: Path, fetch: Fetch | None) -> Path | None:
    """The first of ``files`` as it is on this node; None where it has to be sent first.

    The same files at the same place are used as they are. Else they are written into ``folder``,
    by one worker of a node, and checked.

    Raises:
        ModelInvalid: What came is something else.
        OSError: It cannot be written.
    """
    if all(each.is_at(each.path) for each in files):
        return files[0].path
    names = hashlib.sha256("".join(each.sha256 for each in files).encode()).hexdigest()[:16]
    home = folder / names
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for number, each in enumerate(files):
            path = home / each.path.name
            if each.is_at(path):
                continue
            if fetch is None:
                return None
            part = path.with_name(f"{path.name}.part")
            with part.open("wb") as file:
                for piece in fetch(number):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if not each.is_at(part):
                part.unlink()
                name = single_line(each.path.name, 80)
                raise ModelInvalid(tr("{name} arrived damaged at a node", name=name))
            part.replace(path)
    return home / files[0].path.name


class RowWorker:
    """Answers chunks of rows with an engine of its own, which keeps the head of the prompts.

    Args:
        files: The model's.
        settings: Those of the call, with the threads of this worker.
        options: How rows are answered.
    """

    def __init__(
        self, files: Sequence[SentFile], settings: Settings, options: BatchOptions
    ) -> None:
        self._files, self._settings, self._options = files, settings, options
        self._model: ChatModel | None = None

    def load(self, pieces: Sequence[Sequence[object]] | None) -> bool | TchatError:
        """Load the model; False where it has to be sent, as references to ``pieces``."""
        try:
            return on_large_stack(lambda: self._load(pieces))
        except TchatError as error:
            return error
        except OSError as error:
            return TchatError(tr("a node cannot keep the model: {error}", error=error))

    def _load(self, pieces: Sequence[Sequence[object]] | None) -> bool:
        from tchat.chat.model import open_model
        from tchat.cli.output.status import show_events

        def fetch(number: int) -> Iterator[bytes]:
            import importlib

            ray = importlib.import_module("ray")
            return map(ray.get, pieces[number] if pieces else ())

        paths = user_paths()
        folder = paths.cache / "ray-models"
        path = local_model(self._files, folder, None if pieces is None else fetch)
        if path is None:
            return False
        settings = replace(self._settings, model=str(path))
        opened = open_model(settings, paths, Cancel())
        self._model = show_events(opened, lambda _: None)
        list(self._model.engine.load())
        return True

    def answer(self, chunk: Chunk) -> list[BatchResult] | TchatError:
        """The results of a chunk; an error where no chunk can be answered."""
        try:
            return on_large_stack(lambda: self._answer(chunk))
        except TchatError as error:
            return error

    def _answer(self, chunk: Chunk) -> list[BatchResult]:
        if self._model is None:
            raise RuntimeError("the model was not loaded")
        tasks = [BatchTask(row.index, lambda row=row: row.messages) for row in chunk]  # type: ignore[misc]
        return list(self._model.require_engine().map(tasks, self._options))
