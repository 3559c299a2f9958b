"""Errors of the hub: the message for each failed answer, and whether to try again.

Messages contain nothing that the server wrote, and no URL but a repository's: an answer may hold a
signed link, and a request a token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tchat.errors import ModelNotFound, NetworkError, TchatError

CODE, MESSAGE = "x-error-code", "x-error-message"
TRANSIENT = frozenset({408, 425, 500, 502, 503, 504, 520, 522, 524})
RESET = re.compile(r";\s*t=(\d{1,9})")
LONGEST_WAIT = 3600.0  # seconds that a server may ask for
TOKENS = "https://huggingface.co/settings/tokens"


class HubError(NetworkError):
    """A request to the hub failed.

    Attributes:
        transient: Whether the same request may succeed later.
        retry_after: Seconds to wait, as the server asked; None when it did not.
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
    """The error for an answer with this status.

    Args:
        status: From 400 on.
        headers: Of the answer, names in lower case or case-insensitive.
        repo: The repository of the request; empty for a search.
        signed: It came from the storage that the hub redirects to, not from the hub.
    """
    if status == 429:
        return _rate_limited(headers)
    if status in TRANSIENT:
        return HubError(f"the hub has a problem (HTTP {status})", "try again later", transient=True)
    if signed:
        # Links to the storage expire; the hub signs a new one for each request.
        return HubError(f"the hub's storage refuses the download (HTTP {status})", transient=True)
    if headers.get(MESSAGE, "").startswith("Invalid credentials"):
        return HubError("the hub refuses your token", f"set HF_TOKEN to a valid one: {TOKENS}")
    if not repo:
        return _no_search(status)
    return _by_code(headers, repo) or _by_status(status, repo)


def _by_code(headers: Mapping[str, str], repo: str) -> TchatError | None:
    """The error by the hub's error code or message; None when it sent neither."""
    code, message = headers.get(CODE, ""), headers.get(MESSAGE, "")
    if code == "GatedRepo":
        return HubError(
            f"the model {repo} is gated: its terms must be accepted first",
            f"accept them at https://huggingface.co/{repo}, then set HF_TOKEN to your token",
        )
    if code == "RevisionNotFound":
        return ModelNotFound(f"the repository {repo} has no such revision", "leave it out")
    if code == "EntryNotFound":
        return ModelNotFound(f"the repository {repo} has no such file", "it may have been renamed")
    if "disabled" in message:
        return HubError(f"the hub has disabled the model {repo}", "choose another one")
    return None


def _no_search(status: int) -> HubError:
    """The error of a search, which names no repository."""
    hint = "check HF_ENDPOINT, if it is set"
    if status in (401, 403):
        hint = f"{hint}, and the rights of your token: {TOKENS}"
    return HubError(f"the hub answers a search with HTTP {status}", hint)


def _by_status(status: int, repo: str) -> TchatError:
    if status in (401, 404):
        return RepositoryNotFound(
            f"the hub has no model {repo}", "if it is private, set HF_TOKEN to your token"
        )
    if status == 403:
        return HubError(
            f"the hub refuses access to {repo}", f"check the rights of your token: {TOKENS}"
        )
    return HubError(f"the hub answers with HTTP {status}", "check HF_ENDPOINT, if it is set")


def _rate_limited(headers: Mapping[str, str]) -> HubError:
    seconds = seconds_asked(headers)
    when = f"try again in {seconds:.0f} s" if seconds else "try again later"
    return HubError(
        "the hub limits the rate of requests (HTTP 429)",
        f"{when}, or set HF_TOKEN to your token for a higher limit",
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
        "the network sent a web page instead of the hub's answer",
        "sign in to this network in a browser, or check HF_ENDPOINT and the proxy settings",
    )
