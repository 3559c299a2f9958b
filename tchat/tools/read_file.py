"""The tool ``read_file``: lines of a text file below the allowed folders."""

from __future__ import annotations

from itertools import islice

from tchat.decoding import decode
from tchat.errors import UsageError
from tchat.humanize import size_text
from tchat.sanitize import single_line
from tchat.tools.roots import Roots
from tchat.tools.tool import Arguments, Effect, Tool, ToolError, object_schema
from tchat.translation import tr

MAX_SIZE = 4 << 20  # bytes of a file that is read at all
MAX_TEXT = 64 << 10  # characters of one answer
MAX_LINES = 2000


def read_file_tool(roots: Roots) -> Tool:
    """The tool, for files below ``roots``."""

    def run(arguments: Arguments) -> str:
        text = read_text(roots, arguments["path"])
        return _lines(text, arguments.get("first_line", 1), arguments.get("lines", MAX_LINES))

    return Tool(
        name="read_file",
        description="Read a text file. Long files are cut; read on with first_line.",
        parameters=object_schema(
            ("path",),
            path={"type": "string", "description": "Path of the file"},
            first_line={"type": "integer", "minimum": 1, "description": "Default 1"},
            lines={"type": "integer", "minimum": 1, "maximum": MAX_LINES},
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES}),
        path_arguments=("path",),
        is_untrusted=True,
    )


def read_text(roots: Roots, name: str) -> str:
    """The text of a file.

    Raises:
        ToolError: It cannot be opened, is too large, or is no text.
    """
    data = read_bytes(roots, name)
    try:
        return decode(data, single_line(name)).text
    except UsageError as error:
        raise ToolError(error.message, tr("name a text file")) from error


def read_bytes(roots: Roots, name: str) -> bytes:
    """The content of a file of at most `MAX_SIZE` bytes.

    Raises:
        ToolError: It cannot be read, or is too large.
    """
    with roots.open_file(name) as (file, _):
        try:
            data = file.read(MAX_SIZE + 1)
        except OSError as error:
            raise ToolError(
                tr("cannot read {path}: {reason}", path=single_line(name), reason=error.strerror),
                tr("name another file"),
            ) from error
    if len(data) > MAX_SIZE:
        raise ToolError(
            tr(
                "{path} is larger than {size}",
                path=single_line(name),
                size=size_text(MAX_SIZE),
            ),
            tr("search in it with search_files"),
        )
    return data


def _lines(text: str, first: int, count: int) -> str:
    lines = text.splitlines(keepends=True)
    shown: list[str] = []
    size = 0
    for line in islice(lines, first - 1, first - 1 + count):
        shown.append(line[: MAX_TEXT - size])
        size += len(shown[-1])
        if size >= MAX_TEXT:
            break
    last = first - 1 + len(shown)
    if first > 1 and not shown:
        return f"[The file has {len(lines)} lines.]"
    rest = f"\n[Lines {first} to {last} of {len(lines)}.]" if last < len(lines) or first > 1 else ""
    if size >= MAX_TEXT:
        rest = f"\n[Cut in line {last} of {len(lines)}.]"
    return "".join(shown) + rest
