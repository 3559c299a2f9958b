"""A chat of many turns keeps its memory."""

from __future__ import annotations

import collections
import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chat.conftest import OpenChat

PAGE = 4096
ALLOWED = 8 << 20  # bytes; a message stored here has some 100


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE


def grows(open_chat: OpenChat, turns: int) -> int:
    """Bytes that the second half of ``turns`` adds; the context is full long before."""
    chat = open_chat(ctx_size=256, max_tokens=4)
    before = 0
    for turn in range(turns):
        collections.deque(chat.send(f"question {turn}"), maxlen=0)
        if turn == turns // 2:
            before = resident()
    return resident() - before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    "turns", [60, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_memory_stays_while_turns_go_on(
    open_chat: OpenChat, turns: int, record: Callable[[str, int], None]
) -> None:
    grown = grows(open_chat, turns)
    record("turns", turns)
    record("kB more", grown // 1024)
    assert grown < ALLOWED
