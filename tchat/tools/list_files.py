"""The tool ``list_files``: what lies in a folder below the allowed ones."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tchat.sanitize import single_line
from tchat.tools.folder_walk import entries_below
from tchat.tools.roots import Roots
from tchat.tools.tool import Arguments, Effect, Tool, object_schema

MAX_LISTED = 500
MAX_PATTERN = 200


def list_files_tool(roots: Roots) -> Tool:
    """The tool, for folders below ``roots``."""

    def run(arguments: Arguments) -> str:
        return _listing(
            roots,
            arguments.get("path", "."),
            arguments.get("depth", 1),
            arguments.get("pattern", "*"),
        )

    return Tool(
        name="list_files",
        description="List files and folders, with sizes in bytes.",
        parameters=object_schema(
            path={"type": "string", "description": "Path of the folder; default: the first root"},
            depth={"type": "integer", "minimum": 1, "maximum": 10, "description": "Default 1"},
            pattern={
                "type": "string",
                "maxLength": MAX_PATTERN,
                "description": "File names, such as *.py",
            },
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES}),
        path_arguments=("path",),
        is_untrusted=True,
    )


def _listing(roots: Roots, path: str, depth: int, pattern: str) -> str:
    lines: list[str] = []
    with roots.open_folder(path) as location:
        for entry in entries_below(roots, location, depth=depth):
            if not fnmatchcase(entry.name, pattern):
                continue
            if len(lines) == MAX_LISTED:
                lines.append(f"[More than {MAX_LISTED}; name a folder or a pattern.]")
                break
            # A name may hold a newline.
            name = single_line(entry.path, limit=1000)
            lines.append(f"{name}/" if entry.is_folder else f"{name}  {entry.size}")
    return "\n".join(lines) or "[Nothing is there.]"
