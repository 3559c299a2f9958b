"""What a format of exported sessions, and one of documents to import, are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tchat.sessions.records import Message, Session

if TYPE_CHECKING:
    from tchat.sessions.store import Store

# Parents first; with each, whether it is the active one among its siblings.
Messages: TypeAlias = Iterator[tuple[Message, bool]]


class Export(Protocol):
    """Writes sessions as text in pieces, so that however long ones fit into the memory."""

    def __call__(
        self, store: Store, sessions: Iterable[Session], *, show_reasoning: bool
    ) -> Iterator[str]:
        """The text of ``sessions``; with ``show_reasoning``, the models' reasoning too."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format to export in.

    ``name`` is as ``--format`` takes it, ``help`` says what it is for, ``suffixes`` are the endings
    of its files, the usual one first. ``is_json``: control characters are escaped to be printed.
    """

    name: str
    help: str
    suffixes: tuple[str, ...]
    export: Export
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class Importer:
    """Reads the sessions that one program wrote.

    ``matches`` tells a document by its beginning. ``read`` takes a document in pieces and gives its
    sessions, each with its messages, which are read before the next session; it raises
    `UsageError`.
    """

    name: str
    matches: Callable[[str], bool]
    read: Callable[[Iterable[str]], Iterator[tuple[Session, Messages]]]
