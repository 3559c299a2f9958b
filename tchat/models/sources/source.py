"""What a model source is: a place that keeps model files, and what it lists of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tchat.models.files import PART_NAME

USER = "you"
HUB = "Hugging Face"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model file on this disk, before it is opened.

    Attributes:
        name: What it is called; raw.
        path: The file; of a split model the first part.
        owner: Who keeps it, for listings.
        removal_hint: How its owner removes it.
        can_relink: Whether tchat may replace the file by a hard link to the same content.
    """

    name: str
    path: Path
    owner: str
    removal_hint: str = "remove it there"
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
