"""The use cases of model files; the command and the screen are two consumers of them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tchat.errors import ModelError
from tchat.models.check import Command
from tchat.models.details import Details, read_details
from tchat.models.duplicates import Copies, duplicates
from tchat.models.examination import Progress, examine
from tchat.models.facts import ModelFacts
from tchat.models.hashing import Hashing
from tchat.models.hub_cache import HubCache, cache_folder
from tchat.models.place import Found, Owner, stem
from tchat.models.places import all_places, own_places
from tchat.models.removal import Removal, plan_removal, remove
from tchat.models.resolve import resolve
from tchat.models.store import ModelStore
from tchat.models.usage import Usage, usage
from tchat.paths import Paths

if TYPE_CHECKING:
    from tchat.models.fit import Machine
    from tchat.models.offers import Offer

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
        speed: Tokens a second that it wrote here; 0 when it was not used yet.
    """

    name: str
    path: Path
    owner: Owner
    facts: ModelFacts | None
    last_used: float | None
    verdict: str
    speed: float = 0.0


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

    def look(self, path: Path) -> ModelRow:
        """A file that need not be in any list."""
        return self._row(Found(stem(path), path, Owner.USER))

    def find(self, name: str) -> ModelRow:
        """The model that ``name`` means anywhere in tchat.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: models.toml is broken.
        """
        return self._row(self._found(name))

    def catalogue(self, machine: Machine) -> list[Offer]:
        """The models of the catalogue on ``machine``, the smallest first."""
        from tchat.models.offers import offers

        return offers(machine, self._store, self._environ)

    def show(self, name: str) -> tuple[ModelRow, Details]:
        """What the file of the model called ``name`` says about itself.

        Raises:
            ModelError: None has the name, several have, or the file is damaged.
            UsageError: models.toml is broken.
        """
        row = self.find(name)
        return row, read_details(row.path)

    def check(
        self, name: str, probe_command: Command, *, content: bool = True
    ) -> Iterator[Progress]:
        """Examine the file of the model called ``name``; the last verdict is made anew.

        Args:
            name: Of the model.
            probe_command: The command that loads a path in a process of its own.
            content: Whether to read the whole file for its hash.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: models.toml is broken.
        """
        found = self._found(name)
        return examine(found, self._store, probe_command, build=self._build, content=content)

    def plan_removal(self, name: str) -> Removal:
        """What removing the model called ``name`` would do. Nothing is changed.

        Raises:
            ModelError: None has the name, several have, or the file is not there.
            UsageError: It is not tchat's to remove, or models.toml is broken.
        """
        return plan_removal(self._found(name), self._cache, self._paths)

    def remove(self, removal: Removal) -> None:
        """Carry out what `plan_removal` told.

        Raises:
            StorageError: A file cannot be deleted, or models.toml not written.
            UsageError: It is being pulled at this moment.
        """
        remove(removal, self._cache, self._paths)

    def duplicates(self) -> Generator[Hashing, None, list[Copies]]:
        """Files of the same content, other programs' too; see `tchat.models.duplicates`.

        Raises:
            TchatError: models.toml is broken.
        """
        return duplicates(all_places(self._paths, self._environ), self._store)

    def usage(self) -> list[Usage]:
        """What the models of each owner take of the disk.

        Raises:
            TchatError: models.toml is broken.
        """
        return usage(all_places(self._paths, self._environ), self._store, self._cache)

    @cached_property
    def _cache(self) -> HubCache:
        return HubCache(cache_folder(self._environ))

    def _found(self, name: str) -> Found:
        """The file that ``name`` means, and who keeps it."""
        path = resolve(name, self._paths, self._environ)
        places = all_places(self._paths, self._environ)
        for alike in (lambda other: other == path, lambda other: _same(other, path)):
            for found in places:
                if alike(found.path):
                    return found
        return Found(stem(path), path, Owner.USER)

    def _row(self, found: Found) -> ModelRow:
        try:
            facts = self._store.facts(found.path)
        except ModelError as error:
            return _row(found, None, None, error.message)
        last_used, speed = self._store.last_use(facts), self._store.speed(facts)
        return _row(found, facts, last_used, self._verdict(facts), speed)

    def _verdict(self, facts: ModelFacts) -> str:
        if facts.refusal:
            return facts.refusal
        verdict = self._store.verdict(facts, self._build)
        if verdict is None:
            return UNKNOWN
        return verdict.problem or GOOD


def _same(one: Path, other: Path) -> bool:
    """Whether both paths lead to one place; a hard link is another one."""
    return os.path.realpath(one) == os.path.realpath(other)


def _row(
    found: Found,
    facts: ModelFacts | None,
    last_used: float | None,
    verdict: str,
    speed: float = 0.0,
) -> ModelRow:
    return ModelRow(
        name=found.name,
        path=found.path,
        owner=found.owner,
        facts=facts,
        last_used=last_used,
        verdict=verdict,
        speed=speed,
    )
