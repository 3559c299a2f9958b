"""The documents that sessions are imported from. A new one is a module here and its place below.

A module makes one `Importer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from tchat.sessions.importers.importer import Importer, Messages
from tchat.sessions.importers.tchat_json import TCHAT_JSON
from tchat.sessions.records import Session

__all__ = ["IMPORTERS", "Importer", "Messages", "read_sessions"]

IMPORTERS: tuple[Importer, ...] = (TCHAT_JSON,)  # the first that matches reads; the last takes all


def read_sessions(texts: Iterable[str]) -> Iterator[tuple[Session, Messages]]:
    """The sessions of a document that comes in pieces.

    Raises:
        UsageError: No importer reads it. What came before is of no use then.
    """
    pieces = iter(texts)
    head = next(pieces, "")
    importer = next((each for each in IMPORTERS if each.matches(head)), IMPORTERS[-1])
    return importer.read(chain((head,), pieces))
