"""Files that belong to a model: its projector (mmproj), which reads pictures, and a draft model.

The catalogue names them, or their names in the repository tell, as llama.cpp takes them: a file of
the folder of the model, or of one above it, the nearer the better; of several the one whose
quantization has the most similar number of bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from tchat.models.hub.repository import (
    HubName,
    RepoFile,
    RepoListing,
    RepoModel,
    is_companion,
    quantization_in,
)
from tchat.models.quantization_choice import bits_of

_MMPROJ = re.compile(r"(?:^|[-._/])mmproj(?=[-._])", re.IGNORECASE)
_DRAFT = re.compile(r"(?:^|[-._/])draft(?=[-._])|(?:^|/)mtp-", re.IGNORECASE)


class NamesCompanions(Protocol):
    """A catalogue entry, as far as it names companions."""

    @property
    def mmproj(self) -> str:
        """A file of the model's repository, or ``OWNER/REPO/FILE``; empty for none."""

    @property
    def draft(self) -> str:
        """Likewise."""


def companions_of(
    model: RepoModel, listing: RepoListing, entry: NamesCompanions | None = None
) -> list[HubName]:
    """What to pull beside ``model``; nothing beside a file that is a companion itself."""
    if is_companion(model.first.name):
        return []
    files = (entry.mmproj, entry.draft) if entry is not None else ("", "")
    chosen = (
        _named(file, model, listing) or _nearest(model, listing, pattern)
        for file, pattern in zip(files, (_MMPROJ, _DRAFT), strict=True)
    )
    return list(dict.fromkeys(each for each in chosen if each is not None))


def _named(file: str, model: RepoModel, listing: RepoListing) -> HubName | None:
    """The file that the catalogue names; None where the repository does not have it any more."""
    owner, _, rest = file.partition("/")
    repo, _, name = rest.partition("/")
    if name:
        return HubName(f"{owner}/{repo}", file=name)
    is_there = any(each.name == file for each in listing.companions)
    return HubName(model.first.repo, file=file) if is_there else None


def _nearest(model: RepoModel, listing: RepoListing, pattern: re.Pattern[str]) -> HubName | None:
    files = list(_reachable(model, listing, pattern))
    if not files:
        return None
    bits = _bits(model.first.name)
    best = min(
        files, key=lambda file: (-file.name.count("/"), abs(_bits(file.name) - bits), file.name)
    )
    return HubName(best.repo, file=best.name, revision=best.revision)


def _reachable(
    model: RepoModel, listing: RepoListing, pattern: re.Pattern[str]
) -> Iterator[RepoFile]:
    """The files that match, in the folder of the model or above it."""
    folder = model.first.name.rpartition("/")[0]
    for file in listing.companions:
        above = file.name.rpartition("/")[0]
        if pattern.search(file.name) and f"{folder}/".startswith(f"{above}/" if above else ""):
            yield file


def _bits(name: str) -> int:
    """The bits of a weight, by the quantization in a file's name; 0 when there is none."""
    return bits_of(quantization_in(name))
