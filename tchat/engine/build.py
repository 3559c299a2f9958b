"""This build of llama.cpp against this machine: instruction sets and GPUs that it leaves unused."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tchat.translation import tr

# What ``llama_print_system_info`` calls an instruction set, as ``ggml_backend_cpu_get_features`` in
# ggml-cpu.cpp does, and what the Linux kernel calls it in ``/proc/cpuinfo``
INSTRUCTION_SETS = {
    "SSE3": "pni",
    "SSSE3": "ssse3",
    "AVX": "avx",
    "AVX2": "avx2",
    "F16C": "f16c",
    "FMA": "fma",
    "BMI2": "bmi2",
    "AVX_VNNI": "avx_vnni",
    "AVX512": "avx512f",
    "AVX512_VBMI": "avx512_vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AMX_INT8": "amx_int8",
    "NEON": "asimd",
    "DOTPROD": "asimddp",
    "FP16_VA": "asimdhp",
    "MATMUL_INT8": "i8mm",
    "SVE": "sve",
    "SME": "sme",
}
# The same on macOS, by the name that ``sysctl hw.optional.arm`` has
APPLE = {
    "DOTPROD": "FEAT_DotProd",
    "FP16_VA": "FEAT_FP16",
    "MATMUL_INT8": "FEAT_I8MM",
    "SME": "FEAT_SME",
}
SPELLINGS = {"avx512vbmi": "avx512_vbmi", "neon": "asimd", "sse3": "pni"}
NVIDIA, AMD, APPLE_GPU = "NVIDIA", "AMD", "Apple"
BACKENDS = {NVIDIA: "-DGGML_CUDA=on", AMD: "-DGGML_HIP=on", APPLE_GPU: "-DGGML_METAL=on"}
RPC_OPTION = "-DGGML_RPC=on"
# CMake's option for a backend, by ggml's name of it
OPTIONS = {
    "CUDA": BACKENDS[NVIDIA],
    "ROCm": BACKENDS[AMD],
    "MTL": BACKENDS[APPLE_GPU],
    "Vulkan": "-DGGML_VULKAN=on",
    "RPC": RPC_OPTION,
}


@dataclass(frozen=True, slots=True)
class Build:
    """What this build can use, and what of this machine it does not use.

    Attributes:
        used: Instruction sets compiled in, by llama.cpp's names.
        unused: Instruction sets of this processor that are not compiled in.
        absent: Instruction sets compiled in that this processor lacks: it would crash.
        gpu_backends: GPU backends compiled in, such as ``CUDA``.
        unused_gpu: Make of a GPU that no backend serves; empty if there is none.
    """

    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    gpu_backends: tuple[str, ...] = ()
    unused_gpu: str = ""

    @property
    def is_native(self) -> bool:
        """Whether it uses every instruction set of this processor that llama.cpp knows."""
        return not self.unused

    @property
    def better_options(self) -> str | None:
        """CMake options of a build that would use more; empty for a native one, None if none."""
        if self.unused_gpu:
            return BACKENDS[self.unused_gpu]
        return None if self.is_native else ""


def examine_build(system_info: str, processor: frozenset[str], gpu: str = "") -> Build:
    """Compare ``llama_print_system_info`` with the flags of the processor and the GPU's make.

    An empty ``processor`` is one that is not known: nothing is compared.
    """
    sections = parse_system_info(system_info)
    compiled = sections.get("CPU", frozenset())
    used = tuple(name for name in INSTRUCTION_SETS if name in compiled)
    present = {name for name, flag in INSTRUCTION_SETS.items() if flag in processor}
    backends = tuple(name for name in sections if name != "CPU")
    return Build(
        used,
        tuple(name for name in INSTRUCTION_SETS if name in present and name not in compiled),
        tuple(name for name in used if processor and name not in present),
        backends,
        "" if backends else gpu,
    )


def parse_system_info(text: str) -> dict[str, frozenset[str]]:
    """The features that are on, by backend: ``CPU : AVX = 1 | AVX2 = 1 | CUDA : ARCHS = 90 |``."""
    sections: dict[str, set[str]] = {}
    names: set[str] = set()
    for part in text.split("|"):
        head, colon, rest = part.partition(" : ")
        if colon:
            names = sections.setdefault(head.strip(), set())
        name, _, value = (rest if colon else part).partition("=")
        if value.strip() not in ("", "0"):
            names.add(name.strip())
    return {name: frozenset(found) for name, found in sections.items()}


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction sets of this processor, by the Linux kernel's names; empty if not known."""
    if sys.platform == "darwin":
        return _apple_flags()
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(SPELLINGS.get(flag, flag) for flag in value.split())
    return frozenset()


def _apple_flags() -> frozenset[str]:
    if platform.machine() != "arm64":
        return frozenset()  # Intel names them otherwise; those Macs are past their support
    try:
        listed = subprocess.run(
            ["sysctl", "hw.optional.arm"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    on = {
        line.partition(":")[0].rpartition(".")[2] for line in listed.splitlines() if ": 1" in line
    }
    return frozenset({"asimd", *(INSTRUCTION_SETS[name] for name in APPLE if APPLE[name] in on)})


def gpu_make(root: Path = Path("/")) -> str:
    """The make of a GPU that llama.cpp has a backend for; empty if there is none."""
    if sys.platform == "darwin":
        return APPLE_GPU if platform.machine() == "arm64" else ""
    if (root / "proc" / "driver" / "nvidia" / "version").exists():
        return NVIDIA
    return AMD if (root / "dev" / "kfd").exists() else ""


def with_backends(options: str, backends: Iterable[str]) -> str:
    """``options``, and those that keep the ``backends`` of the present build."""
    kept = (OPTIONS[name] for name in backends if name in OPTIONS)
    return " ".join(dict.fromkeys(filter(None, (options, *kept))))


def build_command(options: str, version: str, prefix: str = sys.prefix) -> str:
    """The shell command that builds llama-cpp-python in the environment at ``prefix``.

    It suits how tchat was installed there: by pipx, as a tool of uv, or by pip.
    """
    what = f"--no-binary llama-cpp-python llama-cpp-python=={version}"
    parts = Path(prefix).parts
    python = shlex.quote(str(Path(prefix) / "bin" / "python"))
    if "pipx" in parts:
        call = f"pipx runpip {parts[-1]} install --force-reinstall --no-deps --no-cache-dir {what}"
    elif parts[-3:-1] == ("uv", "tools"):
        call = f"uv pip install --python {python} --reinstall --no-deps --no-cache {what}"
    else:
        call = f"{python} -m pip install --force-reinstall --no-deps --no-cache-dir {what}"
    return f"CMAKE_ARGS={shlex.quote(options)} {call}" if options else call


def build_summary(build: Build) -> str:
    """Which build runs, in one sentence."""
    used = ", ".join(build.used) or "-"
    if build.unused:
        return tr(
            "portable: uses {used}, not this processor's {unused}",
            used=used,
            unused=", ".join(build.unused),
        )
    return tr("native: uses {used}", used=used)


def build_gain(build: Build) -> str:
    """What a better build would bring, in one sentence; empty if none would."""
    if build.unused_gpu:
        return tr(
            "this build has no backend for the {make} GPU of this machine, which is several times "
            "as fast as its processor",
            make=build.unused_gpu,
        )
    if build.unused:
        return tr("a native build would process prompts faster; replies gain little")
    return ""
