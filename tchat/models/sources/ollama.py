"""Ollama's models: manifests that name GGUF blobs.

They lie in ``$OLLAMA_MODELS``, in the home folder, and where Ollama's service keeps them, as
``manifests/HOST/NAMESPACE/MODEL/TAG`` and ``blobs/sha256-HEX``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tchat.models.sources.source import LocalModel, files_below
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.translation import tr

MAX_MANIFEST = 1 << 20  # bytes
REGISTRY_HOST = "registry.ollama.ai"
MODEL_LAYER = "application/vnd.ollama.image.model"
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
FOLDERS = (
    "~/.ollama/models",
    "/usr/share/ollama/.ollama/models",  # of its service
    "/var/lib/ollama/.ollama/models",
)


class OllamaSource:
    """Models that Ollama pulled."""

    is_own = False

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:  # noqa: ARG002
        named = environ.get("OLLAMA_MODELS")
        self._folders = dict.fromkeys(map(expanded, (*([named] if named else ()), *FOLDERS)))

    def models(self) -> Iterator[LocalModel]:
        """One for each manifest that names a file of weights."""
        for folder in self._folders:
            manifests = folder / "manifests"
            for path in files_below(manifests, depth=5):
                parts = path.relative_to(manifests).parts
                if len(parts) == 4 and (digest := _model_digest(path)):
                    name, blob = _model_name(*parts), folder / "blobs" / f"sha256-{digest}"
                    hint = tr("run: ollama rm {name}", name=single_line(name, 100))
                    yield LocalModel(name, blob, "Ollama", removal_hint=hint)


def _model_name(host: str, namespace: str, model: str, tag: str) -> str:
    """The name as `ollama run` takes it."""
    if host != REGISTRY_HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"


def _model_digest(manifest: Path) -> str:
    """The SHA-256 of the layer that holds the weights; empty when there is none."""
    try:
        if manifest.stat().st_size > MAX_MANIFEST:
            return ""
        layers: Any = json.loads(manifest.read_bytes())["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == MODEL_LAYER]
        match = DIGEST.fullmatch(digests[0]) if digests else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return match[1] if match else ""
