"""What a format of exported sessions is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
