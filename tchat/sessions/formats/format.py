"""What a format of exported sessions is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tchat.sessions.records import Message, Session

# Parents first; with each, whether it is the active one among its siblings.
Messages: TypeAlias = Iterator[tuple[Message, bool]]


class SessionReader(Protocol):
    """What an export reads sessions from: a `Store`, or one that changes what it reads."""

    def branch_models(self, session_id: str) -> list[str]:
        """The models of the active branch, in order."""
        ...

    def last_model(self, session_id: str) -> str:
        """The model of the last reply."""
        ...

    def walk(self, session_id: str) -> Iterator[Message]:
        """The messages of the active branch."""
        ...

    def messages(self, session_id: str) -> Messages:
        """All messages of the tree."""
        ...


class Export(Protocol):
    """Writes sessions as text in pieces, so that however long ones fit into the memory."""

    def __call__(
        self, store: SessionReader, sessions: Iterable[Session], *, show_reasoning: bool
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
