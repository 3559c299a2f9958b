"""The tool ``search_files``: lines that contain a text, in files below the allowed folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase

from tchat.sanitize import single_line
from tchat.tools.folder_walk import FolderEntry, entries_below
from tchat.tools.list_files import MAX_PATTERN
from tchat.tools.roots import FILE_FLAGS, Roots
from tchat.tools.tool import Arguments, Effect, Tool, object_schema

MAX_FOUND = 200
MAX_SIZE = 4 << 20  # bytes of a file that is searched
MAX_READ = 256 << 20  # bytes of one search


def search_files_tool(roots: Roots) -> Tool:
    """The tool, for folders below ``roots``."""

    def run(arguments: Arguments) -> str:
        return _search(
            roots,
            arguments["text"],
            arguments.get("path", "."),
            arguments.get("pattern", "*"),
            ignore_case=arguments.get("ignore_case", False),
        )

    return Tool(
        name="search_files",
        description="Find the lines of text files that contain a text, as path:line: text.",
        parameters=object_schema(
            ("text",),
            text={"type": "string", "minLength": 1, "maxLength": 1000},
            path={"type": "string", "description": "Folder; default: the first root"},
            pattern={
                "type": "string",
                "maxLength": MAX_PATTERN,
                "description": "File names, such as *.py",
            },
            ignore_case={"type": "boolean"},
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES}),
        path_arguments=("path",),
        is_untrusted=True,
    )


def _search(roots: Roots, text: str, path: str, pattern: str, *, ignore_case: bool) -> str:
    found: list[str] = []
    read = 0
    sought = text.casefold() if ignore_case else text
    with roots.open_folder(path) as location:
        for entry in entries_below(roots, location):
            if entry.is_folder or entry.size > MAX_SIZE or not fnmatchcase(entry.name, pattern):
                continue
            if read > MAX_READ:
                found.append("[Stopped: too much to read; name a folder or a pattern.]")
                break
            for number, line in _lines(entry):
                read += len(line) + 1
                if sought not in (line.casefold() if ignore_case else line):
                    continue
                if len(found) == MAX_FOUND:
                    found.append(f"[More than {MAX_FOUND} lines; search for something longer.]")
                    return "\n".join(found)
                found.append(f"{single_line(entry.path, limit=1000)}:{number}: {single_line(line)}")
    return "\n".join(found) or "[Nothing was found.]"


def _lines(entry: FolderEntry) -> Iterator[tuple[int, str]]:
    try:
        descriptor = os.open(entry.name, FILE_FLAGS, dir_fd=entry.folder)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        try:
            data = file.read(MAX_SIZE)
        except OSError:
            return
    if b"\0" not in data:
        yield from enumerate(data.decode(errors="replace").splitlines(), 1)
