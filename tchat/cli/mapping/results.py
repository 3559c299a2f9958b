"""Where the results of a map go: standard output, or a file that a later call goes on with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from tchat.cli.console import Console
from tchat.errors import StorageError, UsageError
from tchat.sanitize import printable_json, single_line

Record = dict[str, Any]


class Results(Protocol):
    """Takes the record of each row."""

    @property
    def done(self) -> frozenset[int]:
        """Rows that have theirs already."""

    def add(self, record: Record) -> None:
        """Take the record of one more row."""


class Printed:
    """Records on standard output.

    Args:
        console: Where to.
        order: The rows in their order, which is kept; empty to print them as they come.
    """

    done: frozenset[int] = frozenset()

    def __init__(self, console: Console, order: Sequence[int] = ()) -> None:
        self._console = console
        self._order = list(reversed(order))
        self._held: dict[int, Record] = {}

    def add(self, record: Record) -> None:
        """Print the record, or hold it until those before it are there."""
        if not self._order:
            self._print(record)
            return
        self._held[record["index"]] = record
        while self._order and self._order[-1] in self._held:
            self._print(self._held.pop(self._order.pop()))

    def _print(self, record: Record) -> None:
        self._console.out(_line(record))
        self._console.flush()


class ResultFile:
    """Records in a file, each written as soon as it is there: an end at any time loses no row.

    Args:
        file: Open for appending.
        call: Names the call that they are results of; it is a part of each.
        done: Rows whose records the file has.
    """

    def __init__(self, file: IO[str], call: str, done: frozenset[int]) -> None:
        self._file, self._call = file, call
        self.done = done

    def add(self, record: Record) -> None:
        """Append the record."""
        self._file.write(_line(record | {"call": self._call}) + "\n")
        self._file.flush()


@contextmanager
def open_results(
    path: Path, call: str, inputs: Mapping[int, Any], *, ordered: bool
) -> Iterator[ResultFile]:
    """The file at ``path``, with what an earlier call like this one has written.

    At the end, when it has every row, it is put in their order, if that is wanted.

    Args:
        path: Made when there is none.
        call: Names the call.
        inputs: Of each row.
        ordered: Whether to sort it.

    Raises:
        UsageError: It holds something else, or another call is writing it.
        StorageError: It cannot be read or written.
    """
    path = Path(os.path.realpath(path))
    try:
        with _locked(path):
            done = _resumed(path, call, inputs)
            with path.open("a", encoding="utf-8") as file:
                yield ResultFile(file, call, frozenset(done))
            if ordered:
                _sort(path, len(inputs))
    except OSError as error:
        raise StorageError(
            f"cannot write {single_line(str(path))}: {error.strerror or error}",
            "free some space, or name another file with -o",
        ) from error


def _resumed(path: Path, call: str, inputs: Mapping[int, Any]) -> set[int]:
    """The rows that the file has; what a sudden end left half written is cut off."""
    if not path.exists():
        return set()
    if not path.is_file():
        raise UsageError(f"{single_line(str(path))} is not a file", "name a file with -o")
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    done: set[int] = set()
    for line in whole.splitlines():
        record = _record(line)
        index = record.get("index")
        known = record.get("call") == call and isinstance(index, int) and index in inputs
        if not known or inputs[int(record["index"])] != record.get("input"):
            raise UsageError(
                f"{single_line(str(path))} holds results of another call",
                "name another file with -o, or remove it",
            )
        done.add(int(record["index"]))
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return done


def _record(line: bytes) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _sort(path: Path, count: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    by_index = sorted(lines, key=lambda line: int(json.loads(line)["index"]))
    if len(lines) < count or by_index == lines:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.writelines(by_index)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, part)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another call is writing {single_line(str(path))}", "wait for it, or stop it"
        ) from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _line(record: Record) -> str:
    return printable_json(json.dumps(record, ensure_ascii=False))
