"""HTTP requests to the hub, limited in time and size, over huggingface_hub's client.

The library provides the client (proxies, certificates), the token and offline mode. The requests
are made here because `HfApi` sleeps between attempts without notice, warns on standard error, and
reads answers of any size. Nothing is decompressed: a small answer could become gigabytes.

Messages hold nothing that the server wrote, and no URL but a repository's: an answer may hold a
signed link, and a request a token.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tchat import __version__
from tchat.errors import ModelNotFound, NetworkError, TchatError, UsageError
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    import httpx2

    from tchat.egress.http import Begin

PUBLIC = "https://huggingface.co"
TIMEOUT = 20.0  # seconds without a byte
REDIRECTS = 10
LONGEST_HOST = 253  # bytes of its name, without the point at its end
ENCODE_HINT = N_("write special characters of user and password as %XX, for example # as %23")
HINT = N_("check HF_TOKEN_PATH and HF_HOME, or set HF_TOKEN to your token")


CODE, MESSAGE = "x-error-code", "x-error-message"
TRANSIENT = frozenset({408, 425, 500, 502, 503, 504, 520, 522, 524})
RESET = re.compile(r";\s*t=(\d{1,9})")
LONGEST_WAIT = 3600.0  # seconds that a server may ask for
TOKENS = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """Limits of an answer of the hub.

    Attributes:
        silence: Seconds without a byte.
        headers: Seconds until the headers are complete.
        body: Bytes of a JSON answer; the longest real listings have about 2 MB.
        seconds: For a whole JSON answer.
        slow_bytes: A download with fewer bytes in ``slow_seconds`` fails.
    """

    silence: float = TIMEOUT
    headers: float = 60.0
    body: int = 8 << 20
    seconds: float = 60.0
    slow_bytes: int = 30 << 10
    slow_seconds: float = 30.0


def read_body(response: httpx2.Response, limits: ResponseLimits, host: str) -> bytes:
    """The whole body of a JSON answer; `HubError` when it is too long, slow, or compressed."""
    body, end = bytearray(), time.monotonic() + limits.seconds
    for chunk in _raw_chunks(response):
        body += chunk
        if len(body) > limits.body:
            raise HubError(
                tr("the answer of {host} is too long", host=host), tr("check HF_ENDPOINT")
            )
        if time.monotonic() > end:
            raise too_slow(host)
    return bytes(body)


def download_chunks(
    response: httpx2.Response, limits: ResponseLimits, host: str
) -> Iterator[bytes]:
    """The body of a download in chunks as received; `HubError` when it is slow, or compressed."""
    window, came = time.monotonic() + limits.slow_seconds, 0
    for chunk in _raw_chunks(response):
        came += len(chunk)
        if (now := time.monotonic()) >= window:
            if came < limits.slow_bytes:
                raise too_slow(host)
            window, came = now + limits.slow_seconds, 0
        yield chunk


def _raw_chunks(response: httpx2.Response) -> Iterator[bytes]:
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise not_a_hub_answer()
    return response.iter_raw()


@contextmanager
def get(
    url: str,
    params: Mapping[str, str | list[str]],
    headers: Mapping[str, str],
    limits: ResponseLimits,
    begin: Begin,
) -> Iterator[httpx2.Response]:
    """GET ``url`` and follow redirects; the body is not read yet. ``begin`` logs each request.

    The authorization header is sent to the host of ``url`` only.

    Raises:
        HubError: The hub cannot be reached, or does not answer in time; also raised when reading
            the body inside the block fails.
        UsageError: ``params`` hold lone surrogates.
    """
    if not _is_address(url, ("http", "https")):  # the library's own errors show parts of passwords
        hint = tr(
            "it is {public} if not set; {encode_hint}", public=PUBLIC, encode_hint=tr(ENCODE_HINT)
        )
        raise HubError(tr("HF_ENDPOINT is not a usable URL"), hint)
    host = host_of(url)
    with _library_errors():
        from huggingface_hub.errors import OfflineModeIsEnabled

        session = _session()
        import httpx2
    try:
        request = session.build_request(
            "GET",
            url,
            params=params or None,
            headers={**_own_headers(), "accept-encoding": "identity", **headers},
            timeout=limits.silence,
        )
        response = _within(limits.headers, lambda: _send(session, request, begin), host)
        try:
            yield response
        finally:
            response.close()
    except OfflineModeIsEnabled:
        raise HubError(
            tr("the hub is switched off by HF_HUB_OFFLINE"), tr("unset it to reach the hub")
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(error, host) from None
    except UnicodeError:
        raise UsageError(
            tr("the request holds text that is not valid Unicode"), tr("type other words")
        ) from None


def host_of(url: str) -> str:
    """The host of ``url``, for messages; the rest may hold a password."""
    try:
        return single_line(urlsplit(url).hostname or tr("the hub"), 100)
    except ValueError:
        return tr("the hub")


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        url.encode()
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").removesuffix(b".")
        return parts.scheme in schemes and 0 < len(host) <= LONGEST_HOST and (parts.port or 1) > 0
    except ValueError:
        return False


def _require_proxies() -> None:
    """Check the proxy URLs in the environment: the library's errors show parts of passwords."""
    from urllib.request import getproxies

    for scheme, address in getproxies().items():
        if scheme not in ("http", "https", "all") or not address:
            continue
        url = address if "://" in address else f"http://{address}"
        if not _is_address(url, ("http", "https", "socks4", "socks5", "socks5h")):
            raise HubError(
                tr("{upper}_PROXY is not the URL of a proxy", upper=scheme.upper()),
                tr(
                    "it has the form http://user:password@host:port; {encode_hint}",
                    encode_hint=tr(ENCODE_HINT),
                ),
            )


def _send(session: httpx2.Client, request: httpx2.Request, begin: Begin) -> httpx2.Response:
    """Send ``request`` and follow redirects without reading their bodies."""
    import httpx2

    from tchat.egress.http import send_logged

    for _ in range(REDIRECTS):
        try:
            response = send_logged(session, request, begin, stream=True)
        except RuntimeError as error:
            if not session.is_closed:
                raise
            # Another request timed out and closed the session.
            raise httpx2.ReadError(tr("the session was closed"), request=request) from error
        except httpx2.RemoteProtocolError as error:
            if "location header" not in str(error):
                raise
            raise _lost(request.url.host) from None
        if response.next_request is None:
            return response
        response.close()
        request = response.next_request
        if not _is_address(str(request.url), ("http", "https")):
            raise _lost(response.url.host)
    raise httpx2.TooManyRedirects(tr("too many redirects"), request=request)


def _lost(host: str) -> HubError:
    return HubError(
        tr("{host} redirects to no usable URL", host=single_line(host, 100)),
        tr("check HF_ENDPOINT and the proxy"),
    )


def _within(seconds: float, send: Callable[[], httpx2.Response], host: str) -> httpx2.Response:
    """The result of ``send``, run on a thread: headers may arrive a byte at a time.

    After ``seconds`` all connections are closed, which ends the thread; a late response is closed.
    """
    future: Future[httpx2.Response] = Future()

    def work() -> None:
        try:
            future.set_result(send())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            future.set_exception(error)

    threading.Thread(target=work, name="hub-request", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        _abort(future)
        raise too_slow(host) from None
    except KeyboardInterrupt:
        _abort(future)
        raise


def _abort(future: Future[httpx2.Response]) -> None:
    """Abort a request on its thread: its next read fails.

    The client does not tell which connection a request uses, so all are closed. A download on
    another thread is cut too, and resumes with its next attempt.
    """
    from huggingface_hub import close_session

    def close(done: Future[httpx2.Response]) -> None:
        if done.exception() is None:
            done.result().close()

    future.add_done_callback(close)
    close_session()


def too_slow(host: str) -> HubError:
    """The error for an answer that takes too long."""
    return HubError(
        tr("{host} answers too slowly", host=host), tr("try again later"), transient=True
    )


@contextmanager
def _library_errors() -> Iterator[None]:
    """Translate errors of importing huggingface_hub, which reads its variables then."""
    try:
        yield
    except ValueError:
        raise HubError(
            tr("a variable of huggingface_hub has a value that it cannot use"),
            tr("check the variables whose names begin with HF_"),
        ) from None


def _session() -> httpx2.Client:
    """The library's session, created at the first call by proxy and certificate variables."""
    import httpx2
    from huggingface_hub import get_session

    _require_proxies()
    try:
        return get_session()
    except ImportError:
        raise HubError(
            tr("a SOCKS proxy needs one more package"), tr("run: pip install 'httpx2[socks]'")
        ) from None
    except (ValueError, httpx2.InvalidURL):
        raise HubError(
            tr("the address of the proxy cannot be used"),
            tr("check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
        ) from None
    except OSError as error:
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log and error.filename == key_log:
            raise HubError(
                tr(
                    "the file that SSLKEYLOGFILE names cannot be written: {reason}",
                    reason=error.strerror,
                ),
                tr("correct the variable, or unset it"),
            ) from None
        raise HubError(
            tr(
                "the certificates cannot be read: {reason}",
                reason=error.strerror or tr("they are damaged"),
            ),
            tr("check SSL_CERT_FILE and SSL_CERT_DIR"),
        ) from None


def _own_headers() -> dict[str, str]:
    """The headers: the token, when there is one, and a user agent with name and version only.

    `build_hf_headers` would send more, and request a table of agents from the hub for it.
    """
    found = token()
    headers = {"user-agent": f"tchat/{__version__}"}
    return headers | {"authorization": f"Bearer {found}"} if found else headers


def _unreachable(error: Exception, where: str) -> HubError:
    """Translate an error of the HTTP client."""
    import httpx2

    message, hint = (
        tr("the connection to {where} was cut", where=where),
        tr("try again: the pull resumes"),
    )
    transient = isinstance(error, httpx2.TransportError)
    match error:
        case httpx2.TimeoutException():
            message, hint = (
                tr("{where} does not answer in time", where=where),
                tr("try again later"),
            )
        case httpx2.ConnectError():
            message, hint, transient = _unconnected(str(error), where)
        case httpx2.ProxyError():
            message, hint = (
                tr("the proxy refuses to reach {where}", where=where),
                tr("check HTTPS_PROXY and NO_PROXY"),
            )
            transient = False
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            message = tr("HF_ENDPOINT is not a usable URL")
            hint, transient = tr("it is {public} if not set", public=PUBLIC), False
        case httpx2.LocalProtocolError():
            message, hint = tr("the request cannot be sent"), tr("check HF_TOKEN and HF_ENDPOINT")
            transient = False
        case httpx2.TooManyRedirects():
            message, hint = (
                tr("{where} redirects in a circle", where=where),
                tr("check HF_ENDPOINT and the proxy"),
            )
    return HubError(message, hint, transient=transient)


def _unconnected(reason: str, where: str) -> tuple[str, str, bool]:
    """Message, hint, and whether it is transient, for a failed connection."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = tr(
            "a proxy may stand in between: set SSL_CERT_FILE to its certificate; check the clock"
        )
        return tr("the certificate of {where} cannot be verified", where=where), hint, False
    if "SSL" in reason or "TLS" in reason:
        return (
            tr("no safe connection to {where}: TLS fails", where=where),
            tr("check HF_ENDPOINT"),
            False,
        )
    return (
        tr("cannot reach {where}", where=where),
        tr("check the network connection and the proxy"),
        True,
    )


def token() -> str | None:
    """The token sent with each request, if any; `HubError` when it cannot be read or sent."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    if not (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        _require_file(Path(constants.HF_TOKEN_PATH))
    try:
        found = get_token()
    except OSError as error:
        raise _unreadable(error.strerror or tr("the disk fails")) from None
    except UnicodeError:
        raise _unreadable(tr("its file holds no text")) from None
    if found and not found.isascii():
        raise HubError(
            tr("your token is not ASCII text"), tr("set HF_TOKEN to it as the hub shows it")
        )
    return found


def _require_file(path: Path) -> None:
    """Check that the token's file is not a pipe or a device: reading it may never end."""
    try:
        status = path.stat()
        mode = status.st_mode
        regular = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        if regular or os.path.samestat(status, os.stat(os.devnull)):  # noqa: PTH116
            return
    except OSError:
        return  # reading it reports the error
    raise _unreadable(tr("its file is a pipe or a device"))


def _unreadable(reason: str) -> HubError:
    return HubError(tr("the token for the hub cannot be read: {reason}", reason=reason), tr(HINT))


class HubError(NetworkError):
    """A request to the hub failed.

    ``transient``: the same request may succeed later. ``retry_after``: seconds to wait, where the
    server asked for it.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.transient = transient
        self.retry_after = retry_after


class RepositoryNotFound(ModelNotFound):
    """The hub has no such repository, or hides it."""


def error_for_status(
    status: int, headers: Mapping[str, str], repo: str, *, signed: bool
) -> TchatError:
    """The error for an answer with a status from 400 on.

    ``repo`` is empty for a search. A ``signed`` answer came from the storage that the hub redirects
    to.
    """
    if status == 429:
        return _rate_limited(headers)
    if status in TRANSIENT:
        return HubError(
            tr("the hub has a problem (HTTP {status})", status=status),
            tr("try again later"),
            transient=True,
        )
    if signed:
        # Links to the storage expire; the hub signs a new one for each request.
        return HubError(
            tr("the hub's storage refuses the download (HTTP {status})", status=status),
            transient=True,
        )
    if headers.get(MESSAGE, "").startswith("Invalid credentials"):
        return HubError(
            tr("the hub refuses your token"),
            tr("set HF_TOKEN to a valid one: {tokens}", tokens=TOKENS),
        )
    if not repo:
        return _no_search(status)
    return _by_code(headers, repo) or _by_status(status, repo)


def _by_code(headers: Mapping[str, str], repo: str) -> TchatError | None:
    """The error by the hub's error code or message; None when it sent neither."""
    code, message = headers.get(CODE, ""), headers.get(MESSAGE, "")
    if code == "GatedRepo":
        return HubError(
            tr("the model {repo} is gated: its terms must be accepted first", repo=repo),
            tr(
                "accept them at https://huggingface.co/{repo}, then set HF_TOKEN to your token",
                repo=repo,
            ),
        )
    if code == "RevisionNotFound":
        return ModelNotFound(
            tr("the repository {repo} has no such revision", repo=repo), tr("leave it out")
        )
    if code == "EntryNotFound":
        return ModelNotFound(
            tr("the repository {repo} has no such file", repo=repo), tr("it may have been renamed")
        )
    if "disabled" in message:
        return HubError(
            tr("the hub has disabled the model {repo}", repo=repo), tr("choose another one")
        )
    return None


def _no_search(status: int) -> HubError:
    """The error of a search, which names no repository."""
    hint = tr("check HF_ENDPOINT, if it is set")
    if status in (401, 403):
        hint = tr("{hint}, and the rights of your token: {tokens}", hint=hint, tokens=TOKENS)
    return HubError(tr("the hub answers a search with HTTP {status}", status=status), hint)


def _by_status(status: int, repo: str) -> TchatError:
    if status in (401, 404):
        return RepositoryNotFound(
            tr("the hub has no model {repo}", repo=repo),
            tr("if it is private, set HF_TOKEN to your token"),
        )
    if status == 403:
        return HubError(
            tr("the hub refuses access to {repo}", repo=repo),
            tr("check the rights of your token: {tokens}", tokens=TOKENS),
        )
    return HubError(
        tr("the hub answers with HTTP {status}", status=status),
        tr("check HF_ENDPOINT, if it is set"),
    )


def _rate_limited(headers: Mapping[str, str]) -> HubError:
    seconds = seconds_asked(headers)
    when = tr("try again in {seconds:.0f} s", seconds=seconds) if seconds else tr("try again later")
    return HubError(
        tr("the hub limits the rate of requests (HTTP 429)"),
        tr("{when}, or set HF_TOKEN to your token for a higher limit", when=when),
        transient=True,
        retry_after=seconds,
    )


def seconds_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by ``Retry-After`` or ``RateLimit: "api";r=0;t=55``; None for neither."""
    text = headers.get("retry-after", "").strip()
    reset = RESET.search(headers.get("ratelimit", ""))
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    return min(float(reset[1]), LONGEST_WAIT) if reset else None


def not_a_hub_answer() -> HubError:
    """The error for a web page in place of the hub's answer, mostly a network's sign-in page."""
    return HubError(
        tr("the network sent a web page instead of the hub's answer"),
        tr("sign in to this network in a browser, or check HF_ENDPOINT and the proxy settings"),
    )
