"""The control vector's file, read by llama.cpp's own reader of GGUF files."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy
import pytest

from tchat.judge.game.steering import Steering, write_control_vector

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
