"""This build of llama.cpp against this machine: what it leaves unused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tchat.engine.binding import backend_names, build_facts
from tchat.engine.build import (
    build_command,
    build_gain,
    build_summary,
    examine_build,
    gpu_make,
    parse_system_info,
    processor_flags,
    with_backends,
)

WHEEL = (  # of the maintainers' index
    "CPU : SSE3 = 1 | SSSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | BMI2 = 1 | "
    "LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "
)
HASWELL = frozenset({"pni", "ssse3", "avx", "avx2", "f16c", "fma", "bmi2", "sse4_2"})
SERVER = HASWELL | {"avx512f", "avx512_vnni"}


def test_this_build_runs_on_this_machine() -> None:
    build = examine_build(build_facts()["features"], processor_flags())
    assert build.used
    assert build.absent == ()


def test_instruction_sets_that_a_wheel_lacks_are_named() -> None:
    build = examine_build(WHEEL, SERVER)
    assert build.unused == ("AVX512", "AVX512_VNNI")
    assert not build.is_native
    assert build.better_options == ""
    assert "not this processor's AVX512, AVX512_VNNI" in build_summary(build)
    assert "native" in build_gain(build)


def test_a_build_of_everything_needs_no_other() -> None:
    build = examine_build(WHEEL, HASWELL)
    assert (build.unused, build.better_options, build_gain(build)) == ((), None, "")
    assert build_summary(build).startswith("native: uses SSE3, SSSE3, AVX, AVX2")


def test_a_build_for_another_processor_is_told() -> None:
    assert examine_build(WHEEL, HASWELL - {"avx2", "bmi2"}).absent == ("AVX2", "BMI2")


def test_an_unknown_processor_is_compared_with_nothing() -> None:
    build = examine_build(WHEEL, frozenset())
    assert (build.unused, build.absent, build.better_options) == ((), (), None)


@pytest.mark.parametrize(
    ("gpu", "options"), [("NVIDIA", "-DGGML_CUDA=on"), ("AMD", "-DGGML_HIP=on")]
)
def test_a_gpu_without_a_backend_is_told(gpu: str, options: str) -> None:
    build = examine_build(WHEEL, SERVER, gpu)
    assert build.better_options == options
    assert gpu in build_gain(build)


def test_a_gpu_with_a_backend_is_used() -> None:
    info = "CUDA : ARCHS = 860,890 | USE_GRAPHS = 1 | " + WHEEL
    build = examine_build(info, HASWELL, "NVIDIA")
    assert build.gpu_backends == ("CUDA",)
    assert (build.unused_gpu, build.better_options) == ("", None)


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("", {}),
        ("CPU : AVX = 1 | AVX2 = 0 | ", {"CPU": frozenset({"AVX"})}),
        (
            "Metal : EMBED_LIBRARY = 1 | CPU : NEON = 1 | ARM_FMA = 1 | ",
            {
                "Metal": frozenset({"EMBED_LIBRARY"}),
                "CPU": frozenset({"NEON", "ARM_FMA"}),
            },
        ),
        ("nonsense", {}),
    ],
)
def test_features_are_read_by_backend(text: str, sections: dict[str, frozenset[str]]) -> None:
    assert parse_system_info(text) == sections


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor: 0\nflags\t\t: fpu pni avx512vbmi\n", {"fpu", "pni", "avx512_vbmi"}),
        ("processor: 0\nFeatures\t: fp asimd asimddp\n", {"fp", "asimd", "asimddp"}),
        ("\xff\xfe", set()),
    ],
)
def test_the_processor_is_read_from_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, flags: set[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "cpuinfo").write_text(text, encoding="latin-1")
    assert processor_flags(tmp_path / "cpuinfo") == flags
    assert processor_flags(tmp_path / "missing") == frozenset()


def test_a_gpu_is_known_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert gpu_make(tmp_path) == ""
    (tmp_path / "dev" / "kfd").mkdir(parents=True)
    assert gpu_make(tmp_path) == "AMD"
    (tmp_path / "proc" / "driver" / "nvidia" / "version").mkdir(parents=True)
    assert gpu_make(tmp_path) == "NVIDIA"


@pytest.mark.parametrize(
    ("prefix", "begins"),
    [
        ("/home/me/.local/pipx/venvs/tchat", "pipx runpip tchat install "),
        (
            "/home/me/.local/share/uv/tools/tchat",
            "uv pip install --python /home/me/",
        ),
        ("/home/me/my work/.venv", "'/home/me/my work/.venv/bin/python' -m pip install "),
    ],
)
def test_the_command_suits_how_it_was_installed(prefix: str, begins: str) -> None:
    command = build_command("", "0.3.36", prefix)
    assert command.startswith(begins)
    assert command.endswith("--no-binary llama-cpp-python llama-cpp-python==0.3.36")
    assert (
        build_command("-DGGML_CUDA=on", "0.3.36", prefix) == f"CMAKE_ARGS=-DGGML_CUDA=on {command}"
    )


def test_a_new_build_keeps_the_backends_that_there_are() -> None:
    assert with_backends("", ("CPU",)) == ""
    assert with_backends("-DGGML_RPC=on", ("RPC", "CPU")) == "-DGGML_RPC=on"
    options = with_backends("-DGGML_RPC=on", ("Vulkan", "BLAS", "CPU"))
    assert options == "-DGGML_RPC=on -DGGML_VULKAN=on"
    command = build_command(options, "0.3.36", "/venv")
    assert command.startswith("CMAKE_ARGS='-DGGML_RPC=on -DGGML_VULKAN=on' /venv/bin/python ")


def test_the_backends_of_this_build_are_named() -> None:
    assert "CPU" in backend_names()
