"""The memory that may still be taken, from the files that tell it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tchat.models.memory import Memory, main_memory

GIB = 1 << 30
MEMINFO = f"""\
MemTotal:       {16 << 20} kB
MemFree:         {1 << 20} kB
MemAvailable:    {9 << 20} kB
HugePages_Total:       0
"""
UNLIMITED = 9223372036854771712


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def free(root: Path) -> int:
    found = main_memory(root)
    assert found is not None
    return found.free


def test_the_machine_tells_what_is_available(tmp_path: Path) -> None:
    assert main_memory(written(tmp_path, {})) == Memory(9 * GIB, 16 * GIB)


def test_a_container_allows_less(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/app.slice/tchat"
    root = written(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app.slice/tchat\n",
            f"{group}/memory.max": "max\n",
            f"{group}/memory.current": f"{GIB}\n",
            f"{group}/memory.stat": "anon 1\ninactive_file 5\n",
            "sys/fs/cgroup/app.slice/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/app.slice/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/app.slice/memory.stat": f"active_file {GIB}\ninactive_file {GIB // 2}\n",
        },
    )
    assert main_memory(root) == Memory(4 * GIB - 3 * GIB + GIB + GIB // 2, 4 * GIB)


def test_inside_a_container_only_the_top_is_there(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    root = written(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123\n",
            f"{top}/memory.max": f"{2 * GIB}\n",
            f"{top}/memory.current": f"{GIB}\n",
            f"{top}/memory.stat": "inactive_file 0\nactive_file 0\n",
        },
    )
    assert free(root) == GIB


@pytest.mark.parametrize(("limit", "expected"), [(2 * GIB, 2 * GIB - GIB + 7), (UNLIMITED, None)])
def test_the_first_version_of_cgroups(tmp_path: Path, limit: int, expected: int | None) -> None:
    group = "sys/fs/cgroup/memory/docker/0123"
    stat = "cache 9\ninactive_file 1\ntotal_inactive_file 3\ntotal_active_file 4\n"
    root = written(
        tmp_path,
        {
            "proc/self/cgroup": "11:cpu,cpuacct:/x\n4:memory:/docker/0123\n1:name=systemd:/a:b\n",
            f"{group}/memory.limit_in_bytes": f"{limit}\n",
            f"{group}/memory.usage_in_bytes": f"{GIB}\n",
            f"{group}/memory.stat": stat,
        },
    )
    assert free(root) == (expected or 9 * GIB)


@pytest.mark.parametrize("text", ["", "odd", "MemAvailable: x kB\nMemTotal: 1 kB\n"])
def test_a_machine_that_does_not_tell(tmp_path: Path, text: str) -> None:
    assert main_memory(written(tmp_path, {"proc/meminfo": text})) is None


def test_a_group_that_is_used_up_leaves_nothing(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    files = {f"{top}/memory.max": "10", f"{top}/memory.current": "12", f"{top}/memory.stat": ""}
    assert free(written(tmp_path, {"proc/self/cgroup": "0::/\n", **files})) == 0


def test_this_machine_tells_something() -> None:
    found = main_memory()
    assert found is not None
    assert 0 < found.free <= found.total
    if sys.platform == "linux":
        assert found.total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
