"""The formats that sessions are exported in and imported from.

A new one is a module here and its place in `FORMATS` or `IMPORTERS`; the command line and both
chats offer what is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tchat.errors import UsageError
from tchat.sessions.formats.format import ExportFormat, Importer, Messages
from tchat.sessions.formats.markdown import MARKDOWN
from tchat.sessions.formats.tchat_json import TCHAT_JSON, TCHAT_JSON_IMPORTER
from tchat.sessions.records import Session
from tchat.translation import tr

__all__ = [
    "FORMATS",
    "IMPORTERS",
    "MARKDOWN",
    "TCHAT_JSON",
    "ExportFormat",
    "Importer",
    "Messages",
    "export_format",
    "format_names",
    "read_sessions",
]

FORMATS: tuple[ExportFormat, ...] = (MARKDOWN, TCHAT_JSON)
# The first that matches reads; the last takes all.
IMPORTERS: tuple[Importer, ...] = (TCHAT_JSON_IMPORTER,)


def export_format(name: str, path: Path | None, default: ExportFormat) -> ExportFormat:
    """The format called ``name``, or else the one of the name of a file, or else ``default``.

    Raises:
        UsageError: There is none of that name, or the file's suffix is of no format.
    """
    if name:
        found = next((each for each in FORMATS if each.name == name.lower()), None)
        if found is None:
            raise UsageError(
                tr(
                    "--format must be {format_names}, not `{name}`",
                    format_names=format_names(),
                    name=name,
                )
            )
        return found
    suffix = path.suffix.lower() if path is not None else ""
    if not suffix:
        return default
    found = next((each for each in FORMATS if suffix in each.suffixes), None)
    if found is None:
        known = " or ".join(suffix for each in FORMATS for suffix in each.suffixes)
        raise UsageError(
            tr("no format writes {suffix} files", suffix=suffix),
            tr("give a name that ends in {known}", known=known),
        )
    return found


def format_names() -> str:
    """Their names: ``md or json``."""
    *others, last = (each.name for each in FORMATS)
    return f"{', '.join(others)} or {last}" if others else last


def read_sessions(texts: Iterable[str]) -> Iterator[tuple[Session, Messages]]:
    """The sessions of a document that comes in pieces.

    Raises:
        UsageError: No importer reads it. What came before is of no use then.
    """
    pieces = iter(texts)
    head = next(pieces, "")
    importer = next((each for each in IMPORTERS if each.matches(head)), IMPORTERS[-1])
    return importer.read(chain((head,), pieces))
