"""A user who pulls from the hub on loopback."""

from __future__ import annotations

import pytest

from tchat.models.hub.cache import HubCache, cache_folder
from tests.models.hub_server import HubServer
from tests.models.pulling import DATA, FILE, PARTS, Desk


@pytest.fixture
def desk(hub_server: HubServer) -> Desk:
    """A cache that is empty, and a hub with a model in one file and one in three."""
    hub_server.add("someone/Tiny-GGUF", {FILE: DATA, **PARTS})
    return Desk(hub_server, HubCache(cache_folder()))
