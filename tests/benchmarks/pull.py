"""Pulling 1 GB from loopback: fetched, hashed, written and synced, against curl and sha256sum."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row, alternated, ratio, wall

REPO, FILE, SIZE = "bench/Noise-GGUF", "noise-Q4_K_M.gguf", 1 << 30
ROUNDS = 4


def rows() -> Iterator[Row]:
    """Bytes a second of the whole commands, process start included."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.models.hub_server", REPO, FILE, str(SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield _compare(url, Path(folder))
    finally:
        server.communicate("")


def _compare(url: str, folder: Path) -> Row:
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(folder / "hf")}
    tchat = [sys.executable, "-m", "tchat", "models", "pull", REPO]
    copy = folder / FILE
    curl = ["curl", "-sSfL", "-o", str(copy), f"{url}/{REPO}/resolve/main/{FILE}"]

    def ours() -> float:
        shutil.rmtree(folder / "hf", ignore_errors=True)
        os.sync()
        return wall(tchat, env=environment)

    def theirs() -> float:
        copy.unlink(missing_ok=True)
        os.sync()
        return wall(curl) + wall(["sha256sum", str(copy)])

    mine, other = alternated(ROUNDS, ours, theirs)
    share = ratio(other, mine)
    rate, base = (SIZE / statistics.median(figures) / 1e6 for figures in (mine, other))
    what = f"1 GiB pulled ({rate:.0f} MB/s, synced), against curl + sha256sum ({base:.0f} MB/s)"
    return Row(what, f"{share:.2f}x", ">= 0.8x", share >= 0.8)
