"""Keeps a process that holds keys out of core dumps and debuggers."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

PR_SET_DUMPABLE = 4  # of <linux/prctl.h>


def protect_process() -> None:
    """Write no core dumps, and let no other process of this user read the memory of this one.

    Where the system refuses, nothing happens: it is one more wall, not the only one.
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
