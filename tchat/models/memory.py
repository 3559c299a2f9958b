"""The memory that this process may still take, in the machine and in its container.

Sources: ``/proc/meminfo`` (proc(5)), the memory controllers of cgroup v2 and v1, ``vm_stat`` of
macOS. Page cache counts as free: a mapped model file that lies in it is not read again.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CACHED = ("inactive_file", "active_file", "total_inactive_file", "total_active_file")
VM_STAT = re.compile(r"Pages (free|inactive|speculative|purgeable):\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory.

    Attributes:
        free: What can be taken without swapping.
        total: What there is.
        name: Whose it is: ``memory``, or the name of a GPU.
        shared: Whether a GPU takes it from the machine's own memory.
    """

    free: int
    total: int
    name: str = "memory"
    shared: bool = False


def main_memory(root: Path = Path("/")) -> Memory | None:
    """The machine's memory, or what its container allows of it; None when that is not known.

    Takes well under a millisecond on Linux.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
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
    """What each group around this process may still take; those without a limit are left out."""
    for folder, limit, usage in _groups(root):
        try:
            total = int((folder / limit).read_text())  # "max" where there is no limit
            used = int((folder / usage).read_text())
            cached = _cached(folder / "memory.stat")
        except (OSError, ValueError):
            continue
        yield Memory(max(total - used + cached, 0), total)


def _groups(root: Path) -> Iterator[tuple[Path, str, str]]:
    """The folders of the memory controller, with the names of its limit and its usage."""
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
        # In a container the name is often that of the host's tree, and only the top is there.
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield folder, *files


def _cached(path: Path) -> int:
    """Bytes of files in memory, which make room when they must."""
    fields = dict(line.split() for line in path.read_text().splitlines())
    told = {key: int(fields[key]) for key in CACHED if key in fields}
    whole = {key: size for key, size in told.items() if key.startswith("total_")}
    return sum((whole or told).values())


def _darwin() -> Memory | None:
    import subprocess  # 3 ms, which only macOS needs

    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        told = subprocess.run(
            ["/usr/bin/vm_stat"], capture_output=True, check=True, timeout=2, text=True
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    match = re.search(r"page size of (\d+) bytes", told)
    counted = sum(int(count) for _, count in VM_STAT.findall(told))
    return Memory(counted * (int(match[1]) if match else page), page * pages)
