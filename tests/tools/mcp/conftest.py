from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.mcp.stage import McpStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[McpStage]:
    # Imported now, so that tests of memory measure something else.
    importlib.import_module("tchat.tools.mcp.connection")
    stage = McpStage(tmp_path)
    yield stage
    for servers in stage.opened:
        servers.close()
