"""Sessions and models for tests, and services that keep account of what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from tchat.errors import ModelNotFound, StorageError, UsageError
from tchat.models.disk import DiskUsage, DuplicateFile, DuplicateSet, RemovalPlan
from tchat.models.files import FileKey
from tchat.models.hub.repository import RepoFile, RepoModel
from tchat.models.hub.update import ModelRevision
from tchat.paths import user_paths
from tchat.sessions.records import ImportedSession, Message, Role, SearchHit, Session, Status
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.model_rows import Fit, ModelRow
from tchat.tui.services.models import ModelService, PullPlan
from tchat.tui.services.sessions import ImportOutcome, SessionService
from tests.tui.stage import HOSTILE

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


class FakeSessionService(SessionService):
    """Does nothing but say that it was done; ``broken`` makes it fail."""

    def __init__(self, hits: Sequence[SearchHit] = ()) -> None:
        self.hits = hits
        self.broken = False
        self.asked: list[tuple[str, ...]] = []

    async def search(self, query: str) -> Sequence[SearchHit]:
        await self._do("search", query)
        return [hit for hit in self.hits if query in hit.snippet]

    async def preview(self, session_id: str) -> Sequence[Message]:
        return ()

    async def rename(self, session_id: str, title: str) -> None:
        await self._do("rename", session_id, title)

    async def delete(self, session_id: str) -> None:
        await self._do("delete", session_id)

    async def restore(self, session_id: str) -> None:
        await self._do("restore", session_id)

    async def export(self, session_id: str, path: Path, *, replaces: bool) -> str:
        await self._do("export", session_id, path.name, *(["replaces"] if replaces else []))
        return "/tmp/[/x]\x1b.md"

    async def import_file(self, name: str, progress: Callable[[int], object]) -> ImportOutcome:
        progress(7)
        await self._do("import", name)
        new = ImportedSession(session=session(99, "Imported"), added=2, is_new=True)
        return ImportOutcome([new], [f"imported {HOSTILE}"])

    async def sessions(self, limit: int | None = None) -> list[Session]:
        return [session(1, "Why is the sky blue?", 60), session(99, "Imported", DAY)]

    async def _do(self, *asked: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(asked)
        if self.broken:
            raise StorageError("the disk is full [/b]\x1b", "free some space")


ROWS = [
    ModelRow(choice="starter", name="SmolLM2", size=98_000_000, fit=Fit.FITS, current=True),
    ModelRow(choice="qwen3:4b", name="Qwen3", fit=Fit.TOO_LARGE, about="qwen3; does not fit"),
]

OFFERS = [
    ModelRow(choice="phi4:14b", name="phi4:14b", fit=Fit.TIGHT, purpose="reasoning", here=False),
    ModelRow(
        choice="gemma3:1b",
        name="gemma3:1b",
        quantization="Q4_K_M",
        size=806_000_000,
        fit=Fit.FITS,
        about=HOSTILE,
        here=False,
    ),
]


def revision(here: str, there: str) -> ModelRevision:
    """A model whose content is ``here``, and ``there`` on the hub; empty where that has none."""

    def model(content: str) -> RepoModel:
        file = RepoFile("acme/x", content * 9, "main", "x-Q4_0.gguf", 10**9, content, content)
        return RepoModel("Q4_0", (file,), "acme/x:Q4_0")

    return ModelRevision("acme/x:Q4_0", model(here), model(there) if there else None, 10**9)


class FakeModelService(ModelService):
    """Notes what it is asked; ``refusal`` makes it fail."""

    def __init__(self, refusal: str = "") -> None:
        self.asked: list[tuple[str, ...]] = []
        self.downloads = Downloads(user_paths())
        self.own: Sequence[ModelRow] = ROWS
        self.others = [ModelRow(choice="gemma3:270m", name="Gemma", owner="Ollama")]
        self.offered: Sequence[ModelRow] = OFFERS
        self.gone: set[Path] = set()  # files that were removed behind the list
        self.listed: list[bool] = []  # whether with other programs, each time
        self.revision = revision("old", "old")
        self.log_problem = ""
        self._refusal = refusal

    def take_log_problem(self) -> str:
        problem, self.log_problem = self.log_problem, ""
        return problem

    async def rows(self, everything: bool) -> Sequence[ModelRow]:
        self.listed.append(everything)
        return [*self.own, *(self.others if everything else [])]

    async def require_file(self, path: Path) -> None:
        if path in self.gone:
            raise ModelNotFound(f"there is no file {path}")

    async def offers(self) -> Sequence[ModelRow]:
        return self.offered

    async def search(self, words: str) -> Sequence[ModelRow]:
        self._note("search", words)
        return [ModelRow(choice="acme/x", name="acme/x", purpose=HOSTILE, here=False)]

    async def details(self, choice: str) -> Sequence[tuple[str, str]]:
        self._note("details", choice)
        return [("licence", HOSTILE), ("family", "llama")]

    async def plan_removal(self, choice: str) -> RemovalPlan:
        self._note("plan", choice)
        return RemovalPlan(HOSTILE, freed=98_000_000)

    async def remove(self, removal: RemovalPlan) -> None:
        self._note("remove", removal.name)

    async def make_default(self, choice: str) -> None:
        self._note("default", choice)

    async def plan_pull(self, row: ModelRow) -> PullPlan:
        if row.size:
            usable = row.fit is not Fit.TOO_LARGE
            return PullPlan(row.name, row.quantization, row.size, 120 * 10**9, usable)
        self._note("plan pull", row.choice)
        return PullPlan(row.name, "Q4_K_M", 2_500_000_000, 10**9, True, HOSTILE)

    def pull(self, name: str, *, agreed: bool) -> None:
        self._note("pull", name, *(["agreed"] if agreed else []))

    async def find_revision(self, path: Path) -> ModelRevision:
        self._note("find revision", path.name)
        return self.revision

    def update(self, name: str, newer: ModelRevision) -> None:
        self._note("update", name)

    async def aliases(self, choice: str) -> Sequence[str]:
        return ["small"] if choice == "starter" else []

    async def set_alias(self, name: str, choice: str) -> None:
        self._note("alias", name, choice)

    async def remove_alias(self, name: str) -> None:
        self._note("unalias", name)

    async def register(self, path: str) -> None:
        self._note("register", path)

    async def usage(self) -> Sequence[DiskUsage]:
        return [DiskUsage("you", 2, 98_000_000, 2 * 10**9)]

    async def check(
        self, choice: str, tell: Callable[[str], object], stop: Event
    ) -> Sequence[tuple[str, str]]:
        self._note("check", choice)
        tell(HOSTILE)
        return [("header", "✓ llama"), ("content", f"✗ is damaged {HOSTILE}")]

    async def duplicates(
        self, tell: Callable[[str], object], stop: Event
    ) -> Sequence[DuplicateSet]:
        key = FileKey(1, 2, 10**9, 3, 4)
        copies = (
            DuplicateFile("a", Path("/m/a.gguf"), "you", False, key),
            DuplicateFile("b", Path("/m/b.gguf"), "you", True, key),
        )
        return [DuplicateSet("0" * 64, 10**9, copies)]

    async def link_duplicates(self, found: Sequence[DuplicateSet]) -> int:
        self._note("link", str(len(found)))
        return 10**9

    def _note(self, *asked: str) -> None:
        if self._refusal:
            raise UsageError(self._refusal)
        self.asked.append(asked)
