"""Folders of other programs, with forged model files in them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from tests.models.gguf_builder import gguf

MODEL_LAYER = "application/vnd.ollama.image.model"


def chat_model(folder: Path, stem: str, data: bytes | None = None) -> Path:
    """A model file that a header check finds sound."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.gguf"
    path.write_bytes(gguf() if data is None else data)
    return path


def hub_file(
    home: Path, repo: str, name: str, data: bytes | None = None, *, commit: str = "a" * 40
) -> Path:
    """A file of the Hugging Face cache, as the library lays it down; returns its blob."""
    content = gguf() if data is None else data
    folder = home / ".cache/huggingface/hub" / ("models--" + repo.replace("/", "--"))
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / commit / name
    ref = folder / "refs" / "main"
    for path in (blob, link, ref):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(os.path.relpath(blob, link.parent))
    ref.write_text(commit, encoding="ascii")
    return blob


def ollama_model(
    home: Path, model: str, tag: str, data: bytes, *, host: str = "registry.ollama.ai/library"
) -> Path:
    """A blob with its manifest, as Ollama lays them down; returns the blob."""
    folder = home / ".ollama" / "models"
    digest = hashlib.sha256(data).hexdigest()
    manifest = folder / "manifests" / host / model / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": MODEL_LAYER, "digest": f"sha256:{digest}", "size": len(data)},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")
    blob = folder / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    return blob
