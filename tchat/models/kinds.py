"""What a GGUF file is for. Only one kind can chat; the others are known by name."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tchat.models.header import Header

POOLING_RANK = 4  # enum llama_pooling_type in llama.h; 0 is none, 1 to 3 make embeddings


class Kind(StrEnum):
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


ARCHITECTURES: tuple[tuple[Kind, frozenset[str]], ...] = (
    (Kind.MMPROJ, frozenset({"clip"})),
    (Kind.CONTROL_VECTOR, frozenset({"controlvector"})),
    (
        Kind.EMBEDDING,
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
    (Kind.ENCODER_DECODER, frozenset({"t5"})),
    (Kind.DRAFT, frozenset({"eagle3", "dflash", "gemma4-assistant"})),
    (Kind.DIFFUSION, frozenset({"dream", "llada", "llada-moe", "rnd1"})),
    (Kind.SPEECH, frozenset({"wavtokenizer-dec", "qwen3tts", "pockettts", "whisper"})),
    (
        Kind.IMAGE,
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


def kind_of(header: Header) -> Kind:
    """What the file is, by its type, its architecture, its pooling and its tensors."""
    return (
        _by_type(header)
        or _by_architecture(header.architecture)
        or _by_pooling(header)
        or (Kind.CHAT if header.tensors else Kind.VOCABULARY)
    )


def _by_type(header: Header) -> Kind | None:
    declared = header.text("general.type")
    if declared == "adapter" or header.text("adapter.type") == "lora":
        return Kind.LORA
    if declared == "imatrix" or "imatrix.datasets" in header.metadata:
        return Kind.IMATRIX
    if declared == "mmproj" or "clip.has_vision_encoder" in header.metadata:
        return Kind.MMPROJ
    return None


def _by_architecture(architecture: str) -> Kind | None:
    return next((kind for kind, names in ARCHITECTURES if architecture in names), None)


def _by_pooling(header: Header) -> Kind | None:
    pooling = header.integer(f"{header.architecture}.pooling_type") or 0
    if pooling == POOLING_RANK:
        return Kind.RERANKER
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    return Kind.EMBEDDING if pooling > 0 or causal is False else None
