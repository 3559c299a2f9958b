"""The tool ``edit_file``: replace a passage of a text file below the allowed folders."""

from __future__ import annotations

from tchat.sanitize import single_line
from tchat.tools.file_changes import FileChanges, FileState
from tchat.tools.tool import Arguments, Effect, Tool, ToolError, object_schema
from tchat.translation import tr, trn


def edit_file_tool(changes: FileChanges) -> Tool:
    """The tool, writing through ``changes``."""

    def preview(arguments: Arguments) -> str:
        state = changes.read(arguments["path"])
        return changes.preview(state, _edited(state, arguments))

    def run(arguments: Arguments) -> str:
        state = changes.read(arguments["path"])
        content = _edited(state, arguments)
        changes.write(arguments["path"], content, state)
        return f"Changed {arguments['path']}."

    return Tool(
        name="edit_file",
        description="Replace a passage of a text file. old_text must occur in it exactly once.",
        parameters=object_schema(
            ("path", "old_text", "new_text"),
            path={"type": "string"},
            old_text={"type": "string", "minLength": 1, "description": "As it stands in the file"},
            new_text={"type": "string"},
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES, Effect.WRITES_FILES}),
        path_arguments=("path",),
        preview=preview,
    )


def _edited(state: FileState, arguments: Arguments) -> bytes:
    """The content with the passage replaced; other bytes stay as they are, in any encoding."""
    name = single_line(str(arguments["path"]))
    if state.content is None:
        raise ToolError(tr("{path} does not exist", path=name), tr("create it with write_file"))
    old, new = (str(arguments[key]).encode(errors="replace") for key in ("old_text", "new_text"))
    if b"\r\n" in state.content and b"\r\n" not in old:
        # A model sees and writes plain newlines.
        old, new = old.replace(b"\n", b"\r\n"), new.replace(b"\n", b"\r\n")
    count = state.content.count(old)
    if count == 0:
        raise ToolError(
            tr("old_text does not occur in {path}", path=name),
            tr("read the file and copy the passage exactly"),
        )
    if count > 1:
        raise ToolError(
            trn(
                "old_text occurs {count} time in {path}",
                "old_text occurs {count:,} times in {path}",
                count,
                path=name,
            ),
            tr("give more of the lines around it"),
        )
    return state.content.replace(old, new)
