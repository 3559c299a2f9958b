"""Tiny chat models with random weights, written in milliseconds: real files for llama.cpp to load.

``write_tiny(path)`` writes a two-layer Transformer of about 0.4 MB with a byte-level BPE of 731
tokens and a ChatML template. Every part that tests vary is a parameter; the same parameters
write the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
THINKING = (
    CHATML + "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
BROKEN = "{% for message in messages %}{{ message['content'] }}"  # no endfor

N_EMBD, N_FF, N_HEAD, N_HEAD_KV, N_LAYER = 64, 128, 4, 2, 2
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
REASONING = ("<think>", "</think>")
TEXT = (
    "the be to of and in that have it for not on with he as you do at this but his by from they"
    " we say her she or an will my one all would there their what so up out if about who get"
    " which go me when make can like time no just him know take people into year your good some"
    " could them see other than then now look only come its over think also back after use two how"
    " our work first well way even new want because any these give day most us why is sky blue"
    " assistant user system Hello"
)

Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens with their ``tokenizer.ggml.*`` keys."""

    tokens: tuple[str, ...]
    metadata: dict[str, Any]


def write_tiny(
    path: Path,
    *,
    arch: str = "llama",
    vocab: str = "bpe",
    template: str | bytes | None = CHATML,
    context: int = 4096,
    dtype: str = "F16",
    seed: int = 0,
    metadata: Metadata | None = None,
    user_defined: Sequence[str] = (),
) -> Path:
    """Write one tiny model to ``path`` and return it.

    Args:
        path: Where to; overwritten.
        arch: ``llama`` (trims freely), ``gemma3`` (sliding window of 32), ``mamba`` (recurrent).
        vocab: ``bpe`` (GPT-2 style, no BOS) or ``spm`` (SentencePiece with byte tokens, BOS, space
            prefix).
        template: Chat template; None leaves the key out.
        context: Training length in tokens.
        dtype: Type of the matrices: ``F32``, ``F16`` or ``Q8_0``.
        seed: Of the random weights.
        metadata: More keys, or other values for the keys written anyway; None removes a key.
        user_defined: More tokens that are found in any text, as some files store their marks.
    """
    words = {"bpe": bpe_vocabulary, "spm": spm_vocabulary}[vocab](user_defined)
    keys: dict[str, Any] = {
        "general.name": f"Tiny {arch}",
        "general.file_type": int(gguf.LlamaFileType[FILE_TYPES[dtype]]),
        **shape_metadata(arch, context, len(words.tokens)),
        **words.metadata,
        "tokenizer.chat_template": template,
        **(metadata or {}),
    }
    writer = gguf.GGUFWriter(path, arch)
    for key, value in keys.items():
        if value is not None:
            add_value(writer, key, value)
    for name, tensor in tensors(arch, len(words.tokens), np.random.default_rng(seed)):
        add_tensor(writer, name, tensor, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


FILE_TYPES = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}


def shape_metadata(arch: str, context: int, n_vocab: int) -> dict[str, Any]:
    """The ``<arch>.*`` keys that llama.cpp wants."""
    keys: dict[str, Any] = {
        "block_count": N_LAYER,
        "context_length": context,
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": n_vocab,
    }
    if arch == "gemma3":
        keys |= {"attention.sliding_window": 32}
        keys |= {"attention.key_length": 16, "attention.value_length": 16}
    if arch == "mamba":
        keys |= {"feed_forward_length": 0, "attention.head_count": 0, "attention.head_count_kv": 0}
        keys |= {"ssm.conv_kernel": 4, "ssm.inner_size": 2 * N_EMBD}
        keys |= {"ssm.state_size": 16, "ssm.time_step_rank": 4}
    return {f"{arch}.{key}": value for key, value in keys.items()}


def tensors(
    arch: str, n_vocab: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and weights. Scaled so that logits have a standard deviation of about 2."""

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return random.normal(0.0, gain / np.sqrt(columns), (rows, columns)).astype(np.float32)

    yield "token_embd.weight", matrix(n_vocab, N_EMBD, 8.0)
    yield "output_norm.weight", np.ones(N_EMBD, np.float32)
    yield "output.weight", matrix(n_vocab, N_EMBD, 2.0)
    block = mamba_block if arch == "mamba" else transformer_block
    for layer in range(N_LAYER):
        for name, tensor in block(arch, matrix):
            yield f"blk.{layer}.{name}", tensor


def transformer_block(arch: str, matrix: Any) -> Iterator[tuple[str, np.ndarray]]:
    """One attention and one feed-forward layer."""
    head = N_EMBD // N_HEAD
    yield "attn_norm.weight", np.ones(N_EMBD, np.float32)
    yield "attn_q.weight", matrix(N_EMBD, N_EMBD, 2.0)
    yield "attn_k.weight", matrix(head * N_HEAD_KV, N_EMBD, 2.0)
    yield "attn_v.weight", matrix(head * N_HEAD_KV, N_EMBD, 2.0)
    yield "attn_output.weight", matrix(N_EMBD, N_EMBD, 2.0)
    yield "ffn_norm.weight", np.ones(N_EMBD, np.float32)
    yield "ffn_gate.weight", matrix(N_FF, N_EMBD, 2.0)
    yield "ffn_up.weight", matrix(N_FF, N_EMBD, 2.0)
    yield "ffn_down.weight", matrix(N_EMBD, N_FF, 2.0)
    if arch == "gemma3":
        yield "attn_q_norm.weight", np.ones(head, np.float32)
        yield "attn_k_norm.weight", np.ones(head, np.float32)
        yield "post_attention_norm.weight", np.full(N_EMBD, 8.0, np.float32)
        yield "post_ffw_norm.weight", np.full(N_EMBD, 8.0, np.float32)


def mamba_block(arch: str, matrix: Any) -> Iterator[tuple[str, np.ndarray]]:
    """One selective state space layer."""
    inner, state, rank, kernel = 2 * N_EMBD, 16, 4, 4
    yield "attn_norm.weight", np.ones(N_EMBD, np.float32)
    yield "ssm_in.weight", matrix(2 * inner, N_EMBD, 2.0)
    yield "ssm_conv1d.weight", matrix(inner, kernel, 2.0)
    yield "ssm_conv1d.bias", np.zeros(inner, np.float32)
    yield "ssm_x.weight", matrix(rank + 2 * state, inner)
    yield "ssm_dt.weight", matrix(inner, rank)
    yield "ssm_dt.bias", np.full(inner, -2.0, np.float32)
    decay = np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))
    yield "ssm_a", -decay
    yield "ssm_d", np.ones(inner, np.float32)
    yield "ssm_out.weight", matrix(N_EMBD, inner, 4.0)


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Add one key with the GGUF type that its Python type stands for."""
    kinds = gguf.GGUFValueType
    scalars = {bool: kinds.BOOL, int: kinds.UINT32, float: kinds.FLOAT32}
    if isinstance(value, str | bytes):
        writer.add_key_value(key, value, kinds.STRING)
    elif isinstance(value, Sequence):
        kind = {str: kinds.STRING, int: kinds.INT32, float: kinds.FLOAT32}[type(value[0])]
        writer.add_key_value(key, list(value), kinds.ARRAY, sub_type=kind)
    else:
        writer.add_key_value(key, value, scalars[type(value)])


def add_tensor(writer: gguf.GGUFWriter, name: str, tensor: np.ndarray, dtype: str) -> None:
    """Add one tensor; vectors and state space parameters stay F32, as llama.cpp wants them."""
    keeps_f32 = tensor.ndim == 1 or "ssm_conv1d" in name or name.endswith(("ssm_a", "ssm_d"))
    narrow = tensor.shape[-1] % 32 != 0
    kind = "F32" if keeps_f32 else "F16" if narrow and dtype == "Q8_0" else dtype
    quantization = gguf.GGMLQuantizationType[kind]
    data = gguf.quants.quantize(tensor, quantization)
    writer.add_tensor(name, data, raw_dtype=quantization)


def byte_alphabet() -> list[str]:
    """The printable character that GPT-2 gives to each byte, by byte value."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        characters.setdefault(byte, chr(256 + len(characters) - len(printable)))
    return [characters[byte] for byte in range(256)]


def bpe_vocabulary(more: Sequence[str] = ()) -> Vocabulary:
    """All bytes, some English words, runs of 2..64 spaces and dashes, and the special tokens."""
    alphabet = byte_alphabet()
    space = alphabet[32]
    merges: dict[str, tuple[str, str]] = {}
    for run in (space, "-"):
        for length in (1, 2, 4, 8, 16, 32):
            merges.setdefault(run * 2 * length, (run * length, run * length))
    for word in TEXT.split():
        for form in (word, space + word):
            for end in range(2, len(form) + 1):
                merges.setdefault(form[:end], (form[: end - 1], form[end - 1]))
    marks = (*REASONING, *more)
    tokens = (*SPECIALS, *alphabet, *merges, *marks)
    control, normal, user = (
        gguf.TokenType.CONTROL,
        gguf.TokenType.NORMAL,
        gguf.TokenType.USER_DEFINED,
    )
    types = [control] * len(SPECIALS) + [normal] * (256 + len(merges)) + [user] * len(marks)
    return Vocabulary(
        tokens,
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [int(kind) for kind in types],
            "tokenizer.ggml.merges": [f"{left} {right}" for left, right in merges.values()],
            "tokenizer.ggml.bos_token_id": 0,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.padding_token_id": 0,
            "tokenizer.ggml.add_bos_token": False,
        },
    )


def spm_vocabulary(more: Sequence[str] = ()) -> Vocabulary:
    """SentencePiece as in Llama 2: ``<s>``, byte tokens, ASCII, words behind a space mark."""
    control = ("<s>", "</s>", *SPECIALS[1:])
    byte_tokens = tuple(f"<0x{byte:02X}>" for byte in range(256))
    pieces = ["▁", *map(chr, range(33, 127))]
    for word in TEXT.split():
        pieces += [("▁" + word)[:end] for end in range(2, len(word) + 2)]
    pieces = list(dict.fromkeys(pieces))
    kind = gguf.TokenType
    types = [kind.UNKNOWN] + [kind.CONTROL] * len(control) + [kind.BYTE] * 256
    marks = (*REASONING, *more)
    types += [kind.NORMAL] * len(pieces) + [kind.USER_DEFINED] * len(marks)
    tokens = ("<unk>", *control, *byte_tokens, *pieces, *marks)
    return Vocabulary(
        tokens,
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.scores": [float(-index) for index in range(len(tokens))],
            "tokenizer.ggml.token_type": [int(kind) for kind in types],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_space_prefix": True,
        },
    )
