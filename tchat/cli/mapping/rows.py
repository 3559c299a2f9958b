"""The rows of a map: what they are read from, and how each becomes a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tchat.chat.attachments import expand, read_file
from tchat.cli.console import Console
from tchat.cli.input import read_all
from tchat.errors import UsageError
from tchat.sanitize import decode_input, single_line

# {{name}} is left as {name}; {} and {name} are places.
_PLACE = re.compile(r"\{\{([\w.-]*)\}\}|\{([\w.-]*)\}")
_PATH = "path"


@dataclass(frozen=True, slots=True)
class Row:
    """One line, or one file.

    Args:
        index: Its number, from 0; blank lines are counted too.
        text: The line, or the file's path.
        is_file: Whether it is a file.
    """

    index: int
    text: str
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class RowPrompt:
    """A prompt with places for parts of a row. Without a place, the row comes behind it."""

    text: str

    @property
    def has_fields(self) -> bool:
        """Whether a place has a name, so that lines must be JSON objects."""
        return any(match[2] for match in _PLACE.finditer(self.text))

    def input_of(self, row: Row) -> Any:
        """What is reported as the row's input: the line, its object, or the file's path.

        Raises:
            UsageError: The line is no JSON object, and a place needs a field.
        """
        return row.text if row.is_file or not self.has_fields else _object(row)

    def filled(self, row: Row) -> str:
        """The prompt with the row in it.

        Raises:
            UsageError: It cannot be filled in.
            StorageError: The file cannot be read.
        """
        whole = read_file(Path(row.text)) if row.is_file else row.text
        if row.is_file:
            fields: Any = {_PATH: row.text}
        else:
            fields = _object(row) if self.has_fields else {}
        places = [match[2] for match in _PLACE.finditer(self.text) if match[2] is not None]
        if not places:
            return f"{self.text}\n\n{whole}"
        values = {name: _spelled(_field(fields, name, row)) if name else whole for name in places}
        return _PLACE.sub(
            lambda match: f"{{{match[1]}}}" if match[2] is None else values[match[2]], self.text
        )


def read_rows(console: Console, inputs: Sequence[str], *, files: bool) -> list[Row]:
    """The rows in ``inputs``: lines of files, or, with ``files``, the files themselves.

    Without inputs, standard input brings the lines, or the names of the files.

    Raises:
        UsageError: There is none, or an input is missing or no text.
        StorageError: An input cannot be read.
    """
    if files:
        named = inputs or [row.text for row in _lines(_piped(console))]
        rows = [Row(index, str(path), True) for index, path in enumerate(expand(named))]
    else:
        texts = [read_file(path) for path in expand(inputs)] if inputs else [_piped(console)]
        rows = list(_lines("\n".join(text.removesuffix("\n") for text in texts)))
    if not rows:
        raise UsageError("there are no rows", "pipe lines in, or name files of lines")
    return rows


def _piped(console: Console) -> str:
    if console.stdin_is_terminal:
        return ""
    return decode_input(read_all(console), "standard input")


def _lines(text: str) -> Iterator[Row]:
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return (Row(index, line) for index, line in enumerate(lines) if line.strip())


def _object(row: Row) -> dict[str, Any]:
    try:
        value = json.loads(row.text)
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(
            f"row {row.index} is no JSON object",
            "the prompt names fields; for the text itself, write {{name}} with two braces",
        )
    return value


def _field(fields: dict[str, Any], name: str, row: Row) -> Any:
    """The field ``name``; a name with points in it may lead through objects."""
    if name in fields:
        return fields[name]
    value: Any = fields
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UsageError(
                f"row {row.index} has no field `{single_line(name, 80)}`",
                f"it has {', '.join(map(single_line, fields)) or 'none'}",
            )
        value = value[part]
    return value


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
