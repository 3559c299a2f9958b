"""A hub, a cache and a user who pulls, for tests of downloads."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tchat.models.files import FileKey
from tchat.models.hub.api import HubApi
from tchat.models.hub.cache import HubCache
from tchat.models.hub.download import RetryPolicy
from tchat.models.hub.pull import PullEvent, pull
from tchat.models.hub.repository import HubName
from tests.egress.user_log import hub_api
from tests.models.hub_server import HubServer, Seen, sha256

REPO = "someone/Tiny-GGUF"
NAME = HubName(REPO)
FILE = "tiny-Q4_K_M.gguf"
SIZE = 300_000
DATA = random.Random(1).randbytes(SIZE)
PARTS = {f"tiny-Q2_K-0000{n}-of-00003.gguf": random.Random(n).randbytes(50_000) for n in (1, 2, 3)}
NO_WAIT = RetryPolicy(asking=2, attempts=3, first_wait=0.0, warn=0.2)

E = TypeVar("E", bound=PullEvent)


class MemoryHashes:
    """Stores SHA-256s in memory."""

    def __init__(self) -> None:
        self.known: dict[FileKey, str] = {}

    def sha256(self, key: FileKey) -> str:
        return self.known.get(key, "")

    def store_sha256(self, key: FileKey, sha256: str) -> None:
        self.known[key] = sha256


@dataclass
class PullStage:
    """A hub, a cache and a user who pulls."""

    server: HubServer
    cache: HubCache
    hub: HubApi = field(default_factory=hub_api)
    hashes: MemoryHashes = field(default_factory=MemoryHashes)

    def pull(self, name: HubName = NAME, **options: Any) -> list[PullEvent]:
        usual = {"retry_policy": NO_WAIT, "hashes": self.hashes}
        return list(pull(name, self.hub, self.cache, **{**usual, **options}))

    def blob(self, data: bytes = DATA) -> Path:
        return self.cache.folder(REPO) / "blobs" / sha256(data)

    def incomplete(self) -> Path:
        return self.blob().with_name(f"{sha256(DATA)}.incomplete")

    def leave(self, data: bytes) -> None:
        """What an earlier attempt may have left."""
        self.incomplete().parent.mkdir(parents=True)
        self.incomplete().write_bytes(data)

    def names(self) -> list[Path]:
        """Every final name in the cache: of contents and of files."""
        folder = self.cache.folder(REPO)
        found = [*folder.glob("blobs/*"), *folder.glob("snapshots/*/*")]
        return [path for path in found if path.suffix != ".incomplete"]

    def fetched(self) -> list[Seen]:
        return self.server.requests("storage")


def of(kind: type[E], events: list[PullEvent]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]
