"""Why a file with a sound header cannot chat: its kind, or values that llama.cpp aborts on.

The values are those that llama.cpp checks by an assertion instead of an error
(``load_hparams`` in llama-model.cpp): the process would be gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from tchat.models.gguf.header import Array, Header
from tchat.models.gguf.model_kind import ModelKind, detect_kind

MAX_LAYERS = 512
MAX_EXPERTS = 1024
ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})
REQUIRED = ("block_count", "context_length", "embedding_length")
NO_VOCABULARY = frozenset({"", "no_vocab", "none"})


def refusal(header: Header) -> str:
    """Why this file cannot chat, to be read after "it" or the file's name; empty when it can."""
    kind = detect_kind(header)
    if kind is not ModelKind.CHAT:
        article = "an" if kind[0] in "aeiou" else "a"
        return f"is {article} {kind}, not a model that can chat"
    return next(_problems(header), "")


def _problems(header: Header) -> Iterator[str]:
    architecture = header.architecture
    if not architecture:
        yield "does not name its architecture"
        return
    for key in REQUIRED:
        if not header.integer(f"{architecture}.{key}"):
            yield f"has no usable {architecture[:40]}.{key}"
    yield from _bad_counts(header, f"{architecture}.")
    scaling = header.metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ROPE_SCALINGS:
        yield f"asks for the unknown rope scaling {str(scaling)[:40]!r}"
    if header.text("tokenizer.ggml.model") in NO_VOCABULARY:
        yield "has no tokenizer"
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Array) or tokens.count == 0:
        yield "has no tokens"


def _bad_counts(header: Header, prefix: str) -> Iterator[str]:
    def count(key: str) -> int:
        return header.integer(prefix + key) or 0

    layers, experts = count("block_count"), count("expert_count")
    if not 0 < layers <= MAX_LAYERS:
        yield f"claims {layers:,} layers"
    if not 0 <= experts <= MAX_EXPERTS:
        yield f"claims {experts:,} experts"
    used = count("expert_used_count")
    if 0 < experts < used:
        yield f"claims to use {used:,} of {experts:,} experts"
    if count("nextn_predict_layers") > layers:
        yield f"claims {count('nextn_predict_layers'):,} prediction layers of {layers:,}"
