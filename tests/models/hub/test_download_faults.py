"""200 downloads that are cut, that stall, or whose process is killed, each at a random point."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.models.hub.cache import cache_folder
from tests.cli.shell import COMMAND
from tests.models.gguf_builder import gguf
from tests.models.hub_server import Fault, HubServer, sha256

RUNS = 200
REPO = "someone/Big-GGUF"
SIZE = 6_000_000
DATA = (gguf() + random.Random(9).randbytes(SIZE))[:SIZE]
HEADER = 262_144  # bytes that are read of it before it is pulled
DIGEST = sha256(DATA)
TWICE = 1_000_000  # bytes that may be fetched twice in one run


@pytest.fixture
def server(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    hub_server.add(REPO, {"big-Q4_K_M.gguf": DATA})
    hub_server.pace = 0.0003
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    return hub_server


def named() -> Iterator[Path]:
    """Whatever is in the cache under a final name."""
    for folder in ("blobs", "snapshots"):
        for path in cache_folder().glob(f"models--*/{folder}/**/*"):
            if path.suffix not in (".incomplete", ".tmp") and path.is_file():
                yield path


def pull(kill_at: int | None, server: HubServer) -> int:
    """One process; returns how it ended. Nothing partial is seen under a final name meanwhile."""
    with subprocess.Popen(
        [*COMMAND, "models", "pull", REPO], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None:
            if kill_at is not None and server.sent() >= kill_at:
                process.send_signal(signal.SIGKILL)
            assert [path for path in named() if path.stat().st_size != SIZE] == []
    assert [path for path in named() if sha256(path.read_bytes()) != DIGEST] == []
    return process.returncode


def fault(kind: str, point: int) -> Fault:
    """A connection that is cut or that stalls at a byte."""
    return Fault(cut=point) if kind == "cut" else Fault(stall=point)


@pytest.mark.long
@pytest.mark.parametrize("run", range(RUNS))
def test_a_broken_download_ends_right(
    server: HubServer, run: int, record: Callable[[str, int], None]
) -> None:
    record("broken downloads", 1)
    draw = random.Random(run)
    kind, point = ("cut", "stall", "kill")[run % 3], draw.randrange(SIZE)
    if kind == "kill":
        assert pull(point, server) in (-signal.SIGKILL, 0)  # at its last bytes it may be through
    elif point < HEADER:
        server.fail("storage", fault(kind, point))
    else:
        server.fail("storage", Fault(), fault(kind, point - HEADER))
    assert pull(None, server) == 0
    assert len(list(named())) == 2
    assert not list(cache_folder().rglob("*.incomplete"))
    assert server.sent() - SIZE <= TWICE
    print(f"{kind} at {point:,}: {server.sent() - SIZE:,} bytes twice")
