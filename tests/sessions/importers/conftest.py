"""A store to import into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sessions.importers.imports import Imports, in_memory


@pytest.fixture
def imports() -> Iterator[Imports]:
    yield from in_memory()
