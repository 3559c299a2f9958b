"""The tool ``write_file``: write a whole text file below the allowed folders."""

from __future__ import annotations

from tchat.tools.file_changes import FileChanges
from tchat.tools.tool import Arguments, Effect, Tool, object_schema


def write_file_tool(changes: FileChanges) -> Tool:
    """The tool, writing through ``changes``."""

    def preview(arguments: Arguments) -> str:
        return changes.preview(changes.read(arguments["path"]), _content(arguments))

    def run(arguments: Arguments) -> str:
        content = _content(arguments)
        before = changes.write(arguments["path"], content)
        verb = "Created" if before.content is None else "Replaced"
        return f"{verb} {arguments['path']}: {len(content)} bytes."

    return Tool(
        name="write_file",
        description="Create a text file, or replace all of it. To change a part use edit_file.",
        parameters=object_schema(
            ("path", "content"), path={"type": "string"}, content={"type": "string"}
        ),
        run=run,
        effects=frozenset({Effect.WRITES_FILES}),
        path_arguments=("path",),
        preview=preview,
    )


def _content(arguments: Arguments) -> bytes:
    text: str = arguments["content"]
    return text.encode(errors="replace")
