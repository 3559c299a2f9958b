"""Searching the hub, with what the search itself does not tell: the sizes of the files."""

from __future__ import annotations

from dataclasses import dataclass

from tchat.errors import TchatError
from tchat.models.hub import Hub
from tchat.models.hub_files import Listing
from tchat.models.hub_json import Hit

AT_ONCE = 8  # requests


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A repository that was found, and its models; None when it would not tell them."""

    hit: Hit
    listing: Listing | None


def search(hub: Hub, words: str, limit: int = 10) -> list[SearchResult]:
    """Repositories with GGUF files whose names hold ``words``; most downloaded first.

    Raises:
        HubError: The hub cannot be asked, or refuses.
    """
    from concurrent.futures import ThreadPoolExecutor

    hits = hub.search(words, limit)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listings = list(pool.map(lambda hit: _listing(hub, hit.repo), hits))
    return [SearchResult(hit, listing) for hit, listing in zip(hits, listings, strict=True)]


def _listing(hub: Hub, repo: str) -> Listing | None:
    try:
        return hub.listing(repo)
    except TchatError:
        return None
