"""Which modules a piece of code imports, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """Names in ``sys.modules`` after ``code``, read from a new interpreter's standard error.

    The coverage tool stays out of that process: it imports modules of its own.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    probe = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", probe], env=env, capture_output=True, check=True, timeout=60
    )
    return set(ended.stderr.decode().split())
