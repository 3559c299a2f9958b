"""What the hub's API answers, read with suspicion: any value may be missing, wrong or hostile.

API: ``/api/models`` and ``/api/models/<repo>/revision/<revision>?blobs=true``, as
`HfApi.list_models` and `HfApi.model_info` ask it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tchat.models.hub.errors import not_a_hub_answer
from tchat.models.hub.names import is_safe_path, parse_hub_name
from tchat.models.hub.repo_files import RepoFile, RepoListing, group_models

SHA256, OID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
SIZE_LIMIT = 1 << 50  # bytes; a larger size is a lie
COUNT_LIMIT = 1 << 63  # so is one of downloads, weights or tokens
LICENCE = "license:"


@dataclass(frozen=True, slots=True)
class RepoSummary:
    """A repository that a search found. Texts come from the hub: sanitize before printing.

    Attributes:
        repo: ``user/repo``.
        downloads: In the last month.
        likes: By users of the hub.
        licence: As its maker declares it; empty when not declared.
        gated: Its terms must be accepted before a download.
        updated: Day of the last change, ``2025-04-28``; empty when unknown.
        architecture: For example ``qwen3``; empty when unknown.
        parameters: Weights; 0 when unknown.
        context_length: Tokens; 0 when unknown.
    """

    repo: str
    downloads: int
    likes: int
    licence: str
    gated: bool
    updated: str
    architecture: str
    parameters: int
    context_length: int


def listing(value: Any, repo: str, revision: str) -> RepoListing:
    """A repository's models, from what the API tells about it.

    Raises:
        HubError: It is no such answer.
    """
    commit = _text(_get(value, "sha"))
    entries = _get(value, "siblings")
    if not OID.fullmatch(commit) or not isinstance(entries, list):
        raise not_a_hub_answer()
    files = [_file(entry, repo, commit, revision) for entry in entries]
    models, companions = group_models(file for file in files if file)
    return RepoListing(
        repo=repo,
        commit=commit,
        licence=_licence(value),
        gated=bool(_get(value, "gated")),
        downloads=_count(_get(value, "downloads")),
        models=models,
        companions=companions,
    )


def hits(value: Any) -> list[RepoSummary]:
    """The repositories in the answer to a search, in its order.

    Raises:
        HubError: It is no such answer.
    """
    if not isinstance(value, list):
        raise not_a_hub_answer()
    return [_hit(entry) for entry in value if parse_hub_name(_text(_get(entry, "id")))]


def _file(entry: Any, repo: str, commit: str, revision: str) -> RepoFile | None:
    """A file of the listing; None for a name, a size or a hash that cannot be used."""
    name, stored = _text(_get(entry, "rfilename")), _get(entry, "lfs")
    sha256 = _text(_get(stored, "sha256"))
    size = _count(_get(stored, "size") if sha256 else _get(entry, "size"))
    blob = sha256 or _text(_get(entry, "blobId"))
    known = (SHA256 if sha256 else OID).fullmatch(blob)
    if not known or not is_safe_path(name) or not 0 < size < SIZE_LIMIT:
        return None
    return RepoFile(repo, commit, revision, name, size, sha256, blob)


def _hit(entry: Any) -> RepoSummary:
    facts = _get(entry, "gguf")
    day = DAY.match(_text(_get(entry, "lastModified")))
    return RepoSummary(
        repo=_text(_get(entry, "id")),
        downloads=_count(_get(entry, "downloads")),
        likes=_count(_get(entry, "likes")),
        licence=_licence(entry),
        gated=bool(_get(entry, "gated")),
        updated=day[0] if day else "",
        architecture=_text(_get(facts, "architecture")),
        parameters=_count(_get(facts, "total")),
        context_length=_count(_get(facts, "context_length")),
    )


def _licence(value: Any) -> str:
    """The licence among the tags, as in ``license:apache-2.0``."""
    tags = _get(value, "tags")
    texts = map(_text, tags if isinstance(tags, list) else ())
    return next((tag.removeprefix(LICENCE) for tag in texts if tag.startswith(LICENCE)), "")


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value < COUNT_LIMIT else 0
