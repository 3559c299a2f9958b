"""The programs that tchat is measured against, made to run on every processor.

llama.cpp built by GCC 12 crashes in its AMX kernels. tchat leaves them out where they would be used
(`tchat.engine.model`); for a fair table, and to run at all, its peers must do the same.
"""

from __future__ import annotations

import sys
from typing import Any

# What the console scripts hold, with the checkout in front.
TCHAT = (sys.executable, "-c", "from tchat.cli.main import run; run()")
LLM = (sys.executable, "-c", "from tests.benchmarks.peers import llm; llm()")


def without_amx() -> None:
    """Let ``llama_cpp`` load models into plain buffers where the AMX kernels would be used."""
    import llama_cpp.llama_cpp as binding

    if b"AMX_INT8 = 1" not in binding.llama_print_system_info():
        return
    default = binding.llama_model_default_params

    def plain() -> Any:
        params = default()
        params.use_extra_bufts = False
        return params

    binding.llama_model_default_params = plain


def llm() -> None:
    """simonw's ``llm``, as its own console script runs it."""
    without_amx()
    from llm.cli import cli

    cli()
