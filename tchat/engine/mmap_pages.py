"""The pages of a mapped model file, which need not stay where llama.cpp has copied the weights.

For faster kernels it repacks the weights of some types into memory of its own. It unmaps what lies
before and after the tensors that are still read from the file, but the copied ones in between stay
mapped and resident, so that the process holds them twice (llama.cpp#16761). The kernel may take
such clean pages back, but does so only when memory is short, and every figure of memory counts
them. What is still read from the file comes back from the page cache at the first touch: a tenth
of a second for 1 GB.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tchat.engine.cancel import libc

COPIED = 1 / 3  # of what is mapped; the tables of a large vocabulary come to a fifth
_DONTNEED = 4  # of madvise(2)
_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r--s \S+ \S+ [1-9]", re.MULTILINE)
_TAKEN = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


@contextmanager
def drop_copied_pages() -> Iterator[None]:
    """Drop the resident pages of files that the block maps, if it copies what is in them.

    Whether it does shows in the memory that it takes. Nothing is lost where that errs because of
    other threads: dropped pages are read again. What is locked stays; outside Linux all does.
    """
    mapped, taken = _mapped(), _taken()
    yield
    fresh = _mapped() - mapped
    if _taken() - taken > COPIED * sum(end - start for start, end in fresh):
        for start, end in fresh:
            libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _mapped() -> set[tuple[int, int]]:
    """From where to where files are mapped to be read only, by proc_pid_maps(5)."""
    return {(int(start, 16), int(end, 16)) for start, end in _MAPPED.findall(_told("maps"))}


def _taken() -> int:
    """Bytes in memory that are of no file, by proc_pid_status(5)."""
    kib = _TAKEN.search(_told("status"))
    return int(kib[1]) << 10 if kib else 0


def _told(name: str) -> str:
    try:
        return Path("/proc/self", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
