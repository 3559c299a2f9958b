from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.mcp.stage import McpStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[McpStage]:
    stage = McpStage(tmp_path)
    yield stage
    for servers in stage.opened:
        servers.close()
