"""The kind of a GGUF file, and why one cannot chat.

Besides the kind, values are refused that llama.cpp checks by an assertion instead of an error
(``load_hparams`` in llama-model.cpp): loading them would abort the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.gguf.header import Header

MAX_EXPERTS = 1024
ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})
REQUIRED = ("block_count", "context_length", "embedding_length")
NO_VOCABULARY = frozenset({"", "no_vocab", "none"})
POOLING_RANK = 4  # enum llama_pooling_type in llama.h; 0 is none, 1 to 3 make embeddings


def refusal(header: Header) -> str:
    """Why the file cannot chat, as a sentence without its subject; empty when it can."""
    kind = detect_kind(header)
    if kind is not ModelKind.CHAT:
        text = N_("is a {kind}, not a model that can chat")
        if kind[0] in "aeiou":
            text = N_("is an {kind}, not a model that can chat")
        return tr(text, kind=tr(kind))
    return next(_problems(header), "")


def _problems(header: Header) -> Iterator[str]:
    architecture = header.architecture
    if not architecture:
        yield tr("does not name its architecture")
        return
    for key in REQUIRED:
        if not header.integer(f"{architecture}.{key}"):
            yield tr("has no usable {architecture}.{key}", architecture=architecture[:40], key=key)
    yield from _bad_counts(header, f"{architecture}.")
    scaling = header.metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ROPE_SCALINGS:
        yield tr("asks for the unknown rope scaling {scaling!r}", scaling=str(scaling)[:40])
    if header.text("tokenizer.ggml.model") in NO_VOCABULARY:
        yield tr("has no tokenizer")
    if not header.count("tokenizer.ggml.tokens"):
        yield tr("has no tokens")


def _bad_counts(header: Header, prefix: str) -> Iterator[str]:
    from tchat.models.gguf.header import MAX_LAYERS  # not needed at start-up

    def count(key: str) -> int:
        return header.integer(prefix + key) or 0

    layers, experts = count("block_count"), count("expert_count")
    if not 0 < layers <= MAX_LAYERS:
        yield tr("claims {layers:,} layers", layers=layers)
    if not 0 <= experts <= MAX_EXPERTS:
        yield tr("claims {experts:,} experts", experts=experts)
    used = count("expert_used_count")
    if 0 < experts < used:
        yield tr("claims to use {used:,} of {experts:,} experts", used=used, experts=experts)
    if count("nextn_predict_layers") > layers:
        yield tr(
            "claims {count:,} prediction layers of {layers:,}",
            count=count("nextn_predict_layers"),
            layers=layers,
        )


class ModelKind(StrEnum):
    """What a GGUF file is, as shown to users."""

    CHAT = N_("language model")
    MMPROJ = N_("multimodal projector (mmproj)")
    IMATRIX = N_("importance matrix (imatrix)")
    LORA = N_("LoRA adapter")
    CONTROL_VECTOR = N_("control vector")
    EMBEDDING = N_("embedding model")
    RERANKER = N_("reranker")
    VOCABULARY = N_("vocabulary without weights")
    DRAFT = N_("draft model for speculative decoding")
    ENCODER_DECODER = N_("encoder-decoder model")
    DIFFUSION = N_("diffusion language model")
    SPEECH = N_("speech model")
    IMAGE = N_("image or video model")


ARCHITECTURES = MappingProxyType(
    {
        ModelKind.MMPROJ: ("clip",),
        ModelKind.CONTROL_VECTOR: ("controlvector",),
        ModelKind.EMBEDDING: (
            *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2"),
            *("jina-bert-v3", "eurobert", "gemma-embedding", "llama-embed", "t5encoder"),
        ),
        ModelKind.ENCODER_DECODER: ("t5",),
        ModelKind.DRAFT: ("eagle3", "dflash", "gemma4-assistant"),
        ModelKind.DIFFUSION: ("dream", "llada", "llada-moe", "rnd1"),
        ModelKind.SPEECH: ("wavtokenizer-dec", "qwen3tts", "pockettts", "whisper"),
        ModelKind.IMAGE: (
            *("sd1", "sdxl", "sd3", "flux", "aura", "lumina2", "hidream", "cosmos", "ltxv"),
            *("hyvid", "wan", "qwen_image"),
        ),
    }
)


def detect_kind(header: Header) -> ModelKind:
    """The kind of a file, by its type, architecture, pooling and tensors."""
    return (
        _by_type(header)
        or next((k for k, names in ARCHITECTURES.items() if header.architecture in names), None)
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


def _by_pooling(header: Header) -> ModelKind | None:
    pooling = header.integer(f"{header.architecture}.pooling_type") or 0
    if pooling == POOLING_RANK:
        return ModelKind.RERANKER
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    return ModelKind.EMBEDDING if pooling > 0 or causal is False else None
