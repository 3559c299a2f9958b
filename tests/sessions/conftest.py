"""Stores to test on: one in memory, one in a file, one in an encrypted file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tests.encryption.locks import make_lock


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs any store on an encrypted file, too."""
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", ["in memory", "encrypted"], indirect=True)


@pytest.fixture
def encryption(home: Path) -> Encryption:
    """The unlocked keys of a locked store."""
    return make_lock(user_paths())


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """A store in memory, or in an encrypted file."""
    if request.param == "in memory":
        with SessionStore.in_memory() as opened:
            yield opened
        return
    encryption: Encryption = request.getfixturevalue("encryption")
    with SessionStore(tmp_path / "encrypted" / "sessions.db", encryption) as opened:
        yield opened


@pytest.fixture
def file(home: Path) -> Path:
    """Where a store can be opened; nothing is there yet."""
    return home / "sessions.db"
