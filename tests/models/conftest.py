"""A user who pulls from the hub on loopback."""

from __future__ import annotations

import pytest

from tchat.models.hub.cache import HubCache, cache_folder
from tests.models.hub.pull_stage import DATA, FILE, PARTS, PullStage
from tests.models.hub_server import HubServer


@pytest.fixture
def pull_stage(hub_server: HubServer) -> PullStage:
    """A cache that is empty, and a hub with a model in one file and one in three."""
    hub_server.add("someone/Tiny-GGUF", {FILE: DATA, **PARTS})
    return PullStage(hub_server, HubCache(cache_folder()))
