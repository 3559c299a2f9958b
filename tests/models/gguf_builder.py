"""GGUF files put together byte by byte, so that any byte can be wrong."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
LAYOUTS = {U8: "<B", U16: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", F64: "<d"}


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, content: object) -> bytes:
    if kind == STRING:
        assert isinstance(content, str | bytes)
        return string(content)
    return struct.pack(LAYOUTS[kind], content)


def key(name: str | bytes, kind: int, content: object) -> bytes:
    return string(name) + struct.pack("<I", kind) + value(kind, content)


def array(name: str, kind: int, items: Sequence[object], count: int | None = None) -> bytes:
    claimed = len(items) if count is None else count
    head = string(name) + struct.pack("<IIQ", ARRAY, kind, claimed)
    return head + b"".join(value(kind, item) for item in items)


def tensor(
    name: str | bytes, shape: Sequence[int], kind: int = 0, offset: int = 0, dims: int | None = None
) -> bytes:
    count = len(shape) if dims is None else dims
    return (
        string(name)
        + struct.pack("<I", count)
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


SOUND_KEYS = (
    key("general.architecture", STRING, "llama"),
    key("general.name", STRING, "Forged"),
    key("general.file_type", U32, 0),
    key("llama.block_count", U32, 1),
    key("llama.context_length", U32, 512),
    key("llama.embedding_length", U32, 8),
    key("tokenizer.ggml.model", STRING, "gpt2"),
    array("tokenizer.ggml.tokens", STRING, ["a", "b"]),
)
SOUND_TENSORS = (tensor("token_embd.weight", (8, 4)), tensor("output.weight", (8, 2), 0, 128))


def gguf(
    keys: Sequence[bytes] = SOUND_KEYS,
    tensors: Sequence[bytes] = SOUND_TENSORS,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    alignment: int = 32,
    data: int = 192,
) -> bytes:
    """A whole file; ``data`` bytes follow the padded header."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


def but(*changed: bytes) -> tuple[bytes, ...]:
    """The sound keys, with these in place of those of the same name, or added."""
    names = {name_of(each) for each in changed}
    return (*(each for each in SOUND_KEYS if name_of(each) not in names), *changed)


def without(*names: str) -> tuple[bytes, ...]:
    """The sound keys without those named."""
    return tuple(each for each in SOUND_KEYS if name_of(each).decode() not in names)


def name_of(raw: bytes) -> bytes:
    return raw[8 : 8 + struct.unpack_from("<Q", raw)[0]]


def large_vocabulary(count: int) -> bytes:
    """A model file with ``count`` tokens of random bytes, as many merges and scores."""
    words = random.Random(0)
    tokens = [words.randbytes(words.randrange(1, 15)) for _ in range(count)]
    return gguf(
        but(
            array("tokenizer.ggml.tokens", STRING, tokens),
            array("tokenizer.ggml.merges", STRING, tokens),
            array("tokenizer.ggml.scores", F32, [0.0] * len(tokens)),
        )
    )
