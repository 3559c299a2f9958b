"""The rows of a map, and the prompt template that is filled with them."""

from __future__ import annotations

import json
import math
import os
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from tchat.chat.attachments import expand_patterns, read_file
from tchat.cli.console import Console, read_all, read_text, report_decoding
from tchat.decoding import AUTO
from tchat.errors import UsageError, with_hint
from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean
from tchat.translation import tr

# {{name}} is left as {name}; {} and {name} are places.
_BRACES = re.compile(r"\{\{([^{}\n]*)\}\}|\{([^{}\n]*)\}")
_NAME = re.compile(r"[\w.-]+(?: +[\w.-]+)*")
_PATH = "path"
_UNUSUAL = 1000  # rows that are searched for a field whose name is not made of words
_LISTED = 12  # field names in an error


@dataclass(frozen=True, slots=True)
class MapRow:
    """A line, or the path of a file; ``index`` counts from 0, blank lines too."""

    index: int
    text: str
    is_file: bool = False


class RowPrompt:
    """A prompt with placeholders for a row; without one, the row is appended.

    ``{}`` is the row and ``{name}`` a field of it. Braces around words always name a field; around
    other text only if a row has such a field, so that a prompt may contain JSON or code.

    Raises:
        UsageError: It names a field that no row has.
    """

    def __init__(self, text: str, rows: Sequence[MapRow]) -> None:
        self.text = text
        inside = {match[match.lastindex or 0] for match in _BRACES.finditer(text)}
        words = {name for name in inside if _NAME.fullmatch(name)}
        unusual = inside - words - {""}
        self._places = {"", *words, *_present(unusual, rows[:_UNUSUAL])}
        named = {match[2] for match in _BRACES.finditer(text) if match[2]} & self._places
        if missing := sorted((named & words) - _present(named & words, rows)):
            raise _no_field(missing[0], rows)
        self._named = named

    @property
    def has_fields(self) -> bool:
        """Whether a placeholder is named, so that lines must be JSON objects."""
        return bool(self._named)

    def input_of(self, row: MapRow) -> Any:
        """What is reported as the row's input: the line, its object, or the file's path."""
        return row.text if row.is_file or not self.has_fields else _object(row)

    def filled(self, row: MapRow, whole: str) -> str:
        """Fill the prompt with a row, whose text or file content is ``whole``."""
        fields = _fields(row) if self.has_fields else {}
        values = {name: _spelled(_field(fields, name, row)) for name in self._named}
        placed = False

        def value(match: re.Match[str]) -> str:
            nonlocal placed
            name = match[match.lastindex or 0]
            if name not in self._places:
                return match[0]
            if match[2] is None:
                return f"{{{name}}}"
            placed = True
            return values[name] if name else whole

        text = _BRACES.sub(value, self.text)
        return text if placed else f"{text}\n\n{whole}"


def read_rows(
    console: Console, inputs: Sequence[str], *, files: bool, encoding: str = AUTO
) -> list[MapRow]:
    """The rows in ``inputs``: lines of files, or, with ``files``, the files themselves.

    Without inputs, standard input brings the lines, or the names of the files.

    Raises:
        UsageError: There is none, or an input is missing, no text or in another encoding.
        StorageError: An input cannot be read.
    """
    if files:
        named = inputs or _names(b"" if console.stdin_is_terminal else read_all(console))
        rows = [MapRow(index, str(path), True) for index, path in enumerate(expand_patterns(named))]
    else:
        texts = [
            report_decoding(console, read_file(path, encoding)) for path in expand_patterns(inputs)
        ]
        texts = texts if inputs else [_piped(console, encoding)]
        rows = list(_lines("\n".join(text.removesuffix("\n") for text in texts)))
    if not rows:
        raise UsageError(tr("there are no rows"), tr("pipe lines in, or name files of lines"))
    return rows


def _names(data: bytes) -> list[str]:
    """The names of files that ``data`` lists, each on a line, or ended by a NUL (``-print0``).

    Names are bytes on this system: none is taken for text in some encoding.
    """
    if b"\0" in data:
        return [os.fsdecode(name) for name in data.split(b"\0") if name]
    lines = (line.removesuffix(b"\r") for line in data.removeprefix(BOM_UTF8).split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]


def _piped(console: Console, encoding: str) -> str:
    return "" if console.stdin_is_terminal else read_text(console, encoding)


def _lines(text: str) -> Iterator[MapRow]:
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return (MapRow(index, line) for index, line in enumerate(lines) if line.strip())


def _object(row: MapRow) -> dict[str, Any]:
    try:
        value = json.loads(row.text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        value = None
    if not isinstance(value, dict):
        raise UsageError(
            tr("row {index} is not a JSON object", index=row.index),
            tr("the prompt names fields; for the text itself, write {{name}} with two braces"),
        )
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _fields(row: MapRow) -> dict[str, Any]:
    """The fields of a row."""
    if row.is_file:
        return {_PATH: os.fsencode(row.text).decode(errors="replace")}
    return _object(row)


def _present(names: Collection[str], rows: Iterable[MapRow]) -> set[str]:
    """Those of ``names`` that are fields of a row."""
    found: set[str] = set()
    for row in rows if names else ():
        with suppress(UsageError):
            fields = _fields(row)
            found |= {name for name in names if name not in found and _has(fields, name, row)}
        if len(found) == len(names):
            break
    return found


def _has(fields: dict[str, Any], name: str, row: MapRow) -> bool:
    try:
        _field(fields, name, row)
    except UsageError:
        return False
    return True


def _field(fields: dict[str, Any], name: str, row: MapRow) -> Any:
    """The field ``name``; dots lead into nested objects."""
    if name in fields:
        return fields[name]
    value: Any = fields
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UsageError(
                tr(
                    "row {index} has no field `{name}`", index=row.index, name=single_line(name, 80)
                ),
                tr("it has {fields}", fields=_listed(fields)),
            )
        value = value[part]
    return value


def _no_field(name: str, rows: Sequence[MapRow]) -> UsageError:
    """The error for a field that no row has."""
    shown = single_line(name, 80)
    literal = tr("write {literal} where the text itself is meant", literal=f"{{{{{shown}}}}}")
    fields: dict[str, None] = {}
    for row in rows:
        with suppress(UsageError):
            fields.update(dict.fromkeys(_fields(row)))
            if len(fields) > _LISTED:
                break
    if not fields:
        return UsageError(
            tr("the prompt names the field `{shown}`, and no row is a JSON object", shown=shown),
            with_hint(tr("write {place} for the row", place="{}"), literal),
        )
    near = did_you_mean(name, fields)
    hint = with_hint(near or tr("they have {fields}", fields=_listed(fields)), literal)
    return UsageError(tr("no row has a field `{shown}`", shown=shown), hint)


def _listed(fields: Collection[str]) -> str:
    names = [single_line(name, 80) for name in fields]
    more = [tr("{count:,} more", count=len(names) - _LISTED)] if len(names) > _LISTED else []
    return ", ".join(names[:_LISTED] + more) or tr("none")


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
