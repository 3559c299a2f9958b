"""What a GGUF file is for. Only one kind can chat; the others are known by name."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tchat.models.gguf.header import Header

POOLING_RANK = 4  # enum llama_pooling_type in llama.h; 0 is none, 1 to 3 make embeddings


class ModelKind(StrEnum):
    """What a GGUF file is, in the words that a user is told."""

    CHAT = "language model"
    MMPROJ = "multimodal projector (mmproj)"
    IMATRIX = "importance matrix (imatrix)"
    LORA = "LoRA adapter"
    CONTROL_VECTOR = "control vector"
    EMBEDDING = "embedding model"
    RERANKER = "reranker"
    VOCABULARY = "vocabulary without weights"
    DRAFT = "draft model for speculative decoding"
    ENCODER_DECODER = "encoder-decoder model"
    DIFFUSION = "diffusion language model"
    SPEECH = "speech model"
    IMAGE = "image or video model"


ARCHITECTURES: tuple[tuple[ModelKind, frozenset[str]], ...] = (
    (ModelKind.MMPROJ, frozenset({"clip"})),
    (ModelKind.CONTROL_VECTOR, frozenset({"controlvector"})),
    (
        ModelKind.EMBEDDING,
        frozenset(
            {
                "bert",
                "modern-bert",
                "nomic-bert",
                "nomic-bert-moe",
                "neo-bert",
                "jina-bert-v2",
                "jina-bert-v3",
                "eurobert",
                "gemma-embedding",
                "llama-embed",
                "t5encoder",
            }
        ),
    ),
    (ModelKind.ENCODER_DECODER, frozenset({"t5"})),
    (ModelKind.DRAFT, frozenset({"eagle3", "dflash", "gemma4-assistant"})),
    (ModelKind.DIFFUSION, frozenset({"dream", "llada", "llada-moe", "rnd1"})),
    (ModelKind.SPEECH, frozenset({"wavtokenizer-dec", "qwen3tts", "pockettts", "whisper"})),
    (
        ModelKind.IMAGE,
        frozenset(
            {
                "sd1",
                "sdxl",
                "sd3",
                "flux",
                "aura",
                "lumina2",
                "hidream",
                "cosmos",
                "ltxv",
                "hyvid",
                "wan",
                "qwen_image",
            }
        ),
    ),
)


def detect_kind(header: Header) -> ModelKind:
    """What the file is, by its type, its architecture, its pooling and its tensors."""
    return (
        _by_type(header)
        or _by_architecture(header.architecture)
        or _by_pooling(header)
        or (ModelKind.CHAT if header.tensors else ModelKind.VOCABULARY)
    )


def _by_type(header: Header) -> ModelKind | None:
    declared = header.text("general.type")
    if declared == "adapter" or header.text("adapter.type") == "lora":
        return ModelKind.LORA
    if declared == "imatrix" or "imatrix.datasets" in header.metadata:
        return ModelKind.IMATRIX
    if declared == "mmproj" or "clip.has_vision_encoder" in header.metadata:
        return ModelKind.MMPROJ
    return None


def _by_architecture(architecture: str) -> ModelKind | None:
    return next((kind for kind, names in ARCHITECTURES if architecture in names), None)


def _by_pooling(header: Header) -> ModelKind | None:
    pooling = header.integer(f"{header.architecture}.pooling_type") or 0
    if pooling == POOLING_RANK:
        return ModelKind.RERANKER
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    return ModelKind.EMBEDDING if pooling > 0 or causal is False else None
