"""The header reader: what it says of sound files, and of bad and hostile ones."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import pytest

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.models.gguf.compatibility import refusal
from tchat.models.gguf.header import Array
from tchat.models.gguf.header_parser import read_header
from tests.models.gguf_builder import F32, I32, array, but, gguf, large_vocabulary
from tests.models.hostile import DAMAGED, HARMLESS, NOT_GGUF, UNFIT
from tests.tiny import CHATML, write_tiny


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


def test_reads_the_facts_of_a_transformer(tiny_model: Path) -> None:
    header = read_header(tiny_model)
    assert header.architecture == "llama"
    assert header.name == "Tiny llama"
    assert header.quantization == "F16"
    assert header.context_length == 4096
    assert header.chat_template == CHATML
    assert header.file_size == tiny_model.stat().st_size
    embedding = header.tensors[0]
    assert (embedding.name, embedding.type, embedding.shape[0]) == ("token_embd.weight", "F16", 64)
    assert embedding.size == 2 * embedding.elements
    assert header.parameters == sum(tensor.elements for tensor in header.tensors)
    assert not refusal(header)


def test_reads_the_facts_of_the_starter_model(starter_model: Path) -> None:
    header = read_header(starter_model)
    assert header.quantization == "Q4_1"
    assert header.parameters == 134_515_008
    assert header.context_length == 8192
    assert not refusal(header)


@pytest.mark.parametrize("dtype", ["F32", "F16", "Q8_0"])
def test_tells_the_quantization(tmp_path: Path, dtype: str) -> None:
    path = write_tiny(tmp_path / "m.gguf", dtype=dtype)
    assert read_header(path).quantization == dtype


def test_guesses_the_quantization_from_the_tensors(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", dtype="Q8_0", metadata={"general.file_type": None})
    assert read_header(path).quantization == "Q8_0"


def test_a_template_that_is_missing_is_empty(tmp_path: Path) -> None:
    assert read_header(write_tiny(tmp_path / "m.gguf", template=None)).chat_template == ""


def test_values_that_are_no_utf_8_are_replaced(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, HARMLESS["name-not-utf-8"]))
    assert header.name == "caf\ufffd"


def test_keeps_short_arrays_and_only_counts_long_ones(tmp_path: Path) -> None:
    keys = but(array("short", I32, [1, 2, 3]), array("long", F32, [0.0] * 600))
    header = read_header(written(tmp_path, gguf(keys)))
    short, long = header.metadata["short"], header.metadata["long"]
    assert isinstance(short, Array)
    assert isinstance(long, Array)
    assert short.items == (1, 2, 3)
    assert (long.count, long.items) == (600, ())


def test_a_vocabulary_is_passed_and_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, large_vocabulary(1000))
    header = read_header(path)
    merges = header.metadata["tokenizer.ggml.merges"]
    assert isinstance(merges, Array)
    assert merges.count == 1000
    assert header.tensors[-1].name == "output.weight"


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_accepts_what_is_harmless(tmp_path: Path, content: bytes) -> None:
    header = read_header(written(tmp_path, content))
    assert len(header.tensors) == 2
    assert not refusal(header)


@pytest.mark.parametrize(("content", "words"), NOT_GGUF.values(), ids=NOT_GGUF)
def test_says_what_a_foreign_file_looks_like(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ModelInvalid) as caught:
        read_header(written(tmp_path, content))
    assert caught.value.message.startswith("model.gguf is not a GGUF file: it is ")
    assert words in caught.value.message


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_refuses_a_damaged_file(tmp_path: Path, content: bytes, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ModelInvalid) as caught:
        read_header(path)
    assert words in caught.value.message
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("content", "words"), UNFIT.values(), ids=UNFIT)
def test_knows_what_cannot_chat(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(read_header(written(tmp_path, content)))


def test_names_with_line_breaks_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelInvalid) as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"there is no file nothing\.gguf"):
        read_header(tmp_path / "nothing.gguf")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, gguf())
    real = os.fstat

    def longer(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[6] += 1 << 20
        return os.stat_result(status)

    path.write_bytes(gguf()[:200])
    monkeypatch.setattr(os, "fstat", longer)
    with pytest.raises(ModelInvalid, match="became shorter"):
        read_header(path)


def mutated(original: bytes, header: int, draw: random.Random) -> bytes:
    """A copy with a few random changes, most of them in the header."""
    content = bytearray(original)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(header)
        match draw.randrange(6):
            case 0:
                content[at] = draw.randrange(256)
            case 1:
                content[at] ^= 1 << draw.randrange(8)
            case 2:
                big = draw.choice((0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
                content[at : at + 8] = struct.pack("<Q", big)
            case 3:
                del content[at : at + draw.randrange(1, 64)]
            case 4:
                content[at:at] = draw.randbytes(draw.randrange(1, 64))
            case 5:
                del content[draw.randrange(len(content)) :]
        header = min(header, len(content) - 1)
        if header < 1:
            break
    return bytes(content)


def survive(path: Path, rounds: int) -> None:
    """Read mutations of ``path``'s content: each is a header or a `ModelInvalid`."""
    draw = random.Random(4)
    original, header = path.read_bytes(), read_header(path).data_offset
    read = 0
    for _ in range(rounds):
        path.write_bytes(mutated(original, header, draw))
        with contextlib.suppress(ModelInvalid):
            refusal(read_header(path))
            read += 1
    assert 0 < read < rounds


def test_survives_random_mutations(tmp_path: Path) -> None:
    survive(write_tiny(tmp_path / "model.gguf"), 300)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_survives_ten_thousand_random_mutations(tmp_path: Path) -> None:
    survive(write_tiny(tmp_path / "model.gguf"), 10_000)
