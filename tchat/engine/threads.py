"""How many threads the engine uses at most: physical cores, within what this process may use.

How many of them at a time is for the `AdaptiveThreads` to say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_threads() -> int:
    """Physical cores within this process's affinity mask and cgroup quota, at least 1."""
    usable = usable_cpus()
    cores = _physical_cores(usable)
    quota = _cgroup_quota()
    return max(1, min(cores, quota) if quota else cores)


def usable_cpus() -> frozenset[int]:
    """Logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _physical_cores(cpus: frozenset[int]) -> int:
    if sys.platform == "darwin":
        return _darwin_performance_cores() or len(cpus)
    siblings = {_core_of(cpu) for cpu in cpus}
    return len(siblings)


def _core_of(cpu: int) -> str:
    """Name of the physical core of a logical CPU; CPUs of unknown place count as cores."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return (topology / "thread_siblings_list").read_text().strip()
    except OSError:
        return f"cpu{cpu}"


def _darwin_performance_cores() -> int:
    """Efficiency cores slow every thread down to their pace, so they are left out."""
    import subprocess  # 9 ms, which only macOS needs

    command = ["/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu"]
    try:
        return int(subprocess.run(command, capture_output=True, check=True, timeout=2).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _cgroup_quota(
    root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self/cgroup")
) -> int:
    """CPUs that the cgroup grants, rounded up; 0 when it sets no quota (cgroup v2, then v1)."""
    shares = [_quota_v2(folder / "cpu.max") for folder in _own_groups(root, proc)]
    shares.append(_quota_v1(root / "cpu"))
    granted = [share for share in shares if share > 0]
    return max(1, -int(-min(granted) // 1)) if granted else 0


def _own_groups(root: Path, proc: Path) -> list[Path]:
    """The cgroup v2 folder of this process and its ancestors; a quota may sit on any of them."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return [root]
    names = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    group = root / (names[0] if names else "")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(root))]


def _quota_v2(path: Path) -> float:
    try:
        quota, period = path.read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return max(0.0, quota / int((folder / "cpu.cfs_period_us").read_text()))
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0
