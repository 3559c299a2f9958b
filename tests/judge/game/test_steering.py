"""The control vector's file, read by llama.cpp; the direction, where the best one is known."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy
import pytest

from tchat.judge.features import Features
from tchat.judge.game.steering import GameReply, Steering, control_directions, write_control_vector

F32 = 0  # GGML_TYPE_F32, the only type that llama.cpp's loader of control vectors takes


class InitParams(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p))]


@pytest.fixture
def ggml() -> ctypes.CDLL:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or ()))) / "lib"
    path = next(each for each in sorted(folder.iterdir()) if "ggml-base" in each.name)
    lib = ctypes.CDLL(str(path))
    lib.gguf_init_from_file.restype = ctypes.c_void_p
    lib.gguf_init_from_file.argtypes = [ctypes.c_char_p, InitParams]
    lib.gguf_get_n_tensors.restype = ctypes.c_int64
    lib.gguf_get_n_tensors.argtypes = [ctypes.c_void_p]
    lib.gguf_get_tensor_name.restype = ctypes.c_char_p
    lib.gguf_get_tensor_name.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    lib.gguf_get_tensor_type.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    lib.gguf_find_key.restype = ctypes.c_int64
    lib.gguf_find_key.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.gguf_get_val_str.restype = ctypes.c_char_p
    lib.gguf_get_val_str.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    lib.ggml_get_tensor.restype = ctypes.c_void_p
    lib.ggml_get_tensor.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.ggml_get_data.restype = ctypes.c_void_p
    lib.ggml_get_data.argtypes = [ctypes.c_void_p]
    lib.ggml_nelements.restype = ctypes.c_int64
    lib.ggml_nelements.argtypes = [ctypes.c_void_p]
    lib.gguf_free.argtypes = lib.ggml_free.argtypes = [ctypes.c_void_p]
    return lib


def read_by_llama(lib: ctypes.CDLL, path: Path) -> tuple[str, dict[str, Any]]:
    """What llama.cpp's ``common_control_vector_load`` looks at: the hint and each direction."""
    held = ctypes.c_void_p()
    params = InitParams(False, ctypes.pointer(held))
    file = lib.gguf_init_from_file(os.fsencode(path), params)
    assert file
    found = {}
    for index in range(lib.gguf_get_n_tensors(file)):
        name = lib.gguf_get_tensor_name(file, index)
        assert lib.gguf_get_tensor_type(file, index) == F32
        tensor = lib.ggml_get_tensor(held, name)
        data = ctypes.cast(lib.ggml_get_data(tensor), ctypes.POINTER(ctypes.c_float))
        shape = (lib.ggml_nelements(tensor),)
        found[name.decode()] = numpy.ctypeslib.as_array(data, shape=shape).copy()
    key = lib.gguf_find_key(file, b"controlvector.model_hint")
    hint = lib.gguf_get_val_str(file, key).decode()
    lib.gguf_free(file)
    lib.ggml_free(held)
    return hint, found


def test_llama_reads_what_was_written(ggml: ctypes.CDLL, tmp_path: Path) -> None:
    rng = numpy.random.default_rng(1)
    steering = Steering({layer: rng.normal(size=24) for layer in (2, 5)})
    path = tmp_path / "games" / "warm.gguf"
    write_control_vector(steering, path, architecture="llama")
    hint, found = read_by_llama(ggml, path)
    assert hint == "llama"
    assert sorted(found) == ["direction.2", "direction.5"]
    for layer, row in steering.directions.items():
        assert numpy.allclose(found[f"direction.{layer}"], row)
    assert [each.name for each in path.parent.iterdir()] == ["warm.gguf"]


WIDTH = 6


def replies(prompts: int = 80, draws: int = 4, massive: float = 0.0) -> list[GameReply]:
    """Axis 0 varies by prompt only, axis 1 freely, axis 2 with diversity, axis 3 hardly."""
    rng = numpy.random.default_rng(3)
    found = []
    for number in range(prompts):
        theme = rng.normal()
        for _ in range(draws):
            state = rng.normal(size=WIDTH) * [0.01, 1.0, 1.0, 0.05, 1.0, 1.0]
            state[0] += 5 * theme
            state[4] += massive
            plain = (float(rng.normal(4, 0.3)), float(rng.normal(-2, 0.3)), 0.8 + 0.1 * state[2])
            made = Features({1: state.astype(numpy.float32)}, plain)
            found.append(GameReply(f"p{number}", "x", made))
    return found


def axis(own: list[GameReply], at: int) -> numpy.ndarray:
    return numpy.array([float(reply.features.states[1][at]) for reply in own])


def shares(direction: numpy.ndarray) -> numpy.ndarray:
    return abs(direction) / numpy.linalg.norm(direction)


def test_it_is_where_replies_to_one_prompt_differ() -> None:
    """The score hangs on all axes alike; what only prompts differ in, or nothing, is no way."""
    own = replies()
    found = control_directions(own, axis(own, 0) + axis(own, 1) + axis(own, 3), (1,))[1]
    assert found[1] > 0
    assert shares(found)[1] > 0.95
    assert shares(found)[[0, 3]].max() < 0.05


def test_diversity_stays_as_it_is() -> None:
    own = replies()
    found = control_directions(own, axis(own, 1) + 3 * axis(own, 2), (1,))[1]
    assert shares(found)[1] > 0.95
    assert shares(found)[2] < 0.05


def test_what_is_sought_besides_is_moved_too() -> None:
    own = replies()
    found = control_directions(own, axis(own, 1), (1,), (0.0, 0.0, 1.0))[1]
    assert found[1] > 0
    assert found[2] > 0
    assert shares(found)[[1, 2]].min() > 0.5
    lowered = control_directions(own, axis(own, 1), (1,), (0.0, 0.0, -1.0))[1]
    assert lowered[2] < 0


def test_massive_activations_are_left_alone() -> None:
    own = replies(massive=100.0)
    found = control_directions(own, axis(own, 1) + axis(own, 4) - 100.0, (1,))[1]
    assert found[4] == 0.0
    assert shares(found)[1] > 0.9


def test_one_reply_a_prompt_shows_no_direction() -> None:
    own = replies(draws=1)
    assert control_directions(own, axis(own, 1), (1,))[1] == pytest.approx(numpy.zeros(WIDTH))
