"""What can go wrong with a server, in one line each.

What a server wrote is untrusted: it is shown on one line, and the key is cut out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tchat.errors import ModelNotFound, NetworkError, PromptTooLong, TchatError
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.servers.config import Server

BUSY = frozenset({429, 502, 503, 504})  # statuses after which trying again helps
LONGEST_REASON = 300  # characters of what a server says
TEST_HINT = N_("`tchat servers test {name}` shows what it answers")
_CONTEXT = re.compile(
    r"exceed_context_size|context_length_exceeded|maximum context length|context (?:size|window)"
    r"|longer than the (?:model's )?context|exceeds the (?:available )?context"
    r"|n_ctx|too many tokens|prompt is too long",
    re.IGNORECASE,
)


class ServerError(NetworkError):
    """A server cannot be reached, or answers with an error.

    Attributes:
        retry_after: Seconds after which trying again may help; None where it does not help.
    """

    def __init__(self, message: str, hint: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


def without_key(text: str, key: str) -> str:
    """``text`` without ``key``, which a server may repeat."""
    return text.replace(key, "…") if key else text


def status_error(
    server: Server, status: int, media_type: str, body: bytes, *, key: str, retry_after: str = ""
) -> TchatError:
    """The error for an answer with ``status`` and ``body``."""
    reason = single_line(without_key(_reason_in(body, media_type), key), LONGEST_REASON)
    if status in (401, 403):
        return _refused_key(server, has_key=bool(key))
    if status in (400, 413, 422) and _CONTEXT.search(reason):
        return PromptTooLong(
            tr("the prompt is too long for {name}: {reason}", name=server.name, reason=reason),
            tr(
                "shorten it; tchat servers add … --ctx-size TOKENS tells what fits, so that old "
                "turns are left out"
            ),
        )
    if status == 404:
        return _not_found(server, reason)
    if 300 <= status < 400:
        return ServerError(
            tr("{host} redirects elsewhere, which is not followed", host=server.host),
            tr("correct its url: tchat servers add {name} URL", name=server.name),
        )
    said = tr("{name} answers with status {status}", name=server.name, status=status)
    if reason:
        said = tr("{message}: {reason}", message=said, reason=reason)
    if status in BUSY:
        return ServerError(said, tr("try again later"), retry_after=_seconds(retry_after))
    return ServerError(said, tr(TEST_HINT, name=server.name))


def _refused_key(server: Server, *, has_key: bool) -> ServerError:
    if has_key:
        hint = tr("check the key: {place}", place=server.key_env or tr("in the keyring"))
    else:
        hint = tr(
            "name its key: tchat servers add {name} {url} --key-env VARIABLE",
            name=server.name,
            url=server.url,
        )
    return ServerError(tr("{name} refuses access", name=server.name), hint)


def _not_found(server: Server, reason: str) -> TchatError:
    if "model" in reason.casefold():
        return ModelNotFound(
            tr("{name}: {reason}", name=server.name, reason=reason),
            tr("`tchat servers test {name}` lists its models", name=server.name),
        )
    return ServerError(
        tr("{name} has no chat at {url}", name=server.name, url=server.url),
        tr("check its url, which mostly ends in /v1"),
    )


def _seconds(retry_after: str) -> float:
    """The seconds of a ``Retry-After`` header; 0 for none, a date included."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", retry_after) else 0.0


def stream_error(server: Server, error: object, *, key: str) -> TchatError:
    """The error that came within a stream."""
    reason = without_key(_reason_of(error), key) or tr("no reason given")
    reason = single_line(reason, LONGEST_REASON)
    if _CONTEXT.search(reason):
        return PromptTooLong(
            tr("the prompt is too long for {name}: {reason}", name=server.name, reason=reason),
            tr("shorten it, or use a model with a longer context"),
        )
    return ServerError(
        tr("{name} ended the reply: {reason}", name=server.name, reason=reason),
        tr("what was written is kept; /continue in a chat goes on with it"),
    )


def _reason_in(body: bytes, media_type: str) -> str:
    """What a server says in the body of an error; empty for a page of HTML."""
    text = body.decode("utf-8", "replace").strip()
    if "html" in media_type or text[:1] == "<":
        title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
        return title[1].strip() if title else ""
    try:
        return _reason_of(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _reason_of(value: object) -> str:
    """The message in an error: of OpenAI, vLLM, Ollama, FastAPI and others."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, map(_reason_of, value[:3])))
    if not isinstance(value, Mapping):
        return ""
    for name in ("error", "message", "detail", "msg"):
        if value.get(name) and (reason := _reason_of(value[name])):
            kind = value.get("type")
            is_about_context = isinstance(kind, str) and _CONTEXT.search(kind)
            return f"{reason} ({kind})" if is_about_context else reason
    return ""


def cut_error(server: Server) -> ServerError:
    """The error for a stream that ends in the middle."""
    return ServerError(
        tr("the connection to {name} was cut", name=server.name),
        tr("what was written is kept; /continue in a chat goes on with it"),
    )


def transport_error(server: Server, error: Exception) -> TchatError | None:
    """Translate an error of a request; None for one that is none of the network's."""
    import httpx2

    if isinstance(error, TchatError):
        return error
    if isinstance(error, httpx2.ConnectError):
        return _unconnected(server, str(error))
    found = next((text for kind, text in _texts(server) if isinstance(error, kind)), None)
    return ServerError(*found) if found else None


def _texts(server: Server) -> Iterator[tuple[type[Exception], tuple[str, str]]]:
    """Message and hint for errors of the HTTP client, the narrowest first."""
    import httpx2

    name, host = server.name, server.host
    no_answer = tr("{host} does not answer", host=host), tr("is it running?")
    yield httpx2.ConnectTimeout, no_answer
    yield (
        httpx2.TimeoutException,
        (
            tr("{name} sent nothing for {seconds:g} seconds", name=name, seconds=server.timeout),
            tr("try again, or allow more: tchat servers add … --timeout SECONDS"),
        ),
    )
    proxy = tr("the proxy refuses to reach {host}", host=host), tr("check HTTPS_PROXY and NO_PROXY")
    yield httpx2.ProxyError, proxy
    cut = cut_error(server)
    yield httpx2.DecodingError, unreadable(server)
    yield httpx2.TransportError, (cut.message, cut.hint)
    package = tr("a SOCKS proxy needs one more package"), tr("run: pip install 'httpx2[socks]'")
    yield ImportError, package
    yield (
        OSError,
        (
            tr("the certificates cannot be read"),
            tr("check SSL_CERT_FILE and SSL_CERT_DIR"),
        ),
    )
    address = (
        tr("the address of a proxy cannot be used"),
        tr("check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
    )
    yield ValueError, address
    yield httpx2.InvalidURL, address


def unreadable(server: Server) -> tuple[str, str]:
    """Message and hint for an answer that is not as the API says."""
    message = tr("{name} sends no answer that can be read", name=server.name)
    return message, tr(TEST_HINT, name=server.name)


def _unconnected(server: Server, reason: str) -> ServerError:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return ServerError(
            tr("the certificate of {host} cannot be verified", host=server.host),
            tr("set SSL_CERT_FILE to the certificate of its authority; check the clock"),
        )
    if "SSL" in reason or "TLS" in reason:
        return ServerError(
            tr("no safe connection to {host}: TLS fails", host=server.host),
            tr("check its url: {url}", url=server.url),
        )
    return ServerError(tr("cannot reach {host}", host=server.host), tr("is it running?"))


def json_value(server: Server, text: str | bytes) -> Any:
    """``text`` as JSON.

    Raises:
        ServerError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ServerError(*unreadable(server)) from None
