"""The formats that sessions are exported in. A new one is a module here and its place in the list.

A module makes one `ExportFormat`; the command line and both chats offer what is listed.
"""

from __future__ import annotations

from pathlib import Path

from tchat.errors import UsageError
from tchat.sessions.export.format import ExportFormat
from tchat.sessions.export.markdown import MARKDOWN
from tchat.sessions.export.tchat_json import TCHAT_JSON

__all__ = ["FORMATS", "MARKDOWN", "TCHAT_JSON", "ExportFormat", "export_format", "format_names"]

FORMATS: tuple[ExportFormat, ...] = (MARKDOWN, TCHAT_JSON)


def export_format(name: str, path: Path | None, default: ExportFormat) -> ExportFormat:
    """The format called ``name``, or else the one of the name of a file, or else ``default``.

    Raises:
        UsageError: There is none of that name.
    """
    if name:
        found = next((each for each in FORMATS if each.name == name.lower()), None)
        if found is None:
            raise UsageError(f"--format must be {format_names()}, not `{name}`")
        return found
    suffix = path.suffix.lower() if path is not None else ""
    return next((each for each in FORMATS if suffix in each.suffixes), default)


def format_names() -> str:
    """Their names: ``md or json``."""
    *others, last = (each.name for each in FORMATS)
    return f"{', '.join(others)} or {last}" if others else last
