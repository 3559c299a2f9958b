"""Sessions for tests, and a services that keeps account of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from tchat.errors import StorageError
from tchat.sessions.records import Message, Role, SearchHit, Session, Status

NOW = datetime(2026, 3, 12, 12, 0, tzinfo=UTC).timestamp()  # a Thursday
DAY = 86_400.0


def session(number: int, title: str, age: float = 0.0, messages: int = 2) -> Session:
    """A session last used ``age`` seconds before `NOW`."""
    return Session(
        id=f"s{number:09}",
        title=title,
        system="",
        created_at=NOW - age,
        updated_at=NOW - age,
        settings={},
        messages=messages,
    )


def hit(source: Session, number: int, snippet: str, *words: str) -> SearchHit:
    """A hit in ``source`` with the first place of each of ``words`` as a span."""
    message = Message(
        id=number,
        session_id=source.id,
        parent_id=None,
        role=Role.USER,
        text=snippet,
        reasoning="",
        status=Status.DONE,
        created_at=source.updated_at,
        model="",
        model_sha256="",
        quantization="",
        template_hash="",
        sampling={},
        usage={},
        timings={},
        finish_reason="",
    )
    spans = sorted((snippet.index(word), snippet.index(word) + len(word)) for word in words)
    return SearchHit(session=source, message=message, snippet=snippet, spans=tuple(spans))


class SessionService:
    """Does nothing but say that it was done; ``broken`` makes it fail."""

    def __init__(self, hits: Sequence[SearchHit] = ()) -> None:
        self.hits = hits
        self.broken = False
        self.asked: list[tuple[str, ...]] = []

    async def search(self, query: str) -> Sequence[SearchHit]:
        await self._do("search", query)
        return [hit for hit in self.hits if query in hit.snippet]

    async def rename(self, session_id: str, title: str) -> None:
        await self._do("rename", session_id, title)

    async def delete(self, session_id: str) -> None:
        await self._do("delete", session_id)

    async def restore(self, session_id: str) -> None:
        await self._do("restore", session_id)

    async def export(self, session_id: str) -> str:
        await self._do("export", session_id)
        return "/tmp/[/x]\x1b.md"

    async def _do(self, *asked: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(asked)
        if self.broken:
            raise StorageError("the disk is full [/b]\x1b", "free some space")
