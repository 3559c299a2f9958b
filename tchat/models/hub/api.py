"""The hub: what it lists, and the bytes of its files.

What fails ends here as `HubError` or `ModelNotFound`, without the addresses that it names.
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

from tchat.errors import TchatError
from tchat.models.hub.client import PUBLIC, ResponseLimits, download_chunks, get, host_of, read_body
from tchat.models.hub.errors import HubError, error_for_status, not_a_hub_answer
from tchat.models.hub.names import DEFAULT_REVISION
from tchat.models.hub.repo_files import RepoFile, RepoListing
from tchat.models.hub.responses import RepoSummary, hits, listing

if TYPE_CHECKING:
    import httpx2

EXPANDED = ("downloads", "likes", "gated", "tags", "lastModified", "gguf")
WHOLE_SECONDS = re.compile(r"[1-9][0-9]{0,5}")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class FileBody:
    """The bytes of a file: ``chunks`` from byte ``start`` on."""

    start: int
    chunks: Iterator[bytes]


class HubApi:
    """One hub. Nothing is imported and nothing is asked before the first call.

    Its calls are safe from several threads.

    Args:
        environ: Read for ``HF_ENDPOINT`` and ``HF_HUB_DOWNLOAD_TIMEOUT``; the library reads its
            other variables itself.
        limits: Of each answer.

    Attributes:
        endpoint: The hub's address.
        limits: Of each answer.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, limits: ResponseLimits | None = None
    ) -> None:
        self.endpoint = (environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")
        self.limits = limits or ResponseLimits()
        seconds = environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        if WHOLE_SECONDS.fullmatch(seconds):
            self.limits = replace(self.limits, silence=float(seconds))

    @property
    def timeout(self) -> float:
        """Seconds without a byte after which a request is given up."""
        return self.limits.silence

    def listing(self, repo: str, revision: str = DEFAULT_REVISION) -> RepoListing:
        """The models of a repository, with sizes and hashes.

        Raises:
            RepositoryNotFound: There is none of this name.
            ModelNotFound: There is no such revision.
            HubError: The hub cannot be asked, or refuses.
        """
        path = f"/api/models/{repo}/revision/{quote(revision, safe='')}"
        return listing(self._json(path, {"blobs": "true"}, repo), repo, revision)

    def search(self, words: str, limit: int = 10) -> list[RepoSummary]:
        """Repositories with GGUF files whose names hold ``words``; most downloaded first.

        Raises:
            HubError: The hub cannot be asked, or refuses.
        """
        query = {"search": words, "filter": "gguf", "sort": "downloads", "limit": str(limit)}
        return hits(self._json("/api/models", {**query, "expand": list(EXPANDED)}, ""))

    def read_range(self, file: RepoFile, start: int, length: int) -> bytes:
        """``length`` bytes from ``start`` on, fewer at the end of the file; for reading headers.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses.
        """
        return b"".join(self.chunks(file, start, min(start + length, file.size)))

    def chunks(self, file: RepoFile, start: int, end: int) -> Iterator[bytes]:
        """The bytes of ``file`` from ``start`` up to ``end``, as they come.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses.
        """
        if end <= start:
            return
        with self.open(file, start, end) as body:
            at = body.start  # 0 where the server does not know ranges
            for chunk in body.chunks:
                yield chunk[max(0, start - at) : end - at]
                at += len(chunk)
                if at >= end:
                    return

    @contextmanager
    def open(self, file: RepoFile, start: int = 0, end: int | None = None) -> Iterator[FileBody]:
        """Ask for the bytes of ``file`` from ``start`` up to ``end``, or to its end.

        The body starts at 0 when the server does not know ranges. The authorization header goes
        to the hub only: a redirect to another host drops it.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses, or answers with something else.
        """
        path = f"/{file.repo}/resolve/{file.commit}/{quote(file.name)}"
        headers = {}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answer(path, {}, headers, file.repo) as response:
            begins = _start(response, file, start)
            yield FileBody(begins, download_chunks(response, self.limits, self._host))

    def _json(self, path: str, params: Mapping[str, str | list[str]], repo: str) -> Any:
        with self._answer(path, params, {}, repo) as response:
            body = read_body(response, self.limits, self._host)
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
    ) -> Iterator[httpx2.Response]:
        """The answer to a GET, when it is a success; reading it may fail in the same ways."""
        with get(self.endpoint + path, params, headers, self.limits) as response:
            if response.status_code >= 400:
                raise self._refusal(response, repo)
            yield response

    @property
    def _host(self) -> str:
        return host_of(self.endpoint)

    def _refusal(self, response: httpx2.Response, repo: str) -> TchatError:
        import httpx2

        hub, came = httpx2.URL(self.endpoint), response.url
        signed = (hub.host, hub.port) != (came.host, came.port)
        return error_for_status(response.status_code, response.headers, repo, signed=signed)


def _start(response: httpx2.Response, file: RepoFile, wanted: int) -> int:
    """The first byte that the answer brings.

    Raises:
        HubError: It is no part of this file.
    """
    if response.headers.get("content-type", "").startswith("text/html"):
        raise not_a_hub_answer()
    if response.status_code == 206:
        told = RANGE.fullmatch(response.headers.get("content-range", "").strip())
        fits = told and int(told[1]) == wanted and told[2] in ("*", str(file.size))
    else:
        length = response.headers.get("content-length", str(file.size))
        fits = response.status_code == 200 and length == str(file.size)
        wanted = 0
    if not fits:
        raise HubError("the hub sends another file than it lists", "try again", transient=True)
    return wanted
