"""llama.cpp's own download folder: ``$LLAMA_CACHE``, else ``llama.cpp`` in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from tchat.models.sources.scan import gguf_files
from tchat.models.sources.source import LocalModel, model_stem
from tchat.paths import Paths, expanded


class LlamaCppSource:
    """Models that llama.cpp's programs downloaded."""

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        import platformdirs

        named = environ.get("LLAMA_CACHE")
        self._folder = expanded(named) if named else platformdirs.user_cache_path() / "llama.cpp"

    def models(self) -> Iterator[LocalModel]:
        """The GGUF files in the folder."""
        for path in gguf_files(self._folder):
            yield LocalModel(model_stem(path), path, "llama.cpp")
