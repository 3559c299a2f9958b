"""Requests to the hub, each bounded in time and size, over huggingface_hub's HTTP client.

The library brings the client (proxies, certificates), the token and offline mode. The requests are
made here, because `HfApi` waits between its attempts without a word, warns on standard error, and
reads answers of any size. Nothing is decompressed: a small answer could become gigabytes.
"""

from __future__ import annotations

import os
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
from tchat.errors import UsageError
from tchat.models.hub.errors import HubError, not_a_hub_answer
from tchat.sanitize import single_line

if TYPE_CHECKING:
    import httpx2

PUBLIC = "https://huggingface.co"
TIMEOUT = 20.0  # seconds without a byte
REDIRECTS = 10
LONGEST_HOST = 253  # bytes of its name, without the point at its end
ENCODE_HINT = "write special characters of user and password as %XX, for example # as %23"


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """What an answer of the hub may cost.

    Attributes:
        silence: Seconds without a byte.
        headers: Seconds until the headers of an answer are complete.
        body: Bytes of a JSON answer; the longest real listings have about 2 MB.
        seconds: For the whole of a JSON answer.
        slow_bytes: A download that brings fewer bytes than these in ``slow_seconds`` is given up.
        slow_seconds: The window of ``slow_bytes``.
    """

    silence: float = TIMEOUT
    headers: float = 60.0
    body: int = 8 << 20
    seconds: float = 60.0
    slow_bytes: int = 30 << 10
    slow_seconds: float = 30.0


def read_body(response: httpx2.Response, limits: ResponseLimits, host: str) -> bytes:
    """The whole body of a JSON answer.

    Raises:
        HubError: It is too long, too slow, or compressed although that was not asked for.
    """
    body, end = bytearray(), time.monotonic() + limits.seconds
    for chunk in _raw_chunks(response):
        body += chunk
        if len(body) > limits.body:
            raise HubError(f"the answer of {host} is too long", "check HF_ENDPOINT")
        if time.monotonic() > end:
            raise too_slow(host)
    return bytes(body)


def download_chunks(
    response: httpx2.Response, limits: ResponseLimits, host: str
) -> Iterator[bytes]:
    """The body of a download as it comes.

    Raises:
        HubError: It comes too slowly, or compressed.
    """
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
) -> Iterator[httpx2.Response]:
    """GET ``url`` and follow redirects; the body is not read yet.

    The authorization header goes to the host of ``url`` only: a redirect to another drops it.

    Raises:
        HubError: The hub cannot be reached, or does not answer in time; reading the body inside
            the block may fail in the same ways.
        UsageError: ``params`` hold text that is no Unicode.
    """
    require_address(url)
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
        response = _within(limits.headers, lambda: _send(session, request), host)
        try:
            yield response
        finally:
            response.close()
    except OfflineModeIsEnabled:
        raise HubError(
            "the hub is switched off by HF_HUB_OFFLINE", "unset it to reach the hub"
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(error, host) from None
    except UnicodeError:
        raise UsageError("the request holds text that is no Unicode", "type other words") from None


def host_of(url: str) -> str:
    """The host of ``url`` for messages: the rest may hold a password."""
    try:
        return single_line(urlsplit(url).hostname or "the hub", 100)
    except ValueError:
        return "the hub"


def require_address(url: str) -> None:
    """Check an address before the library reads it: what it raises shows parts of passwords.

    Raises:
        HubError: It is no ``http://`` or ``https://`` address.
    """
    if not _is_address(url, ("http", "https")):
        raise HubError(
            "HF_ENDPOINT is no address that can be asked",
            f"it is {PUBLIC} if not set; {ENCODE_HINT}",
        )


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        url.encode()
        parts = urlsplit(url)
        return parts.scheme in schemes and _is_host(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_host(name: str | None) -> bool:
    """Whether ``name`` may be that of a host; for a wrong label the codec raises `ValueError`."""
    return bool(name) and len((name or "").encode("idna").removesuffix(b".")) <= LONGEST_HOST


def _require_proxies() -> None:
    """Check the addresses of proxies in the environment, for the same reason.

    Raises:
        HubError: One is no address; names its variable.
    """
    from urllib.request import getproxies

    for scheme, address in getproxies().items():
        if scheme not in ("http", "https", "all") or not address:
            continue
        url = address if "://" in address else f"http://{address}"
        if not _is_address(url, ("http", "https", "socks4", "socks5", "socks5h")):
            raise HubError(
                f"{scheme.upper()}_PROXY is no address of a proxy",
                f"it has the form http://user:password@host:port; {ENCODE_HINT}",
            )


def _send(session: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
    """Send ``request`` and follow redirects without reading their bodies.

    Raises:
        HubError: One leads to no address.
    """
    import httpx2

    for _ in range(REDIRECTS):
        try:
            response = session.send(request, stream=True, follow_redirects=False)
        except RuntimeError as error:
            if not session.is_closed:
                raise
            # Another request was given up meanwhile.
            raise httpx2.ReadError("the session was closed", request=request) from error
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
    raise httpx2.TooManyRedirects("too many redirects", request=request)


def _lost(host: str) -> HubError:
    return HubError(
        f"{single_line(host, 100)} redirects to no address that can be asked",
        "check HF_ENDPOINT and the proxy",
    )


def _within(seconds: float, send: Callable[[], httpx2.Response], host: str) -> httpx2.Response:
    """What ``send`` returns; it runs on a thread, because headers may come a byte at a time.

    Raises:
        HubError: It takes longer than ``seconds``; the connections are closed, which ends the
            thread, and what comes later is closed.
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
        _give_up(future)
        raise too_slow(host) from None
    except KeyboardInterrupt:
        _give_up(future)
        raise


def _give_up(future: Future[httpx2.Response]) -> None:
    """End a request that runs on its thread: its next read fails.

    The client tells nobody which connection a request uses, so all are closed: a download on
    another thread is cut too, and goes on with its next attempt.
    """
    from huggingface_hub import close_session

    future.add_done_callback(_close)
    close_session()


def _close(future: Future[httpx2.Response]) -> None:
    if future.exception() is None:
        future.result().close()


def too_slow(host: str) -> HubError:
    """The failure of an answer that comes, but not in any useful time."""
    return HubError(f"{host} answers too slowly", "try again later", transient=True)


@contextmanager
def _library_errors() -> Iterator[None]:
    """What huggingface_hub raises while it is imported: it reads its variables then.

    Raises:
        HubError: A variable has a value that it cannot use.
    """
    try:
        yield
    except ValueError:
        raise HubError(
            "a variable of huggingface_hub has a value that it cannot use",
            "check the variables whose names begin with HF_",
        ) from None


def _session() -> httpx2.Client:
    """The library's session, made at the first call by proxy and certificate variables.

    Raises:
        HubError: One of them cannot be used.
    """
    import httpx2
    from huggingface_hub import get_session

    _require_proxies()
    try:
        return get_session()
    except ImportError:
        raise HubError(
            "a SOCKS proxy needs one more package", "run: pip install 'httpx2[socks]'"
        ) from None
    except (ValueError, httpx2.InvalidURL):
        raise HubError(
            "the address of the proxy cannot be used", "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        ) from None
    except OSError as error:
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log and error.filename == key_log:
            raise HubError(
                f"the file that SSLKEYLOGFILE names cannot be written: {error.strerror}",
                "correct the variable, or unset it",
            ) from None
        raise HubError(
            f"the certificates cannot be read: {error.strerror or 'they are damaged'}",
            "check SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None


def _own_headers() -> dict[str, str]:
    """The token, when there is one, and who asks: no more than name and version.

    `build_hf_headers` would tell more, and ask the hub for a table of callers to do so.

    Raises:
        HubError: The token cannot be read or sent.
    """
    found = token()
    headers = {"user-agent": f"tchat/{__version__}"}
    return headers | {"authorization": f"Bearer {found}"} if found else headers


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
    return HubError(message, hint, transient=passing)


def _unconnected(reason: str, where: str) -> tuple[str, str, bool]:
    """Message, hint, and whether it may pass, for a connection that was not made."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "a proxy may stand in between: set SSL_CERT_FILE to its certificate; check the clock"
        return f"the certificate of {where} cannot be verified", hint, False
    if "SSL" in reason or "TLS" in reason:
        return f"no safe connection to {where}: TLS fails", "check HF_ENDPOINT", False
    return f"cannot reach {where}", "check the network connection and the proxy", True


HINT = "check HF_TOKEN_PATH and HF_HOME, or set HF_TOKEN to your token"


def token() -> str | None:
    """The token that is sent with each request; None for none.

    Raises:
        HubError: It cannot be read or sent.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    if not (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        _require_file(Path(constants.HF_TOKEN_PATH))
    try:
        found = get_token()
    except OSError as error:
        raise _unreadable(error.strerror or "the disk fails") from None
    except UnicodeError:
        raise _unreadable("its file holds no text") from None
    if found and not found.isascii():
        raise HubError("your token is no ASCII text", "set HF_TOKEN to it as the hub shows it")
    return found


def _require_file(path: Path) -> None:
    """Refuse a pipe or a device in the place of the token's file: reading it may never end.

    Raises:
        HubError: It is one.
    """
    try:
        status = path.stat()
        mode = status.st_mode
        regular = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        if regular or os.path.samestat(status, os.stat(os.devnull)):  # noqa: PTH116
            return
    except OSError:
        return  # reading tells
    raise _unreadable("its file is a pipe or a device")


def _unreadable(reason: str) -> HubError:
    return HubError(f"the token for the hub cannot be read: {reason}", HINT)
