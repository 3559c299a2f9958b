"""Output of a map: standard output, or a file that can be resumed."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tchat.cli.console import Console
from tchat.errors import StorageError, UsageError
from tchat.private_files import require_folder
from tchat.sanitize import printable_json, single_line
from tchat.translation import in_english, tr, trn

Record = dict[str, Any]

_CALL = re.compile(r"[0-9a-f]{12}")
_FIRST = '{"index": '
_ROW = re.compile(r'\{"index": (\d{1,18}), ')
_CUT = re.compile(r'\{"index": \d*,?')


class PrintedResults:
    """Records on standard output, in the ``order`` of row indexes, or as they finish."""

    done: frozenset[int] = frozenset()
    failed: Mapping[int, str] = {}

    def __init__(self, console: Console, order: Sequence[int] = ()) -> None:
        self._console = console
        self._order = list(reversed(order))
        self._waiting: dict[int, Record] = {}
        self._printed = 0

    def resume_hint(self, rows: int) -> str:
        """What an interrupted call printed of ``rows`` rows, and how to resume."""
        return tr(
            "stopped: {printed:,} of {rows} printed; with -o FILE, running it again resumes",
            printed=self._printed,
            rows=trn("{count:,} row", "{count:,} rows", rows),
        )

    def add(self, record: Record) -> None:
        """Print the record, after those before it."""
        if not self._order:
            self._print(record)
            return
        self._waiting[record["index"]] = record
        while self._order and self._order[-1] in self._waiting:
            self._print(self._waiting.pop(self._order.pop()))

    def _print(self, record: Record) -> None:
        self._console.out(_line(record))
        self._console.flush()
        self._printed += 1


class _Line(NamedTuple):
    """Position of a record in the file; ``length`` includes the newline, even if missing."""

    at: int
    length: int


class _Found(NamedTuple):
    """The content of a result file: the last record of each row, and the errors of failed ones.

    ``size`` counts the bytes of complete lines, ``total`` also those of an incomplete last one.
    """

    lines: Mapping[int, _Line]
    failed: Mapping[int, str]
    size: int
    total: int


class ResultFile:
    """Records in a file, each appended at once, so that no row is lost at any interruption.

    The file is locked while it is open. Nothing is changed before the first record is added, or
    all rows are there. ``call`` names the call, in each record.
    """

    def __init__(self, path: Path, file: io.FileIO, call: str, found: _Found) -> None:
        self._path, self._file, self._call = path, file, call
        self._lines = dict(found.lines)
        self._size = found.size
        self._total = found.total
        self._tidied = False
        self.failed: Mapping[int, str] = dict(found.failed)

    @property
    def done(self) -> frozenset[int]:
        """Rows whose records the file has."""
        return frozenset(self._lines)

    def resume_hint(self, rows: int) -> str:
        """What an interrupted call saved of ``rows`` rows, and how to resume."""
        return tr(
            "stopped: {saved:,} of {rows} in {path}; run it again to resume",
            saved=len(self._lines),
            rows=trn("{count:,} row", "{count:,} rows", rows),
            path=single_line(str(self._path)),
        )

    def retry(self) -> None:
        """Process failed rows again; their records are kept until the first new one."""
        for index in self.failed:
            del self._lines[index]
        self.failed = {}

    def add(self, record: Record) -> None:
        """Append the record.

        Raises:
            StorageError: It cannot be written, or another program wrote into the file.
        """
        index = record["index"]
        line = _line({"index": index, "call": self._call, **record}).encode() + b"\n"
        with translated_errors(self._path):
            self._tidy()
            try:
                write_whole(self._file, line)
            except OSError:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self._lines[index] = _Line(self._size, len(line))
        self._size = self._total = self._size + len(line)

    def close(self, rows: Sequence[int], *, ordered: bool) -> None:
        """Close the file; once all ``rows`` are done, sort it if wanted.

        Raises:
            StorageError: It cannot be written.
        """
        try:
            if self._lines.keys() >= set(rows):
                with translated_errors(self._path):
                    self._tidy()
                    if ordered and list(self._lines) != list(rows):
                        self._replace(rows)
        finally:
            self._file.close()

    def _tidy(self) -> None:
        """Remove failed and incomplete records from the file, once."""
        self._require_unchanged()
        if self._tidied:
            return
        if sum(line.length for line in self._lines.values()) != self._size:
            self._replace(list(self._lines))
        elif self._total > self._size:
            self._file.truncate(self._size)
            self._total = self._size
        self._tidied = True

    def _require_unchanged(self) -> None:
        if os.fstat(self._file.fileno()).st_size != self._total:
            raise StorageError(
                tr("{path} was changed by another program", path=single_line(str(self._path))),
                tr("look at it; name another file with -o"),
            )

    def _replace(self, rows: Iterable[int]) -> None:
        """Replace the file by the records of ``rows``, atomically."""
        part = part_of(self._path)
        part.unlink(missing_ok=True)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
        file = io.FileIO(os.open(part, flags, 0o600), "r+")
        lines: dict[int, _Line] = {}
        size = 0
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(PermissionError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(self._file.fileno()).st_mode))
            for index in rows:
                at, length = self._lines[index]
                line = os.pread(self._file.fileno(), length, at).removesuffix(b"\n") + b"\n"
                write_whole(file, line)
                lines[index] = _Line(size, len(line))
                size += len(line)
            os.fsync(file.fileno())
            part.replace(self._path)
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._lines = file, lines
        self._size = self._total = size


Results: TypeAlias = PrintedResults | ResultFile


@contextmanager
def open_results(
    path: Path,
    call: str,
    inputs: Mapping[int, Any],
    *,
    ordered: bool,
    keep_errors: bool = False,
    resumes: Callable[[str], bool] = lambda _: False,
) -> Iterator[ResultFile]:
    """Open the file at ``path``, and resume what an earlier identical call wrote.

    A file is resumed only when each of its lines is a record that ``tchat map`` wrote for this
    ``call`` and these ``inputs``; an incomplete last line may be the beginning of one. Any other
    file is refused before a byte of it is changed.

    Args:
        path: Made with mode 0600 when there is none.
        call: Names the call.
        inputs: Of each row.
        ordered: Whether to sort the file by them once it has every row.
        keep_errors: Whether rows that failed count as done; else they are tried again.
        resumes: Whether ``call`` goes on with that of another name, which it takes over.

    Raises:
        UsageError: It holds something else, is not a regular file, or another call is writing it.
        StorageError: It cannot be read or written.
    """
    shown = single_line(str(path))
    with translated_errors(path):
        new = not path.exists()
        output = _checked(path)
        file = _open_output(output, shown)
        try:
            results = ResultFile(output, file, *_found(file, call, inputs, shown, resumes))
        except BaseException:
            file.close()
            raise
    if not keep_errors:
        results.retry()
    try:
        yield results
    finally:
        results.close(list(inputs), ordered=ordered)
        with suppress(OSError):
            if new and not output.stat().st_size:
                output.unlink()


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate disk errors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            require_folder(path)
        raise StorageError(
            tr(
                "cannot write {path}: {strerror}",
                path=single_line(str(path)),
                strerror=error.strerror or error,
            ),
            tr("free some space, check its permissions, or name another file with -o"),
        ) from error


def write_whole(file: io.FileIO, line: bytes) -> None:
    """Write all of ``line``, in as many calls as the system needs."""
    left = memoryview(line)
    while left:
        left = left[file.write(left) or 0 :]


def _checked(path: Path) -> Path:
    """``path`` with its links followed."""
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            shown = single_line(str(path))
            raise UsageError(
                tr("{path} is a folder, not a file", path=shown)
                if stat.S_ISDIR(mode)
                else tr("{path} is a pipe or a device, not a file", path=shown),
                tr("without -o the results go to standard output"),
            )
    return Path(os.path.realpath(path))


def _open_output(path: Path, shown: str) -> io.FileIO:
    """The file, made where there is none, and locked."""
    # Not to wait for a reader if a pipe takes the file's place now.
    flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NONBLOCK
    file = io.FileIO(os.open(path, flags, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except BlockingIOError:
        pass
    except BaseException:
        file.close()
        raise
    file.close()
    raise UsageError(
        tr("another tchat is writing {shown}", shown=shown), tr("wait for it, or stop it")
    )


def _found(
    file: io.FileIO,
    call: str,
    inputs: Mapping[int, Any],
    shown: str,
    resumes: Callable[[str], bool],
) -> tuple[str, _Found]:
    """Read the file without changing it; with the name of its call."""
    lines: dict[int, _Line] = {}
    failed: dict[int, str] = {}
    size = 0
    with open(file.fileno(), "rb", closefd=False) as reader:
        for line in result_lines(reader, shown):
            record = record_of(line)
            if record is None:
                if line.endswith(b"\n") or not _begins(line, call, inputs, alone=not size):
                    raise foreign_file(shown)
                break
            if not size and resumes(record["call"]):
                call = record["call"]
            _require_same(record, call, inputs, shown)
            index = record["index"]
            lines.pop(index, None)
            failed.pop(index, None)
            # A row that failed and was mended since has no result.
            if "error" not in record or inputs[index] == record["input"]:
                lines[index] = _Line(size, len(line.removesuffix(b"\n")) + 1)
                if "error" in record:
                    failed[index] = str(record["error"])
            size += len(line)
    return call, _Found(lines, failed, size, os.fstat(file.fileno()).st_size)


def result_lines(file: io.BufferedReader, shown: str) -> Iterator[bytes]:
    """The lines of a file, unless it begins unlike any with results: it may be of any size."""
    begin = file.peek(1)[: len(_FIRST)].decode("latin-1")
    if not "".join(_FIRST.split()).startswith("".join(begin.split())[: len(_FIRST) - 1]):
        raise foreign_file(shown)
    yield from file


def record_of(line: bytes) -> Record | None:
    """The record that ``line`` is, or `None`."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    whole = isinstance(value, dict) and {"index", "call", "input"} <= value.keys()
    if not whole or not ("output" in value or "error" in value):
        return None
    own = type(value["index"]) is int and _CALL.fullmatch(str(value["call"]))
    return value if own else None


def _require_same(record: Record, call: str, inputs: Mapping[int, Any], shown: str) -> None:
    """Reject a record of another call, or of a changed row."""
    index = record["index"]
    same_rows = tr(
        "name another file with -o, or give the same rows again, with new ones only at the end"
    )
    if record["call"] != call:
        raise UsageError(
            tr("{path} holds results of another call", path=shown),
            tr("name another file with -o, or remove it"),
        )
    if index not in inputs:
        raise UsageError(
            tr(
                "{path} holds a result of row {row}, which the input no longer has, or which is "
                "of another shard",
                path=shown,
                row=index,
            ),
            same_rows,
        )
    if "error" not in record and inputs[index] != record["input"]:
        raise UsageError(
            tr(
                "{path} holds a result of row {row} for another input: the row has changed",
                path=shown,
                row=index,
            ),
            same_rows,
        )


def _begins(line: bytes, call: str, inputs: Mapping[int, Any], *, alone: bool) -> bool:
    """Whether an incomplete ``line`` is the beginning of a record of this call.

    Behind whole records any beginning of one counts; ``alone`` it must be so long that it names
    the call.
    """
    text = line.decode("utf-8", "ignore")
    match = _ROW.match(text)
    if match is None:
        return not alone and (_FIRST.startswith(text) or bool(_CUT.fullmatch(text)))
    index, rest = int(match[1]), text[match.end() :]
    if index not in inputs:
        return False
    named = f'"call": "{call}", '
    given = _line({"input": inputs[index]})[1:-1]
    whole = (named + given,) if alone else (named + given, given)  # the second was written before
    return (not alone or rest.startswith(named)) and any(
        each.startswith(rest) or rest.startswith(each) for each in whole
    )


def foreign_file(shown: str) -> UsageError:
    """The error for a file that holds something else."""
    return UsageError(
        tr(
            "{shown} contains something other than results of `tchat map`; it is not changed",
            shown=shown,
        ),
        tr("name another file with -o"),
    )


def part_of(path: Path) -> Path:
    """A temporary path beside ``path``, within the limit of file names."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    return path.with_name(f".tchat-map-{digest}.part")


def _line(record: Record) -> str:
    return printable_json(json.dumps(in_english(record), ensure_ascii=False))
