"""What a model source is, and finding model files below a folder.

A folder may be huge, hold circular links, or belong to another user.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tchat.models.files import GGUF_ENDING, PART_NAME
from tchat.paths import is_folder
from tchat.translation import N_

USER = N_("you")  # shown by `tr`
HUB = "Hugging Face"


MAX_ENTRIES = 20_000  # looked at below one folder; a home folder registered by mistake ends there


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model file on this disk, before it is opened. Its name is raw.

    ``path`` is the first part of a split model. ``owner`` keeps it, and ``removal_hint`` says how
    to remove it there. A file that ``can_relink`` may be replaced by a hard link to the same
    content.
    """

    name: str
    path: Path
    owner: str
    removal_hint: str = N_("remove it there")
    can_relink: bool = False


class ModelSource(Protocol):
    """A place that keeps model files; made from `Paths` and the environment.

    A new one is a module beside this one and its line in `registry.SOURCES`.
    """

    @property
    def is_own(self) -> bool:
        """Whether its models are listed without ``--all``."""

    def models(self) -> Iterable[LocalModel]:
        """Its models. What is missing or cannot be read is left out.

        Raises:
            UsageError: models.toml is broken.
            StorageError: It cannot be read.
        """


def model_stem(path: Path) -> str:
    """The file's name without its ending and without the number of a part."""
    match = PART_NAME.fullmatch(path.name)
    return match["stem"] if match else path.stem


def gguf_files(folder: Path, depth: int = 1) -> Iterator[Path]:
    """The models below ``folder``, by name; of a split model the first part that is there.

    Links are followed; what cannot be read is left out. A ``depth`` of 1 is the folder itself.
    """
    parts: set[tuple[str, str]] = set()
    for path in sorted(_below(str(folder), depth, GGUF_ENDING, [MAX_ENTRIES])):
        match = PART_NAME.fullmatch(os.path.basename(path))  # noqa: PTH119 - 50 files, 300 ms
        if match is not None:
            model = (path[: -len(match[0])] + match["stem"], match["count"])
            if model in parts:
                continue
            parts.add(model)
        yield Path(path)


def files_below(folder: Path, depth: int) -> Iterator[Path]:
    """All files below ``folder``, by name; arguments as for `gguf_files`."""
    return map(Path, sorted(_below(str(folder), depth, "", [MAX_ENTRIES])))


def _below(folder: str, depth: int, ending: str, left: list[int]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except (OSError, ValueError):
        return
    for entry in entries:
        left[0] -= 1
        if left[0] < 0:
            return
        if is_folder(entry):
            if depth > 1:
                yield from _below(entry.path, depth - 1, ending, left)
        elif entry.name.lower().endswith(ending):
            yield entry.path
