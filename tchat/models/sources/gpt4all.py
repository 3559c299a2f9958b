"""GPT4All's data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from tchat.models.sources.scan import gguf_files
from tchat.models.sources.source import LocalModel, model_stem
from tchat.paths import Paths


class Gpt4AllSource:
    """Models that GPT4All downloaded."""

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        import platformdirs

        self._folder = platformdirs.user_data_path() / "nomic.ai" / "GPT4All"

    def models(self) -> Iterator[LocalModel]:
        """The GGUF files in the folder."""
        for path in gguf_files(self._folder):
            yield LocalModel(model_stem(path), path, "GPT4All")
