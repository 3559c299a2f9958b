"""The use cases of model files; the command and the screen are two consumers of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tchat.errors import ModelError
from tchat.models.facts import ModelFacts
from tchat.models.place import Found, Owner
from tchat.models.places import all_places, own_places
from tchat.models.store import ModelStore
from tchat.paths import Paths

GOOD, UNKNOWN = "loads and answers", "not checked yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model of the library. Texts are raw: sanitize them before printing.

    Attributes:
        name: What it is called by: `resolve` finds its file by this name.
        path: Its file; of a split model, the first part.
        owner: Who keeps it.
        facts: By its header; None when the file is damaged or gone.
        last_used: When it was loaded last, in seconds since the epoch; None when it never was.
        verdict: In words: what is known of whether it can chat here.
    """

    name: str
    path: Path
    owner: Owner
    facts: ModelFacts | None
    last_used: float | None
    verdict: str


class Library:
    """The model files of this user.

    Args:
        paths: The user's folders.
        environ: The environment; tells where other programs keep their files.
        build: Names the build of llama.cpp that verdicts are asked for.
    """

    def __init__(
        self, paths: Paths, environ: Mapping[str, str] = os.environ, *, build: str = ""
    ) -> None:
        self._paths = paths
        self._environ = environ
        self._build = build
        self._store = ModelStore(paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def models(self, *, all: bool = False) -> list[ModelRow]:  # noqa: A002
        """The models, by name; with ``all``, those that other programs keep too.

        Raises:
            TchatError: models.toml is broken.
        """
        places = (
            all_places(self._paths, self._environ)
            if all
            else own_places(self._paths, self._environ)
        )
        return [self._row(found) for found in places]

    def _row(self, found: Found) -> ModelRow:
        try:
            facts = self._store.facts(found.path)
        except ModelError as error:
            return _row(found, None, None, error.message)
        return _row(found, facts, self._store.last_use(facts), self._verdict(facts))

    def _verdict(self, facts: ModelFacts) -> str:
        if facts.refusal:
            return facts.refusal
        verdict = self._store.verdict(facts, self._build)
        if verdict is None:
            return UNKNOWN
        return verdict.problem or GOOD


def _row(found: Found, facts: ModelFacts | None, last_used: float | None, verdict: str) -> ModelRow:
    return ModelRow(
        name=found.name,
        path=found.path,
        owner=found.owner,
        facts=facts,
        last_used=last_used,
        verdict=verdict,
    )
