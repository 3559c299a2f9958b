"""The hub: what it lists, and the bytes of its files. The only importer of huggingface_hub.

The library brings the session (proxies, certificates), the token and offline mode. The requests
are made here, because `HfApi` waits between its attempts without a word, and warns on standard
error. What fails ends here as `HubError` or `ModelNotFound`, without the addresses that it names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tchat import __version__
from tchat.errors import TchatError
from tchat.models.hub_answers import HubError, not_the_hub, refusal
from tchat.models.hub_files import Listing, RemoteFile
from tchat.models.hub_json import Hit, hits, listing
from tchat.models.hub_name import DEFAULT_REVISION
from tchat.sanitize import single_line

if TYPE_CHECKING:
    import httpx2

PUBLIC = "https://huggingface.co"
TIMEOUT = 20.0  # seconds without a byte
EXPANDED = ("downloads", "likes", "gated", "tags", "lastModified", "gguf")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a file: ``chunks`` from byte ``start`` on."""

    start: int
    chunks: Iterator[bytes]


class Hub:
    """One hub. Nothing is imported and nothing is asked before the first call.

    Its calls are safe from several threads.

    Args:
        environ: Read for ``HF_ENDPOINT`` and ``HF_HUB_DOWNLOAD_TIMEOUT``; the library reads its
            other variables itself.

    Attributes:
        endpoint: The hub's address.
        timeout: Seconds without a byte after which a request is given up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.endpoint = (environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")
        seconds = environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        self.timeout = float(seconds) if seconds.isdigit() and int(seconds) else TIMEOUT

    def listing(self, repo: str, revision: str = DEFAULT_REVISION) -> Listing:
        """The models of a repository, with sizes and hashes.

        Raises:
            RepositoryNotFound: There is none of this name.
            ModelNotFound: There is no such revision.
            HubError: The hub cannot be asked, or refuses.
        """
        path = f"/api/models/{repo}/revision/{quote(revision, safe='')}"
        return listing(self._json(path, {"blobs": "true"}, repo), repo, revision)

    def search(self, words: str, limit: int = 10) -> list[Hit]:
        """Repositories with GGUF files whose names hold ``words``; most downloaded first.

        Raises:
            HubError: The hub cannot be asked, or refuses.
        """
        query = {"search": words, "filter": "gguf", "sort": "downloads", "limit": str(limit)}
        return hits(self._json("/api/models", {**query, "expand": list(EXPANDED)}, ""))

    def read_range(self, file: RemoteFile, start: int, length: int) -> bytes:
        """``length`` bytes from ``start`` on, fewer at the end of the file; for reading headers.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses.
        """
        return b"".join(self.chunks(file, start, min(start + length, file.size)))

    def chunks(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
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
    def open(self, file: RemoteFile, start: int = 0, end: int | None = None) -> Iterator[Body]:
        """Ask for the bytes of ``file`` from ``start`` up to ``end``, or to its end.

        The body starts at 0 when the server does not know ranges. The authorization header goes
        to the hub only: a redirect to another host drops it.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses, or answers with something else.
        """
        path = f"/{file.repo}/resolve/{file.commit}/{quote(file.name)}"
        # Ranges count the bytes that travel, so nothing may be compressed.
        headers = {"accept-encoding": "identity"}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answer(path, {}, headers, file.repo) as response:
            yield Body(_start(response, file, start), response.iter_raw())

    def _json(self, path: str, params: Mapping[str, str | list[str]], repo: str) -> Any:
        with self._answer(path, params, {}, repo) as response:
            response.read()
            try:
                return response.json()
            except (ValueError, RecursionError):
                raise not_the_hub() from None

    @contextmanager
    def _answer(
        self,
        path: str,
        params: Mapping[str, str | list[str]],
        headers: Mapping[str, str],
        repo: str,
    ) -> Iterator[httpx2.Response]:
        """The answer to a GET, when it is a success; reading it may fail in the same ways."""
        import httpx2
        from huggingface_hub.errors import OfflineModeIsEnabled

        session = _session()
        try:
            with session.stream(
                "GET",
                self.endpoint + path,
                params=params or None,
                headers={**_own_headers(), **headers},
                timeout=self.timeout,
            ) as response:
                if response.status_code >= 400:
                    raise self._refusal(response, repo)
                yield response
        except OfflineModeIsEnabled:
            raise HubError(
                "the hub is switched off by HF_HUB_OFFLINE", "unset it to reach the hub"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _unreachable(error, self._host) from None
        except UnicodeError:
            raise HubError("HF_TOKEN or HF_ENDPOINT holds no ASCII text", "correct it") from None

    @property
    def _host(self) -> str:
        """The hub's name for messages: the endpoint may hold a password."""
        try:
            return single_line(urlsplit(self.endpoint).hostname or "the hub", 100)
        except ValueError:
            return "the hub"

    def _refusal(self, response: httpx2.Response, repo: str) -> TchatError:
        import httpx2

        hub, came = httpx2.URL(self.endpoint), response.url
        signed = (hub.host, hub.port) != (came.host, came.port)
        return refusal(response.status_code, response.headers, repo, signed=signed)


def _session() -> httpx2.Client:
    """The library's session, made at the first call by proxy and certificate variables.

    Raises:
        HubError: One of them cannot be used.
    """
    from huggingface_hub import get_session

    try:
        return get_session()
    except ImportError:
        raise HubError(
            "a SOCKS proxy needs one more package", "run: pip install 'httpx2[socks]'"
        ) from None
    except ValueError:
        raise HubError(
            "the address of the proxy cannot be used", "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        ) from None
    except OSError as error:
        raise HubError(
            f"the certificates cannot be read: {error.strerror or 'they are damaged'}",
            "check SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


def _own_headers() -> dict[str, str]:
    """The token, when there is one, and who asks: no more than name and version.

    `build_hf_headers` would tell more, and ask the hub for a table of callers to do so.
    """
    from huggingface_hub import constants, get_token

    headers = {"user-agent": f"tchat/{__version__}"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return headers | {"authorization": f"Bearer {token}"} if token else headers


def _start(response: httpx2.Response, file: RemoteFile, wanted: int) -> int:
    """The first byte that the answer brings.

    Raises:
        HubError: It is no part of this file.
    """
    if response.headers.get("content-type", "").startswith("text/html"):
        raise not_the_hub()
    if response.status_code == 206:
        told = RANGE.fullmatch(response.headers.get("content-range", "").strip())
        fits = told and int(told[1]) == wanted and told[2] in ("*", str(file.size))
    else:
        length = response.headers.get("content-length", str(file.size))
        fits = response.status_code == 200 and length == str(file.size)
        wanted = 0
    if not fits:
        raise HubError("the hub sends another file than it lists", "try again", passing=True)
    return wanted


def _unreachable(error: Exception, where: str) -> HubError:
    """The failure behind an error of the HTTP client."""
    import httpx2

    message, hint = f"the connection to {where} was cut", "try again: a pull goes on"
    passing = isinstance(error, httpx2.TransportError)
    match error:
        case httpx2.TimeoutException():
            message, hint = f"{where} does not answer in time", "try again later"
        case httpx2.ConnectError():
            message, hint, passing = _unconnected(str(error), where)
        case httpx2.ProxyError():
            message, hint = f"the proxy refuses to reach {where}", "check HTTPS_PROXY and NO_PROXY"
            passing = False
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            message = "HF_ENDPOINT is no address that can be asked"
            hint, passing = f"it is {PUBLIC} if not set", False
        case httpx2.LocalProtocolError():
            message, hint = "the request cannot be sent", "check HF_TOKEN and HF_ENDPOINT"
            passing = False
        case httpx2.TooManyRedirects():
            message, hint = f"{where} redirects in a circle", "check HF_ENDPOINT and the proxy"
    return HubError(message, hint, passing=passing)


def _unconnected(reason: str, where: str) -> tuple[str, str, bool]:
    """Message, hint, and whether it may pass, for a connection that was not made."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "a proxy may stand in between: set SSL_CERT_FILE to its certificate; check the clock"
        return f"the certificate of {where} cannot be verified", hint, False
    if "SSL" in reason or "TLS" in reason:
        return f"no safe connection to {where}: TLS fails", "check HF_ENDPOINT", False
    return f"cannot reach {where}", "check the network connection and the proxy", True
