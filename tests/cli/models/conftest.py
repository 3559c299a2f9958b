"""Fixtures of the tests of ``tchat models``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tchat.chat.machine import machine_name
from tchat.models.metadata import MetadataCache
from tchat.paths import user_paths

RATE = 20e9  # bytes a second


@pytest.fixture
def measured(home: Path) -> None:
    """A machine that was measured just now, so that not every test does it again."""
    with MetadataCache(user_paths()) as store:
        store.record_machine_rate(machine_name(), RATE, time.time())
