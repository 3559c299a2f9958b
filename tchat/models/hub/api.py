"""The hub's API: listings, search, and the bytes of files.

Failures are raised as `HubError` or `ModelNotFound`; their messages hold no URL, which may be
signed. Answers are not trusted: any value may be missing, wrong or hostile.

API: ``/api/models`` and ``/api/models/<repo>/revision/<revision>?blobs=true``, as requested by
`HfApi.list_models` and `HfApi.model_info`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tchat.egress.egress_log import EgressLog, Purpose, Transfer
from tchat.errors import TchatError
from tchat.models.hub.client import (
    PUBLIC,
    HubError,
    ResponseLimits,
    download_chunks,
    error_for_status,
    get,
    host_of,
    not_a_hub_answer,
    read_body,
)
from tchat.models.hub.repository import (
    DEFAULT_REVISION,
    RepoFile,
    RepoListing,
    group_models,
    is_safe_path,
    parse_hub_name,
)
from tchat.translation import tr

if TYPE_CHECKING:
    import httpx2

EXPANDED = ("downloads", "likes", "gated", "tags", "lastModified", "gguf")
WHOLE_SECONDS = re.compile(r"[1-9][0-9]{0,5}")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
SHA256, OID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
SIZE_LIMIT = 1 << 50  # bytes; a larger size is wrong
COUNT_LIMIT = 1 << 63  # of downloads, weights or tokens
LICENCE = "license:"
MAX_REQUESTS = 8  # at the same time


class HubApi:
    """The API of the hub at ``endpoint``; safe to use from several threads.

    ``egress`` logs what is requested. Nothing is imported or requested before the first call.
    ``HF_ENDPOINT`` and
    ``HF_HUB_DOWNLOAD_TIMEOUT`` are read here, other variables by huggingface_hub.

    Raises, from its methods:
        RepositoryNotFound: There is no such repository.
        ModelNotFound: There is no such revision or file.
        HubError: The request failed, or the answer is not what was requested.
    """

    def __init__(
        self,
        egress: EgressLog,
        environ: Mapping[str, str] = os.environ,
        limits: ResponseLimits | None = None,
    ) -> None:
        self.egress = egress
        self.endpoint = (environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")
        self.limits = limits or ResponseLimits()
        seconds = environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        if WHOLE_SECONDS.fullmatch(seconds):
            self.limits = replace(self.limits, silence=float(seconds))

    def listing(self, repo: str, revision: str = DEFAULT_REVISION) -> RepoListing:
        """The models of a repository, with sizes and hashes."""
        path = f"/api/models/{repo}/revision/{quote(revision, safe='')}"
        return _listing(self._json(path, {"blobs": "true"}, repo), repo, revision)

    def search(self, words: str, limit: int = 10) -> list[RepoSummary]:
        """Repositories with GGUF files whose names contain ``words``; most downloaded first."""
        query = {"search": words, "filter": "gguf", "sort": "downloads", "limit": str(limit)}
        entries = self._json("/api/models", {**query, "expand": list(EXPANDED)}, "")
        if not isinstance(entries, list):
            raise not_a_hub_answer()
        return [_summary(entry) for entry in entries if parse_hub_name(_text(_get(entry, "id")))]

    def read_range(self, file: RepoFile, start: int, length: int) -> bytes:
        """``length`` bytes from ``start`` on, fewer at the end of the file."""
        return b"".join(self.chunks(file, start, min(start + length, file.size)))

    def chunks(self, file: RepoFile, start: int, end: int) -> Iterator[bytes]:
        """The bytes of ``file`` from ``start`` up to ``end``, in chunks as received."""
        if end <= start:
            return
        with self.open(file, start, end) as (begins, chunks):
            at = begins
            for chunk in chunks:
                yield chunk[max(0, start - at) : end - at]
                at += len(chunk)
                if at >= end:
                    return

    @contextmanager
    def open(
        self, file: RepoFile, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Request the bytes of ``file`` from ``start`` up to ``end``, or to its end.

        Gives the position of the first byte, 0 when the server does not support ranges, and the
        chunks. The authorization header is sent to the hub only: a redirect drops it.
        """
        path = f"/{file.repo}/resolve/{file.commit}/{quote(file.name)}"
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        purpose = Purpose.DOWNLOAD
        with self._answer(path, {}, headers, file.repo, purpose) as response:
            begins = _start(response, file, start)
            yield begins, download_chunks(response, self.limits, host_of(self.endpoint))

    def _json(self, path: str, params: Mapping[str, str | list[str]], repo: str) -> Any:
        with self._answer(path, params, {}, repo) as response:
            body = read_body(response, self.limits, host_of(self.endpoint))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise not_a_hub_answer() from None

    @contextmanager
    def _answer(
        self,
        path: str,
        params: Mapping[str, str | list[str]],
        headers: Mapping[str, str],
        repo: str,
        purpose: Purpose = Purpose.HUB,
    ) -> Iterator[httpx2.Response]:
        """The successful answer to a GET; reading its body may raise the same errors."""

        def begin(host: str, size: int) -> Transfer:
            return self.egress.begin(purpose, host, name=repo, sent=size)

        with get(self.endpoint + path, params, headers, self.limits, begin) as response:
            if response.status_code >= 400:
                import httpx2

                hub, came = httpx2.URL(self.endpoint), response.url
                signed = (hub.host, hub.port) != (came.host, came.port)
                raise error_for_status(response.status_code, response.headers, repo, signed=signed)
            yield response


def _start(response: httpx2.Response, file: RepoFile, offset: int) -> int:
    """The position of the answer's first byte in the file.

    Raises:
        HubError: The answer is not a part of this file.
    """
    if response.headers.get("content-type", "").startswith("text/html"):
        raise not_a_hub_answer()
    if response.status_code == 206:
        match = RANGE.fullmatch(response.headers.get("content-range", "").strip())
        fits = match and int(match[1]) == offset and match[2] in ("*", str(file.size))
    else:
        length = response.headers.get("content-length", str(file.size))
        fits = response.status_code == 200 and length == str(file.size)
        offset = 0
    if not fits:
        raise HubError(
            tr("the hub sent a different file than listed"), tr("try again"), transient=True
        )
    return offset


@dataclass(frozen=True, slots=True)
class RepoSummary:
    """A repository found by a search. Texts come from the hub: sanitize before printing.

    ``downloads`` are those of the last month, ``updated`` is a day such as ``2025-04-28``. A
    ``gated`` one asks for its terms to be accepted. What is unknown is empty or 0.
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


def _listing(value: Any, repo: str, revision: str) -> RepoListing:
    """A repository's models, from the API's answer."""
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


def _file(entry: Any, repo: str, commit: str, revision: str) -> RepoFile | None:
    """A file of the listing; None when its name, size or hash is not usable."""
    name, stored = _text(_get(entry, "rfilename")), _get(entry, "lfs")
    sha256 = _text(_get(stored, "sha256"))
    size = _count(_get(stored, "size") if sha256 else _get(entry, "size"))
    blob = sha256 or _text(_get(entry, "blobId"))
    known = (SHA256 if sha256 else OID).fullmatch(blob)
    if not known or not is_safe_path(name) or not 0 < size < SIZE_LIMIT:
        return None
    return RepoFile(repo, commit, revision, name, size, sha256, blob)


def _summary(entry: Any) -> RepoSummary:
    gguf = _get(entry, "gguf")
    day = DAY.match(_text(_get(entry, "lastModified")))
    return RepoSummary(
        repo=_text(_get(entry, "id")),
        downloads=_count(_get(entry, "downloads")),
        likes=_count(_get(entry, "likes")),
        licence=_licence(entry),
        gated=bool(_get(entry, "gated")),
        updated=day[0] if day else "",
        architecture=_text(_get(gguf, "architecture")),
        parameters=_count(_get(gguf, "total")),
        context_length=_count(_get(gguf, "context_length")),
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


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A repository that was found, with its models; None when they could not be listed."""

    hit: RepoSummary
    listing: RepoListing | None


def search_models(hub: HubApi, words: str, limit: int = 10) -> list[SearchResult]:
    """Search repositories with GGUF files, and list their models for the sizes of the files.

    Raises:
        HubError: The search failed.
    """
    from concurrent.futures import ThreadPoolExecutor

    def result(hit: RepoSummary) -> SearchResult:
        try:
            return SearchResult(hit, hub.listing(hit.repo))
        except TchatError:
            return SearchResult(hit, None)

    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        return list(pool.map(result, hub.search(words, limit)))
