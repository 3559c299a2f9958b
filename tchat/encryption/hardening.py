"""Keeps a process that holds keys out of core dumps and debuggers."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4  # of <linux/prctl.h>


def protect_process() -> None:
    """Write no core dumps, and let no other process of this user read the memory of this one.

    Where the system refuses, nothing happens. A program that this process starts is not protected,
    but for the core dumps: it calls this itself.
    """
    if os.name != "posix":
        return
    import resource

    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # programs of tools may raise it again
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_protected() -> bool:
    """Whether no other process may read the memory of this one; known on Linux only."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
