"""A loaded model file: weights, vocabulary and shape.

For faster kernels, llama.cpp repacks weights of some types into memory of its own. It unmaps what
lies before and after the tensors that it still reads from the file, but the repacked ones between
them stay mapped and resident, so the process holds them twice (llama.cpp#16761). The kernel takes
such clean pages back only when memory is short. So they are dropped after loading; what is still
needed comes back from the page cache at the first touch: a tenth of a second for 1 GB.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tchat.engine.binding import Cancel, backend, has_gpu, libc
from tchat.errors import DoesNotFit, ModelInvalid, UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

COPIED_SHARE = 1 / 3  # of what is mapped; the tables of a large vocabulary come to a fifth
_DONTNEED = 4  # of madvise(2)
_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r--s \S+ \S+ [1-9]", re.MULTILINE)
_TAKEN = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


@contextmanager
def drop_copied_pages() -> Iterator[None]:
    """Drop the resident pages of files that the block maps, if it copies their content.

    Whether it does shows in the memory that it takes. A wrong guess, by the work of other threads,
    loses nothing: dropped pages are read again. Locked pages stay; outside Linux, all.
    """
    mapped, taken = _mapped_ranges(), _memory_used()
    yield
    fresh = _mapped_ranges() - mapped
    if _memory_used() - taken > COPIED_SHARE * sum(end - start for start, end in fresh):
        for start, end in fresh:
            libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _mapped_ranges() -> set[tuple[int, int]]:
    """From where to where files are mapped to be read only, by proc_pid_maps(5)."""
    return {(int(start, 16), int(end, 16)) for start, end in _MAPPED.findall(_proc_file("maps"))}


def _memory_used() -> int:
    """Bytes in memory that are of no file, by proc_pid_status(5)."""
    kib = _TAKEN.search(_proc_file("status"))
    return int(kib[1]) << 10 if kib else 0


def _proc_file(name: str) -> str:
    try:
        return Path("/proc/self", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_UNKNOWN, _CONTROL, _USER_DEFINED = 1 << 0, 1 << 3, 1 << 4  # enum llama_token_attr
_ALL_LAYERS = 10_000
_LONGEST_WORD = 1_000_000  # characters
_MOST_TOKENS = (1 << 31) - 1  # INT32_MIN instead of a count means: more than an int32 holds
_LONGEST_PIECE = 1 << 20  # bytes
_LOAD_MODES = MappingProxyType(  # enum llama_load_mode by (mmap, mlock); -1 maps where it is good
    {(True, False): -1, (False, False): 0, (False, True): 2, (True, True): 3}
)


class Model:
    """Weights and vocabulary of one GGUF file (``llama_model``, ``llama_vocab``).

    Not thread-safe; close it after every context made from it.

    Args:
        path: The file, or the first part of a split one. Verify it before: a hostile file can crash
            the process.
        gpu_layers: Layers on the GPU, -1 for all; ignored by a build without GPU support.
        tensor_split: Share of the model for each GPU; empty for shares by free memory.
        mmap: Map the file into memory instead of reading it.
        mlock: Lock the weights in memory.
        shape: Load the vocabulary only; the weights, of this shape, are in another process.
        cancel: Stops the loading.

    Attributes:
        handle: ``llama_model *``.
        vocab: ``const llama_vocab *``.
        piece: The bytes of a token, control tokens written out; not always whole characters.
        is_control: Whether a token is a control token, which is no text.
        ends_reply: Whether a token ends a reply (EOS, EOT, end of message).

    Raises:
        ModelInvalid: llama.cpp refuses the file; the message carries its reason.
        InterruptedError: ``cancel`` was set while loading.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int = -1,
        tensor_split: Sequence[float] = (),
        mmap: bool = True,
        mlock: bool = False,
        shape: ModelShape | None = None,
        cancel: Cancel,
    ) -> None:
        self.path = path
        self._lib = backend().lib
        self._shape = shape
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = (_ALL_LAYERS if gpu_layers < 0 else gpu_layers) if has_gpu() else 0
        params.vocab_only = shape is not None
        params.load_mode = _LOAD_MODES[mmap, mlock]
        params.tensor_split = _split_shares(tensor_split, self._lib.llama_max_devices())
        progress = cancel.progress_callback(self._lib.llama_progress_callback)
        params.progress_callback = progress
        params.progress_callback_user_data = cancel.continue_address
        # Built by GCC 12, llama.cpp's AMX kernels load a tile configuration that was never written
        # and end the process (llama.cpp#20824); the library does not say what built it.
        params.use_extra_bufts = b"AMX_INT8 = 1" not in self._lib.llama_print_system_info()
        with drop_copied_pages():
            self.handle = backend().make_quietly(
                lambda: self._lib.llama_model_load_from_file(_path_bytes(path), params), cancel
            )
        if not self.handle:
            if cancel.is_set():
                raise InterruptedError
            raise ModelInvalid(
                tr(
                    "llama.cpp cannot load {name}: {reason}",
                    name=single_line(path.name),
                    reason=backend().log.reason(),
                ),
                tr("see `tchat doctor` for the version in use, or choose another file"),
            )
        self.vocab = self._lib.llama_model_get_vocab(self.handle)
        if not self.vocab:
            self.close()
            raise ModelInvalid(
                tr("{name} has no vocabulary", name=single_line(path.name)),
                tr("choose another file"),
            )
        # Cached: a call into llama.cpp costs more than a look-up.
        lib, vocab = self._lib, self.vocab
        self.piece: Callable[[int], bytes] = cache(self._piece)
        self.is_control: Callable[[int], bool] = cache(partial(lib.llama_vocab_is_control, vocab))
        self.ends_reply: Callable[[int], bool] = cache(partial(lib.llama_vocab_is_eog, vocab))

    def close(self) -> None:
        """Free the weights. Closing twice is harmless."""
        if self.handle:
            self._lib.llama_model_free(self.handle)
            self.handle = None

    @cached_property
    def shape(self) -> ModelShape:
        """Sizes and kind of the model."""
        if self._shape is not None:
            return self._shape
        lib, handle = self._lib, self.handle
        return ModelShape(
            n_vocab=lib.llama_vocab_n_tokens(self.vocab),
            n_ctx_train=lib.llama_model_n_ctx_train(handle),
            n_layer=lib.llama_model_n_layer(handle),
            n_embd=lib.llama_model_n_embd(handle),
            n_swa=lib.llama_model_n_swa(handle),
            recurrent=lib.llama_model_is_recurrent(handle) or lib.llama_model_is_hybrid(handle),
        )

    # The vocabulary

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of ``text``, without the BOS and EOS that a vocabulary may add.

        Lone surrogates become U+FFFD. With ``special``, control tokens written out become such.

        Raises:
            DoesNotFit: A run of a million characters or of blanks would overflow the stack, or
                there are more tokens than llama.cpp counts.
        """
        _refuse_endless_words(text)
        data = text.encode("utf-8", "replace")
        size = len(data) + 16
        while True:
            tokens = (ctypes.c_int32 * size)()
            count = self._lib.llama_tokenize(
                self.vocab, data, len(data), tokens, size, False, special
            )
            if count >= 0:
                return tokens[:count]
            if not size < -count <= _MOST_TOKENS:
                raise DoesNotFit(
                    tr("llama.cpp cannot tokenize a text of {text:,} characters", text=len(text)),
                    tr("try again, or send less of it"),
                )
            size = -count

    def _piece(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._lib.llama_token_to_piece(self.vocab, token, buffer, size, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            if not size < -length <= _LONGEST_PIECE:
                raise ModelInvalid(
                    tr("llama.cpp has no text of the token {token}", token=token),
                    tr("try again; if it persists, the model file may be damaged"),
                )
            size = -length

    def tokens_of(self, data: bytes) -> list[int]:
        """Tokens for exactly ``data``, which is no UTF-8; empty when there are none."""
        tokens: list[int] = []
        while data:
            sizes = range(min(len(data), self._longest_fragment), 0, -1)
            size = next((size for size in sizes if data[:size] in self._fragments), 0)
            if not size:
                return []
            tokens.append(self._fragments[data[:size]])
            data = data[size:]
        return tokens

    @cached_property
    def _fragments(self) -> dict[bytes, int]:
        """Tokens whose text begins or ends inside a character."""
        found: dict[bytes, int] = {}
        for token in range(self.shape.n_vocab):
            piece = self.piece(token)
            try:
                piece.decode()
            except UnicodeDecodeError:
                if not self.is_control(token):
                    found.setdefault(piece, token)
        return found

    @cached_property
    def _longest_fragment(self) -> int:
        return max(map(len, self._fragments), default=0)

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """All tokens that end a reply."""
        return tuple(filter(self.ends_reply, range(self.shape.n_vocab)))

    @cached_property
    def suppressed(self) -> tuple[int, ...]:
        """Tokens that must never be drawn (``tokenizer.ggml.suppress_tokens``)."""
        # The binding does not declare this function yet.
        read = getattr(self._lib._lib, "llama_vocab_get_suppress_tokens", None)
        if read is None:
            return ()
        read.restype, count = ctypes.POINTER(ctypes.c_int32), ctypes.c_int32()
        tokens = read(ctypes.c_void_p(self.vocab), ctypes.byref(count))
        return tuple(tokens[: count.value]) if count.value else ()

    def special_strings(self) -> frozenset[str]:
        """Texts that tokenize to control tokens when special tokens are parsed."""
        return self._strings[0]

    def user_defined_strings(self) -> frozenset[str]:
        """Texts that become one token in any text, special tokens parsed or not."""
        return self._strings[1]

    @cached_property
    def _strings(self) -> tuple[frozenset[str], frozenset[str]]:
        # Without declared types: 7 ms for 50,000 tokens instead of 14.
        attribute = self._lib._lib["llama_vocab_get_attr"]
        kinds = map(attribute, repeat(ctypes.c_void_p(self.vocab)), range(self.shape.n_vocab))
        texts: tuple[set[str], set[str]] = (set(), set())
        for token, kind in enumerate(kinds):
            if kind & (_CONTROL | _UNKNOWN | _USER_DEFINED):
                text = self._lib.llama_vocab_get_text(self.vocab, token)
                texts[bool(kind & _USER_DEFINED)].add(text.decode("utf-8", "replace"))
        return frozenset(texts[0] - {""}), frozenset(texts[1] - {""})

    @cached_property
    def bos_text(self) -> str:
        """Text of the BOS token; empty when there is none."""
        return self._text(self._lib.llama_vocab_bos(self.vocab))

    @cached_property
    def eos_text(self) -> str:
        """Text of the EOS token; empty when there is none."""
        return self._text(self._lib.llama_vocab_eos(self.vocab))

    @cached_property
    def adds_bos(self) -> bool:
        """Whether prompts begin with the BOS token."""
        return bool(self._lib.llama_vocab_get_add_bos(self.vocab))

    def _text(self, token: int) -> str:
        return self.piece(token).decode("utf-8", "replace") if token >= 0 else ""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model.

    Args:
        n_vocab: Tokens in the vocabulary.
        n_ctx_train: Context length of its training, in tokens.
        n_layer: Layers.
        n_embd: Length of a hidden state.
        n_swa: Sliding attention window in tokens; 0 when it has none.
        recurrent: Whether any layer has a recurrent state.
    """

    n_vocab: int
    n_ctx_train: int
    n_layer: int
    n_embd: int
    n_swa: int
    recurrent: bool

    @property
    def divisible(self) -> bool:
        """Whether each token has its own part of the state, which never changes."""
        return not self.n_swa and not self.recurrent


def _refuse_endless_words(text: str) -> None:
    """llama.cpp's tokenizers recurse for each character of a word; see `STACK_SIZES`."""
    if len(text) <= _LONGEST_WORD:
        return
    longest = max(match.end() - match.start() for match in re.finditer(r"\s+|\S+", text))
    if longest > _LONGEST_WORD:
        raise DoesNotFit(
            tr(
                "the text has a word of {longest:,} characters, more than a tokenizer can take",
                longest=longest,
            ),
            tr("break it into lines"),
        )


def _split_shares(shares: Sequence[float], devices: int) -> Any:
    """``float *`` with a share for each device; None for shares by free memory."""
    if not shares:
        return None
    if len(shares) > devices:
        raise UsageError(
            tr(
                "tensor_split names {shares} shares, this build knows {devices} devices",
                shares=len(shares),
                devices=devices,
            ),
            tr("name one share for each GPU, like 3,1"),
        )
    return (ctypes.c_float * devices)(*shares)


def _path_bytes(path: Path) -> bytes:
    """The path as llama.cpp opens it: UTF-8 on Windows, the file system's bytes elsewhere."""
    import os

    return os.fsencode(path)
