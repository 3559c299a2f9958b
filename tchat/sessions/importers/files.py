"""What a file to import is: text, an archive of texts, or a database; and who wrote it.

Archives are never unpacked to the disk. Only so much of one is read as its size makes credible.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.sessions.importers import IMPORTERS
from tchat.sessions.importers.importer import (
    DatabaseImporter,
    ImportReport,
    Omission,
    Sessions,
    TextImporter,
    outline,
)
from tchat.sessions.json_reader import texts_of
from tchat.temporary_files import memory_folder, temporary_folder
from tchat.translation import joined, tr

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_DATABASE = b"SQLite format 3\0"
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")
_TEXTS = (".json", ".jsonl", ".md", ".markdown")
_HEAD = 1 << 16  # characters that tell the program
_LARGEST_INDEX = 1 << 25  # bytes of the list of an archive's files
_CREDIBLE = 1 << 26  # characters that an archive may hold, however small it is
_RATIO = 200  # and as many times its size; JSON of chats comes to 3 to 30
_LONGEST_VALUE = 1 << 28  # bytes of a value in a database
_SHOWN = 60  # characters of a name in an error
_PLAIN_TABLE = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE)
_SUFFIXES = ("", "-wal", "-journal")  # of a database and its logs
_HEADER = 100  # bytes that hold the count of changes, and the salt of a log
_TRIES, _PAUSE = 20, 0.05  # copies of a database that changes meanwhile; seconds between them
_END_RECORD, _END_SIZE = b"PK\x05\x06", 22


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file to import; ``path`` is None for what came through a pipe."""

    name: str
    file: IO[bytes]
    path: Path | None = None


def read_file(source: ImportFile, report: ImportReport) -> Sessions:
    """The sessions in a file, each with its messages, which are read before the next.

    Raises:
        UsageError: It holds no chats, is damaged, or is not credible. What came before is of no
            use then.
    """
    start = source.file.read(len(_DATABASE))
    source.file.seek(0)
    with _named_errors(source.name):
        if start == _DATABASE:
            yield from _database(source, report)
        elif start.startswith((_ZIP, _EMPTY_ZIP)):
            yield from _archive(source.file, report)
        else:
            texts = texts_of(source.file)
            found = _text(texts, report)
            if found is None:
                raise UsageError(tr("it holds no chats that tchat knows"), readable_programs())
            yield from found


def readable_programs() -> str:
    """What can be imported, as a hint."""
    names = joined([tr(importer.name) for importer in IMPORTERS])
    return tr("import reads what these write: {names}", names=names)


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Put the name of the file in front of what is wrong with it."""
    name = single_line(name, _SHOWN)
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", error.hint) from error
    except sqlite3.Error as error:
        reason = tr("the database cannot be read ({error})", error=single_line(str(error), _SHOWN))
        raise UsageError(f"{name}: {reason}", tr("close the program that uses it")) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = tr("the archive is damaged ({error})", error=single_line(str(error), _SHOWN))
        raise UsageError(f"{name}: {reason}", tr("download it again")) from error
    except (NotImplementedError, RuntimeError) as error:  # a method of packing, or a password
        reason = tr("the archive cannot be read ({error})", error=single_line(str(error), _SHOWN))
        raise UsageError(
            f"{name}: {reason}", tr("unpack it, and import the files in it")
        ) from error
    except ValueError as error:
        reason = tr("it is damaged or too large ({error})", error=single_line(str(error), _SHOWN))
        raise UsageError(f"{name}: {reason}", tr("export it again")) from error


# Texts


def _text(texts: Iterator[str], report: ImportReport) -> Sessions | None:
    """The sessions of a text; None where no importer knows it."""
    head = ""
    for piece in texts:
        head += piece
        if len(head) >= _HEAD:
            break
    beginning = outline(head)
    for importer in IMPORTERS:
        if isinstance(importer, TextImporter) and importer.matches(head, beginning):
            return importer.read(chain((head,), texts), report)
    return None


# Archives


def _archive(file: IO[bytes], report: ImportReport) -> Sessions:
    credible = _CredibleTexts(_require_small_index(file))
    read = 0
    with zipfile.ZipFile(file) as archive:
        members = [each for each in archive.infolist() if not each.is_dir()]
        wanted = [each for each in members if _CONVERSATIONS.fullmatch(each.filename)] or [
            each for each in members if each.filename.lower().endswith(_TEXTS)
        ]
        for member in sorted(wanted, key=lambda each: each.filename):
            with archive.open(member) as packed:
                found = _text(credible.of(packed), report)
                if found is None:
                    report.left_out[Omission.DOCUMENT] += 1
                    continue
                read += 1
                yield from found
    if not read:
        raise UsageError(tr("the archive holds no chats that tchat knows"), readable_programs())


def _require_small_index(file: IO[bytes]) -> int:
    """The size of an archive; one whose list of files alone would fill the memory is refused."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_SIZE - 0xFFFF))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(_END_RECORD)
    index = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if index == 0xFFFFFFFF and (end := tail.rfind(b"PK\x06\x06", 0, at)) >= 0:  # ZIP64
        index = int.from_bytes(tail[end + 40 : end + 48], "little")
    if index > _LARGEST_INDEX:
        raise UsageError(
            tr("the archive holds too many files"), tr("unpack it, and import the files in it")
        )
    return size


class _CredibleTexts:
    """The texts in an archive, up to what one of its size can hold; beyond, it is a trap."""

    def __init__(self, size: int) -> None:
        self._left = _CREDIBLE + size * _RATIO

    def of(self, packed: IO[bytes]) -> Iterator[str]:
        """The texts of one of its files."""
        for text in texts_of(packed):
            self._left -= len(text)
            if self._left < 0:
                raise UsageError(
                    tr("the archive unpacks to far more than its size makes credible"),
                    tr("unpack it, and import the files in it"),
                )
            yield text


# Databases


def _database(source: ImportFile, report: ImportReport) -> Sessions:
    if source.path is None:
        raise UsageError(
            tr("a database is not read from a pipe"), tr("name its file: sessions import FILE")
        )
    with _checkpointed(source.path) as path, closing(_open_read_only(path)) as connection:
        tables = _tables(connection)
        for importer in IMPORTERS:
            if isinstance(importer, DatabaseImporter) and importer.matches(tables):
                yield from importer.read(connection, tables, report)
                return
    raise UsageError(tr("it holds no chats that tchat knows"), readable_programs())


@contextmanager
def _checkpointed(path: Path) -> Iterator[Path]:
    """The database, or a checkpointed copy of it where its program left a log or a journal."""
    path = path.resolve()  # the logs lie beside the file, not beside a link to it
    state = _state(path)
    if not any(state[1:]):
        yield path
        if _state(path) != state:
            raise _changing()
        return
    size = sum(facts[1] for facts in state if facts)
    with temporary_folder(memory_folder(size)) as folder:
        copy = folder / path.name
        for _ in range(_TRIES):
            state = _state(path)
            with suppress(FileNotFoundError):  # a log that its program just removed
                for suffix, facts in zip(_SUFFIXES, state, strict=True):
                    target = copy.with_name(copy.name + suffix)
                    target.unlink(missing_ok=True)
                    if facts:
                        shutil.copyfile(path.with_name(path.name + suffix), target)
            if _state(path) == state:
                break
            time.sleep(_PAUSE)
        else:
            raise _changing()
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        yield copy


def _state(path: Path) -> list[tuple[int, int, bytes] | None]:
    """What tells whether a database and its logs were written: times, sizes and headers."""
    found: list[tuple[int, int, bytes] | None] = []
    for suffix in _SUFFIXES:
        try:
            with path.with_name(path.name + suffix).open("rb") as file:
                facts = os.fstat(file.fileno())
                found.append((facts.st_mtime_ns, facts.st_size, file.read(_HEADER)))
        except FileNotFoundError:
            found.append(None)
    return [facts if facts and facts[1] else None for facts in found]


def _changing() -> UsageError:
    return UsageError(
        tr("its program writes to it meanwhile"), tr("close the program that uses it")
    )


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database of others to be read only; nothing of it is run."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = _decoded
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _tables(connection: sqlite3.Connection) -> Mapping[str, Set[str]]:
    """The plain tables with their columns: no view and no virtual table, which run code."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
    plain = [name for name, sql in connection.execute(query) if _PLAIN_TABLE.match(str(sql))]
    columns = "SELECT name FROM pragma_table_info(?)"
    return {
        name: frozenset(column for (column,) in connection.execute(columns, (name,)))
        for name in plain
    }
