"""What of a call leaves this machine, and how it is redacted.

A host gets its own name, since the request goes there, and what stays on this machine is sent as it
is. Programs of this machine are not redacted: what they do with their arguments is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from tchat.settings.endpoints import is_loopback_name

if TYPE_CHECKING:
    from tchat.redaction.outgoing import OutgoingRedaction


@dataclass(frozen=True, slots=True)
class OutgoingArguments:
    """How the arguments of a tool that sends them elsewhere are redacted.

    Attributes:
        redact: Gives the arguments that are sent.
        is_always: Whether also where the user did not set ``redact_outgoing``.
    """

    redact: Callable[[Mapping[str, Any], OutgoingRedaction], Mapping[str, Any]]
    is_always: bool = False


def redact_all(arguments: Mapping[str, Any], redaction: OutgoingRedaction) -> Mapping[str, Any]:
    """The arguments with placeholders in every text."""
    return {name: redaction.redact_json(value) for name, value in arguments.items()}


def redact_url(arguments: Mapping[str, Any], redaction: OutgoingRedaction) -> Mapping[str, Any]:
    """The arguments with placeholders in the path and the query of ``url``; its host stays."""
    parts = urlsplit(arguments["url"])
    if is_loopback_name(parts.hostname or ""):
        return arguments
    path = "/".join(_redacted_segment(each, redaction) for each in parts.path.split("/"))
    query = "&".join(
        "=".join(_redacted_segment(each, redaction, unquote_plus) for each in pair.split("=", 1))
        for pair in parts.query.split("&")
    )
    return {**arguments, "url": parts._replace(path=path, query=query).geturl()}


def _redacted_segment(
    segment: str, redaction: OutgoingRedaction, decode: Callable[[str], str] = unquote
) -> str:
    text = decode(segment)
    redacted = redaction.redact(text)
    return segment if redacted == text else quote(redacted, safe="")
