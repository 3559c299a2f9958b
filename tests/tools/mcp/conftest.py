from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Imported now, so that tests of memory measure something else.
from tchat.tools.mcp import connection as connection
from tests.tools.mcp.stage import McpStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[McpStage]:
    stage = McpStage(tmp_path)
    yield stage
    for servers in stage.opened:
        servers.close()
