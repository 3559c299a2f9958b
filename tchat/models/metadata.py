"""Metadata of a model file, read from its GGUF header without loading it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tchat.models.files import FileKey, file_key
from tchat.models.gguf.compatibility import ModelKind, detect_kind
from tchat.models.memory import ModelDimensions

# The hub's cache and Ollama name a file by the SHA-256 of its content.
NAMED_BY_HASH = re.compile(r"(?:sha256-)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Metadata of a model file. Texts are raw: sanitize them before printing.

    Attributes:
        path: The file; of a split model, the first part.
        key: Identity of the file; verdicts are cached by it.
        parts: Further files of a split model.
        title: ``general.name``; may be empty.
        kind: What it is for.
        refusal: Why it cannot chat, to be read after its name; empty when it can.
        architecture: For example ``llama``.
        quantization: For example ``Q4_K_M``.
        parameters: Number of weights, all parts together.
        context_length: Tokens that it was trained for; 0 when the header gives none.
        chat_template: Jinja source; empty when it has none.
        size: Bytes, all parts together.
        sha256: Where the file's name tells it, else empty.
        dimensions: Dimensions that decide its memory and speed.
    """

    path: Path
    key: FileKey
    parts: tuple[Path, ...]
    title: str
    kind: ModelKind
    refusal: str
    architecture: str
    quantization: str
    parameters: int
    context_length: int
    chat_template: str
    size: int
    sha256: str
    dimensions: ModelDimensions

    @property
    def name(self) -> str:
        """``general.name``, else the file's name without its ending."""
        return self.title or self.path.stem


def read_metadata(path: Path) -> ModelMetadata:
    """Read the metadata from the headers of ``path`` and its further parts.

    Raises:
        ModelNotFound: The file, or a part of it, is not there.
        ModelInvalid: It is not a GGUF file, is damaged, or is not the first part.
    """
    # Not needed for a cached file, which saves 9 ms at start-up.
    from tchat.models.gguf.compatibility import refusal
    from tchat.models.gguf.hparams import read_dimensions
    from tchat.models.gguf.parser import read_header
    from tchat.models.gguf.split_files import further_parts, read_parts

    key = file_key(path)
    header = read_header(path)
    parts = further_parts(path, header)
    headers = (header, *read_parts(parts))
    # The first part may hold the metadata only, so the kind is judged by all tensors.
    whole = replace(header, tensors=tuple(t for each in headers for t in each.tensors))
    return ModelMetadata(
        path=path,
        key=key,
        parts=parts,
        title=whole.name,
        kind=detect_kind(whole),
        refusal=refusal(whole),
        architecture=whole.architecture,
        quantization=whole.quantization,
        parameters=whole.parameters,
        context_length=whole.context_length,
        chat_template=whole.chat_template,
        size=sum(each.file_size for each in headers),
        sha256="" if parts else hash_in_name(path),
        dimensions=read_dimensions(whole),
    )


def hash_in_name(path: Path) -> str:
    """The SHA-256 in the name of the file, links resolved; empty when there is none."""
    match = NAMED_BY_HASH.fullmatch(path.resolve().name)
    return match[1] if match else ""
