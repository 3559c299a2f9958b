"""Memory: what is free, what a model needs, and which context fits.

Free memory is that of the machine or its container: ``/proc/meminfo`` (proc(5)), the memory
controllers of cgroup v2 and v1, ``vm_stat`` of macOS. Page cache counts as free: a mapped model
file that lies in it is not read again.

KV cache and recurrent state are computed to the byte, as llama.cpp allocates them. The compute
buffers follow what its scheduler reserves for a batch (measured with llama-cpp-python 0.3.36 over
five models, contexts of 1,024 to 32,768, batches of 128 and 512).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from tchat.errors import DoesNotFit
from tchat.translation import N_, tr

CACHED = ("inactive_file", "active_file", "total_inactive_file", "total_active_file")
VM_STAT = re.compile(r"Pages (free|inactive|speculative|purgeable):\s+(\d+)")
KV_BYTES = MappingProxyType({"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32})  # of one value
STEP = 256  # tokens; llama.cpp's padding of the KV cache
FLOAT, HALF = 4, 2  # bytes
PER_TOKEN_STRING = 150  # bytes of a token or a merge in the vocabulary's tables
FIXED = 4 << 20  # bytes of tables and code, whatever the model
GPU_OUTPUTS = 64  # rows of logits that a GPU reserves memory for
EFFICIENCY = 0.9  # of the measured rate of matrix products alone
LEAST_READ = 32 * 10**6  # bytes a token: fewer stay in the processor's caches
SYNC_SECONDS = 8e-5  # per layer: threads wait for each other after each of some ten operations


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory.

    ``free`` is available without swapping; ``total`` is installed, or the container's limit.
    ``name`` is ``memory`` for main memory, else that of a GPU; a ``shared`` GPU uses main memory.
    """

    free: int
    total: int
    name: str = "memory"
    shared: bool = False


def main_memory(root: Path = Path("/")) -> Memory | None:
    """Main memory, or the container's limit where that is lower; None when unknown.

    Takes well under a millisecond on Linux. ``root`` is where ``/proc`` and ``/sys`` are.
    """
    machine = _darwin() if sys.platform == "darwin" else _meminfo(root / "proc/meminfo")
    if machine is None:
        return None
    limits = [machine, *_cgroup_limits(root)]
    return min(limits, key=lambda limit: limit.free)


def _meminfo(path: Path) -> Memory | None:
    try:
        fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        free, total = (int(fields[key].split()[0]) << 10 for key in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return Memory(free, total)


def _cgroup_limits(root: Path) -> Iterator[Memory]:
    """What the cgroups of this process allow; those without a limit are left out."""
    for folder, limit, usage in _groups(root):
        try:
            total = int((folder / limit).read_text())  # "max" where there is no limit
            used = int((folder / usage).read_text())
            cached = _cached(folder / "memory.stat")
        except (OSError, ValueError):
            continue
        yield Memory(max(total - used + cached, 0), total)


def _groups(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Folders of the memory controller, with the names of their limit and usage files."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "")
        if controllers == "":
            top, files = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # In a container the name is often that of the host, and only the top folder exists.
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield folder, *files


def _cached(path: Path) -> int:
    """Bytes of page cache, which the kernel can reclaim."""
    fields = dict(line.split() for line in path.read_text().splitlines())
    sizes = {key: int(fields[key]) for key in CACHED if key in fields}
    whole = {key: size for key, size in sizes.items() if key.startswith("total_")}
    return sum((whole or sizes).values())


def _darwin() -> Memory | None:
    import subprocess  # 3 ms, needed on macOS only

    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        output = subprocess.run(
            ["/usr/bin/vm_stat"], capture_output=True, check=True, timeout=2, text=True
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    match = re.search(r"page size of (\d+) bytes", output)
    counted = sum(int(count) for _, count in VM_STAT.findall(output))
    return Memory(counted * (int(match[1]) if match else page), page * pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDimensions:
    """Sizes of a model that decide its memory and speed; 0 where the header gives none.

    Attributes:
        layers: Number of layers (``n_layer``).
        width: Size of a hidden state (``n_embd``).
        feed_forward: Size of a feed-forward layer (``n_ff``), all active experts together.
        heads: Query heads (``n_head``).
        kv_width: Values per token in the KV cache, over all layers with full attention.
        window_width: The same, over all layers with a sliding window.
        window: Tokens of the sliding window (``n_swa``).
        state: Bytes of the recurrent state of one sequence.
        vocabulary: Tokens in the vocabulary (``n_vocab``).
        merges: Merges of the tokenizer.
        input: Bytes of the token embedding.
        lookup: Bytes of further tables of which a token needs one row.
        output: Bytes of the output matrix; 0 when it is tied to the embedding.
        blocks: Bytes of the layers and of everything else.
        experts: Bytes of the experts, a part of ``blocks``.
        expert_share: Share of the experts that are active for one token.
    """

    layers: int = 0
    width: int = 0
    feed_forward: int = 0
    heads: int = 0
    kv_width: int = 0
    window_width: int = 0
    window: int = 0
    state: int = 0
    vocabulary: int = 0
    merges: int = 0
    input: int = 0
    lookup: int = 0
    output: int = 0
    blocks: int = 0
    experts: int = 0
    expert_share: float = 0.0

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return self.input + self.lookup + self.output + self.blocks

    @property
    def read_per_token(self) -> int:
        """Bytes of weights read from memory to decode one token."""
        idle = int(self.experts * (1 - self.expert_share))
        return self.blocks - idle + (self.output or self.input)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How a model is to be loaded.

    Attributes:
        context: Context length in tokens.
        kv_type: Of the KV cache: ``f16``, ``q8_0`` or ``q4_0``.
        flash: Whether flash attention is used.
        swa_full: Whether layers with a sliding window cache the whole context.
        batch: Tokens of a prefill batch.
        sequences: Parallel sequences.
        gpu_layers: Layers on GPUs; -1 for all.
        initial_capacity: Initial size of a KV cache that grows, in tokens; 0 when it does not grow.
    """

    context: int
    kv_type: str = "f16"
    flash: bool = True
    swa_full: bool = True
    batch: int = 512
    sequences: int = 2
    gpu_layers: int = 0
    initial_capacity: int = 0


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a loaded model needs.

    Attributes:
        context: KV cache and recurrent state.
        buffers: Compute buffers and the vocabulary.
        growth: Needed for a moment while the KV cache grows to its full size.
    """

    weights: int
    context: int
    buffers: int
    growth: int = 0

    @property
    def total(self) -> int:
        """Bytes with a full context."""
        return self.weights + self.context + self.buffers

    @property
    def peak(self) -> int:
        """Bytes at the peak."""
        return self.total + self.growth


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory and speed of a machine.

    ``gpus`` are those that this build can use. ``speed`` is in bytes of weights per second, 0 when
    it was not measured.
    """

    memory: Memory | None = None
    gpus: Sequence[Memory] = field(default=())
    speed: float = 0.0

    @property
    def dedicated_gpus(self) -> tuple[Memory, ...]:
        """GPUs with memory of their own."""
        return tuple(gpu for gpu in self.gpus if not gpu.shared)

    @property
    def has_workers(self) -> bool:
        """Whether some of ``gpus`` are devices of other machines."""
        return any(gpu.name.startswith("RPC") for gpu in self.gpus)


def estimate_memory(dimensions: ModelDimensions, plan: LoadPlan) -> MemoryNeed:
    """Memory that a model needs, main memory and GPUs together."""
    cache = kv_bytes(dimensions, plan)
    return MemoryNeed(
        weights=dimensions.weights,
        context=cache + dimensions.state * plan.sequences,
        buffers=buffer_bytes(dimensions, plan) + vocabulary_bytes(dimensions),
        # The smaller cache is copied out before the larger one is made.
        growth=cache // 2 if 0 < plan.initial_capacity < plan.context else 0,
    )


def kv_bytes(dimensions: ModelDimensions, plan: LoadPlan) -> int:
    """Bytes of the KV cache."""
    whole = _padded(plan.context)
    window = whole
    if not plan.swa_full:
        window = min(whole, _padded(dimensions.window * plan.sequences + plan.batch))
    values = dimensions.kv_width * whole + dimensions.window_width * window
    return int(values * KV_BYTES[plan.kv_type])


def buffer_bytes(dimensions: ModelDimensions, plan: LoadPlan) -> int:
    """Bytes of llama.cpp's compute buffers."""
    batch, context = min(plan.batch, plan.context), _padded(plan.context)
    masks = (dimensions.kv_width > 0) + (dimensions.window_width > 0)
    hidden = 5 if dimensions.experts else 4
    feeding = (3 * dimensions.feed_forward + hidden * dimensions.width) * FLOAT * batch
    outputs = dimensions.vocabulary * FLOAT * plan.sequences
    if plan.gpu_layers:
        feeding = max(feeding, dimensions.vocabulary * FLOAT * GPU_OUTPUTS)
    if plan.flash:
        return feeding + masks * HALF * context * batch + outputs
    scores = (dimensions.heads if masks else 0) + masks
    attending = (scores * context + 6 * dimensions.width) * FLOAT * batch
    return max(feeding, attending) + outputs


def vocabulary_bytes(dimensions: ModelDimensions) -> int:
    """Bytes of the vocabulary, and of what does not depend on the model."""
    return (dimensions.vocabulary + dimensions.merges) * PER_TOKEN_STRING + FIXED


def split_by_device(
    dimensions: ModelDimensions, plan: LoadPlan, machine: Machine
) -> tuple[MemoryNeed, MemoryNeed]:
    """The need of a model in main memory, and on GPUs with memory of their own.

    The token embedding stays in main memory. The output matrix goes to the GPUs first, then the
    layers from the last one on, each with its part of the KV cache.
    """
    whole = estimate_memory(dimensions, plan)
    nothing = MemoryNeed(0, 0, 0)
    if not machine.dedicated_gpus or not plan.gpu_layers:
        return whole, nothing
    share = gpu_share(dimensions, plan, machine)
    blocks, cache = int(dimensions.blocks * share), int(whole.context * share)
    buffers = buffer_bytes(dimensions, plan)
    on_gpu = MemoryNeed(blocks + (dimensions.output or dimensions.input), cache, buffers)
    weights = whole.weights - blocks - dimensions.output
    # The CPU has compute buffers too, unless every layer is on a GPU.
    own = whole.buffers if share < 1 else whole.buffers - buffers
    return MemoryNeed(weights, whole.context - cache, own), on_gpu


def gpu_share(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> float:
    """Share of the layers on GPUs with memory of their own, 0 to 1."""
    if not machine.dedicated_gpus:
        return 0.0
    layers = (
        dimensions.layers if plan.gpu_layers < 0 else min(plan.gpu_layers - 1, dimensions.layers)
    )
    return max(layers, 0) / max(dimensions.layers, 1)


def fits(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> bool:
    """Whether there is enough memory, as far as is known."""
    here, there = split_by_device(dimensions, plan, machine)
    if there.total > sum(gpu.free for gpu in machine.dedicated_gpus):
        return False
    return machine.memory is None or here.peak <= machine.memory.free


def largest_context(
    dimensions: ModelDimensions, plan: LoadPlan, machine: Machine, most: int
) -> int:
    """The largest context up to ``most`` that fits, in steps of 256 tokens; 0 when none fits."""
    low, high = 0, max(most, STEP) // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if fits(dimensions, replace(plan, context=middle * STEP), machine):
            low = middle
        else:
            high = middle - 1
    return low * STEP


def max_gpu_layers(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> int:
    """The largest ``gpu_layers`` that fits; 0 when none fits."""
    for layers in range(dimensions.layers + 1, 0, -1):
        if fits(dimensions, replace(plan, gpu_layers=layers), machine):
            return layers
    return 0


def tokens_per_second(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> float:
    """Estimated decode speed with a full context, in tokens per second.

    Of a model that is partly on GPUs, only the CPU's part counts: it takes nearly all of the time.

    Returns:
        0 when unknown: the machine was not measured, all layers are on GPUs, or the weights are so
        few that the memory bandwidth does not limit the speed.
    """
    share = 1 - gpu_share(dimensions, plan, machine)
    read = (dimensions.read_per_token + kv_bytes(dimensions, plan) + dimensions.state) * share
    if read < LEAST_READ or not machine.speed:
        return 0.0
    return 1 / (read / (EFFICIENCY * machine.speed) + SYNC_SECONDS * dimensions.layers * share)


def does_not_fit(
    name: str, dimensions: ModelDimensions, plan: LoadPlan, machine: Machine
) -> DoesNotFit:
    """The error for a model that does not fit: what it needs, what is free, what would fit.

    ``name`` is the model's, sanitized.
    """
    here, there = split_by_device(dimensions, plan, machine)
    text = N_("weights {weights}, context {context}, buffers {buffers}")
    if here.growth:
        text = N_(
            "weights {weights}, context {context}, buffers {buffers}, and {growth} while the "
            "context grows"
        )
    parts = tr(
        text,
        weights=_gb(here.weights),
        context=_gb(here.context),
        buffers=_gb(here.buffers),
        growth=_gb(here.growth),
    )
    free = _gb(machine.memory.free) if machine.memory else tr("an unknown amount")
    message = tr(
        "{name} with a context of {context:,} tokens needs {needed} GB of memory ({parts}), and "
        "{free} GB are free",
        name=name,
        context=plan.context,
        needed=_gb(here.peak),
        parts=parts,
        free=free,
    )
    if there.total:
        free_there = sum(gpu.free for gpu in machine.dedicated_gpus)
        told = N_("{message}; on the GPU it needs {needed} GB, and {free} GB are free")
        if machine.has_workers:
            told = N_("{message}; on the workers it needs {needed} GB, and {free} GB are free")
        message = tr(
            told,
            message=message,
            needed=_gb(there.total),
            free=_gb(free_there),
        )
    return DoesNotFit(message, "; ".join(_ways_out(dimensions, plan, machine)))


def _ways_out(dimensions: ModelDimensions, plan: LoadPlan, machine: Machine) -> Iterator[str]:
    if context := largest_context(dimensions, plan, machine, plan.context):
        yield tr("--ctx-size {context} fits", context=context)
    for kv_type in ("q8_0", "q4_0"):
        smaller = replace(plan, kv_type=kv_type)
        if plan.kv_type == "f16" and plan.flash and fits(dimensions, smaller, machine):
            yield tr("--cache-type {kv_type} fits", kv_type=kv_type)
            break
    if plan.gpu_layers and (layers := max_gpu_layers(dimensions, plan, machine)):
        yield tr("--gpu-layers {layers} fits", layers=layers)
    yield tr("close other programs, or choose a smaller quantization")
    yield tr("--force loads it anyway")


def _gb(size: int) -> str:
    return f"{size / 10**9:.2f}"


def _padded(tokens: int) -> int:
    return -(-tokens // STEP) * STEP
