"""Where model files are: tchat's own places, and those of other programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.models_file import registered
from tchat.models.resolve import STARTER, Starter
from tchat.paths import Paths


class Owner(StrEnum):
    """Who keeps a file. What is not tchat's is used where it lies and never changed."""

    TCHAT = "tchat"
    USER = "you"


@dataclass(frozen=True, slots=True)
class Found:
    """A model file that somebody keeps, before anyone looked into it. ``name`` is raw."""

    name: str
    path: Path
    owner: Owner


def own_places(paths: Paths) -> Iterator[Found]:
    """The starter, and what the user registered."""
    with contextlib.suppress(ModelError):
        starter = Starter().find(STARTER)
        if starter is not None:
            yield Found(STARTER, starter, Owner.TCHAT)
    for path in registered(paths):
        yield Found(path.stem, path, Owner.USER)
