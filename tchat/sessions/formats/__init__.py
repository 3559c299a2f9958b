"""The formats that sessions are exported in.

A new one is a module here and its place in `FORMATS`; the command line and both chats offer what
is listed.
"""

from __future__ import annotations

from pathlib import Path

from tchat.errors import UsageError
from tchat.sessions.formats.format import ExportFormat, Messages
from tchat.sessions.formats.html import HTML
from tchat.sessions.formats.markdown import MARKDOWN
from tchat.sessions.formats.openai_messages import OPENAI_MESSAGES_FORMAT
from tchat.sessions.formats.tchat_json import TCHAT_JSON
from tchat.translation import tr

__all__ = [
    "FORMATS",
    "HTML",
    "MARKDOWN",
    "OPENAI_MESSAGES_FORMAT",
    "TCHAT_JSON",
    "ExportFormat",
    "Messages",
    "export_format",
    "format_names",
]

FORMATS: tuple[ExportFormat, ...] = (MARKDOWN, TCHAT_JSON, HTML, OPENAI_MESSAGES_FORMAT)


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
