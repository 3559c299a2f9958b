"""Searching the hub, with what the search itself does not tell: the sizes of the files."""

from __future__ import annotations

from dataclasses import dataclass

from tchat.errors import TchatError
from tchat.models.hub.api import HubApi
from tchat.models.hub.repo_files import RepoListing
from tchat.models.hub.responses import RepoSummary

AT_ONCE = 8  # requests


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A repository that was found, and its models; None when it would not tell them."""

    hit: RepoSummary
    listing: RepoListing | None


def search_models(hub: HubApi, words: str, limit: int = 10) -> list[SearchResult]:
    """Repositories with GGUF files whose names hold ``words``; most downloaded first.

    Raises:
        HubError: The hub cannot be asked, or refuses.
    """
    from concurrent.futures import ThreadPoolExecutor

    hits = hub.search(words, limit)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listings = list(pool.map(lambda hit: _listing(hub, hit.repo), hits))
    return [SearchResult(hit, listing) for hit, listing in zip(hits, listings, strict=True)]


def _listing(hub: HubApi, repo: str) -> RepoListing | None:
    try:
        return hub.listing(repo)
    except TchatError:
        return None
