"""Files and folders that the user registered in models.toml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tchat.models.models_file import registered
from tchat.models.sources.scan import gguf_files
from tchat.models.sources.source import USER, LocalModel, model_stem
from tchat.paths import Paths

DEPTH = 3  # levels of a registered folder


class RegisteredSource:
    """What the user added by ``tchat models add``."""

    is_own = True

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        self._paths = paths

    def models(self) -> Iterator[LocalModel]:
        """The registered files, and the GGUF files below registered folders."""
        for place in registered(self._paths):
            files: Iterable[Path] = gguf_files(place, DEPTH) if place.is_dir() else (place,)
            for path in files:
                yield LocalModel(model_stem(path), path, USER, can_relink=True)
