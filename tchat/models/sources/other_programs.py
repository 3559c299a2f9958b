"""Model files that other programs keep. They are used where they lie, and never changed.

====================  ====================================================================
llama.cpp             ``$LLAMA_CACHE``, else ``llama.cpp`` in the user's cache folder
Ollama                manifests that name blobs, in ``$OLLAMA_MODELS``, the home folder, and
                      where its service keeps them
LM Studio             ``models/PUBLISHER/REPOSITORY/FILE`` in its home folder
GPT4All               its data folder
====================  ====================================================================
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tchat.models.files import has_gguf_ending
from tchat.models.hub.repo_files import RepoFile
from tchat.models.sources.hub_cache import list_repo_models
from tchat.models.sources.scan import files_below, gguf_files
from tchat.models.sources.source import LocalModel, Owner, model_stem
from tchat.paths import expanded

MAX_MANIFEST = 1 << 20  # bytes
OLLAMA_HOST = "registry.ollama.ai"
OLLAMA_MODEL = "application/vnd.ollama.image.model"
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


def other_models(environ: Mapping[str, str] = os.environ) -> Iterator[LocalModel]:
    """What llama.cpp, Ollama, LM Studio and GPT4All keep."""
    for path in gguf_files(_llama_cpp(environ)):
        yield LocalModel(model_stem(path), path, Owner.LLAMA_CPP)
    for folder in _ollama_folders(environ):
        yield from _ollama(folder)
    for folder in _lm_studio_folders(environ):
        yield from _lm_studio(folder)
    for path in gguf_files(_gpt4all(environ)):
        yield LocalModel(model_stem(path), path, Owner.GPT4ALL)


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or expanded("~"))


def _user_cache(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or _home(environ) / "AppData" / "Local")
    return Path(environ.get("XDG_CACHE_HOME") or _home(environ) / ".cache")


def _user_data(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Application Support"
    if sys.platform == "win32":
        return _user_cache(environ)
    return Path(environ.get("XDG_DATA_HOME") or _home(environ) / ".local" / "share")


def _llama_cpp(environ: Mapping[str, str]) -> Path:
    if named := environ.get("LLAMA_CACHE"):
        return expanded(named)
    return _user_cache(environ) / "llama.cpp"


def _gpt4all(environ: Mapping[str, str]) -> Path:
    return _user_data(environ) / "nomic.ai" / "GPT4All"


def _ollama_folders(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("OLLAMA_MODELS")
    usual = (
        _home(environ) / ".ollama" / "models",
        Path("/usr/share/ollama/.ollama/models"),
        Path("/var/lib/ollama/.ollama/models"),
    )
    return list(dict.fromkeys([*([expanded(named)] if named else []), *usual]))


def _ollama(folder: Path) -> Iterator[LocalModel]:
    """The models of ``manifests/HOST/NAMESPACE/MODEL/TAG`` in one folder of Ollama's."""
    manifests = folder / "manifests"
    for path in files_below(manifests, depth=5):
        parts = path.relative_to(manifests).parts
        digest = _model_digest(path) if len(parts) == 4 else ""
        if digest:
            yield LocalModel(
                _ollama_name(*parts), folder / "blobs" / f"sha256-{digest}", Owner.OLLAMA
            )


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    """The name as `ollama run` takes it."""
    if host != OLLAMA_HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"


def _model_digest(manifest: Path) -> str:
    """The SHA-256 of the layer that holds the weights; empty when there is none."""
    try:
        if manifest.stat().st_size > MAX_MANIFEST:
            return ""
        layers: Any = json.loads(manifest.read_bytes())["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == OLLAMA_MODEL]
        match = DIGEST.fullmatch(digests[0]) if digests else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return match[1] if match else ""


def _lm_studio_folders(environ: Mapping[str, str]) -> list[Path]:
    home = _home(environ)
    return [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]


def _lm_studio(folder: Path) -> Iterator[LocalModel]:
    """``PUBLISHER/REPOSITORY/FILE``, mostly of the hub: named as there, so both are found alike."""
    repositories: dict[str, list[RepoFile]] = {}
    for path in files_below(folder, depth=4):
        publisher, *below = path.relative_to(folder).parts
        if has_gguf_ending(path.name) and len(below) >= 2:
            repo, name = f"{publisher}/{below[0]}", "/".join(below[1:])
            repositories.setdefault(repo, []).append(RepoFile(repo, "", "", name, 0, "", ""))
    for repo, files in repositories.items():
        for model in list_repo_models(files):
            yield LocalModel(model.name, folder / repo / model.first.name, Owner.LM_STUDIO)
