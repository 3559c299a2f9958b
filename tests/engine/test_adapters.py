"""LoRA adapters and control vectors change the reply; bad ones are errors, not crashes."""

from __future__ import annotations

from array import array
from pathlib import Path

import gguf
import numpy as np
import pytest

from tchat.engine.loading import ControlVector, Lora
from tchat.engine.prompt import ChatMessage
from tchat.errors import ModelInvalid
from tchat.models.gguf.control_vector import read_control_vector
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, finished
from tests.tiny import N_EMBD

HELLO = [ChatMessage("user", "Hello")]
GREEDY = Sampling(temp=0, max_tokens=24)


def write_lora(path: Path, width: int) -> Path:
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(2):
        name = f"blk.{layer}.attn_q.weight"
        writer.add_tensor(f"{name}.lora_a", rng.normal(size=(4, width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", rng.normal(size=(width, 4)).astype(np.float32))
    write(writer)
    return path


def write_control_vector(path: Path, width: int, layers: int = 1) -> Path:
    rng = np.random.default_rng(2)
    writer = gguf.GGUFWriter(path, "controlvector")
    for layer in range(1, layers + 1):
        writer.add_tensor(f"direction.{layer}", rng.normal(size=width).astype(np.float32))
    write(writer)
    return path


def write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_lora_changes_the_reply_by_its_scale(
    open_engine: OpenEngine, tiny_model: Path, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "lora.gguf", N_EMBD)
    texts = [
        finished(open_engine(tiny_model, loras=loras).generate(HELLO, GREEDY)).text
        for loras in ((), (Lora(path, 0.0),), (Lora(path),), (Lora(path, -1.0),))
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[1:])) == 3


def test_a_lora_stays_in_force_and_is_loaded_once_when_the_model_is_steered(
    open_engine: OpenEngine, tiny_model: Path, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "lora.gguf", N_EMBD)
    engine = open_engine(tiny_model, loras=(Lora(path),), ctx_size=4096)
    before = finished(engine.generate(HELLO, GREEDY)).text
    path.unlink()
    vector = ControlVector(Path("v"), N_EMBD, {1: array("f", [9.0] * N_EMBD)})
    with engine.steered((vector,)):
        assert finished(engine.generate(HELLO, GREEDY)).text != before
    long = [ChatMessage("user", "word " * 1200)]
    list(engine.generate(long, Sampling(max_tokens=1)))  # the context is made anew for it
    assert finished(engine.generate(HELLO, GREEDY)).text == before


def test_a_lora_of_another_shape_is_refused(
    open_engine: OpenEngine, tiny_model: Path, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "lora.gguf", N_EMBD * 2)
    with pytest.raises(ModelInvalid, match=r"lora\.gguf does not fit this model"):
        list(open_engine(tiny_model, loras=(Lora(path),)).load())


def test_a_control_vector_changes_the_reply_by_its_scale(
    open_engine: OpenEngine, tiny_model: Path, tmp_path: Path
) -> None:
    path = write_control_vector(tmp_path / "cv.gguf", N_EMBD)
    width, directions = read_control_vector(path)
    texts = [
        finished(
            open_engine(
                tiny_model, control=(ControlVector(path, width, directions, scale),)
            ).generate(HELLO, GREEDY)
        ).text
        for scale in (0.0, 3.0, -3.0)
    ]
    assert texts[0] == finished(open_engine(tiny_model).generate(HELLO, GREEDY)).text
    assert len(set(texts)) == 3


def test_control_vectors_add_up(open_engine: OpenEngine, tiny_model: Path, tmp_path: Path) -> None:
    path = write_control_vector(tmp_path / "cv.gguf", N_EMBD)
    width, directions = read_control_vector(path)
    opposite = tuple(ControlVector(path, width, directions, scale) for scale in (2.0, -2.0))
    text = finished(open_engine(tiny_model, control=opposite).generate(HELLO, GREEDY)).text
    assert text == finished(open_engine(tiny_model).generate(HELLO, GREEDY)).text


def test_a_control_vector_of_another_width_is_refused(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    vector = ControlVector(Path("cv.gguf"), 8, {1: array("f", [1.0] * 8)})
    with pytest.raises(ModelInvalid, match=r"cv\.gguf is 8 wide"):
        list(open_engine(tiny_model, control=(vector,)).load())


def test_a_model_is_no_control_vector(tiny_model: Path) -> None:
    with pytest.raises(ModelInvalid, match="holds no control vector"):
        read_control_vector(tiny_model)
