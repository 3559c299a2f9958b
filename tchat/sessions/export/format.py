"""What a format for exported sessions is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tchat.sessions.records import Session

if TYPE_CHECKING:
    from tchat.sessions.store import Store


class Export(Protocol):
    """Writes sessions as text in pieces, so that however long ones fit into the memory."""

    def __call__(
        self, store: Store, sessions: Iterable[Session], *, show_reasoning: bool
    ) -> Iterator[str]:
        """The text of ``sessions``; with ``show_reasoning``, the models' reasoning too."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format.

    Args:
        name: As ``--format`` takes it.
        help: What it is, and for what.
        suffixes: Of the names of its files; the first is the usual one.
        export: Writes it.
        is_json: Whether it is TCHAT_JSON, in which control characters are escaped to be printed.
    """

    name: str
    help: str
    suffixes: tuple[str, ...]
    export: Export
    is_json: bool = False
