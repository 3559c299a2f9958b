"""What an importer is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tchat.sessions.records import Message, Session

# Parents first; with each, whether it is the active one among its siblings.
Messages: TypeAlias = Iterator[tuple[Message, bool]]


@dataclass(frozen=True, slots=True)
class Importer:
    """Reads the sessions that one program wrote.

    Args:
        name: Of the format.
        matches: Whether a document is of it, told by its beginning.
        read: The sessions of a document that comes in pieces, each with its messages, which are
            read before the next session. Raises `UsageError`.
    """

    name: str
    matches: Callable[[str], bool]
    read: Callable[[Iterable[str]], Iterator[tuple[Session, Messages]]]
