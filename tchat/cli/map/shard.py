"""A share of the rows for each of several machines, and their result files put together."""

from __future__ import annotations

import fcntl
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tchat.chat.attachments import expand_patterns
from tchat.cli.console import Console
from tchat.cli.map.results import (
    Record,
    foreign_file,
    part_of,
    record_of,
    result_lines,
    translated_errors,
    write_whole,
)
from tchat.cli.map.rows import MapRow
from tchat.errors import ExitCode, UsageError
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    import click

MERGE = "merge"
MERGE_HELP = N_("""\
Put the result files of several shards together, in the order of the rows.

What OUT holds already counts as the first file. A row that is in several files is taken from the
first where it has a result. Rows that are missing between others are told; of rows behind the last
one no file knows: the same `tchat map` with -o OUT and without --shard processes just the rows
that are missing.

Exit code: 0 no row failed or is missing, 1 some did or are, 2 the files do not belong together.""")
MOST_SHARDS = 100_000
LISTED = 5  # gaps that are named
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Every ``count``-th row, the ``number``-th of them first, counted from 1.

    By the number of the row, not by blocks: rows of all kinds come to each machine, and rows that
    are appended to the input later leave the others where they are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard in ``text``, such as ``2/4``.

        Raises:
            UsageError: There is no such shard.
        """
        match = _SHARD.fullmatch(text.strip())
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 < number <= count <= MOST_SHARDS:
            raise UsageError(
                tr("--shard is I/N, not `{text}`", text=single_line(text, 40)),
                tr("for example 1/4, 2/4, 3/4 and 4/4 on four machines"),
            )
        return cls(number, count)

    def rows(self, rows: Sequence[MapRow], console: Console) -> list[MapRow]:
        """Those of ``rows`` that are its own."""
        own = [row for row in rows if row.index % self.count == self.number - 1]
        console.notice(
            tr(
                "shard {number} of {count}: {own:,} of {total}",
                number=self.number,
                count=self.count,
                own=len(own),
                total=trn("{count:,} row", "{count:,} rows", len(rows)),
            )
        )
        return own


class _Place(NamedTuple):
    """Where a record is: in which file, and from which byte on."""

    file: io.FileIO
    at: int
    length: int
    failed: bool


@dataclass(slots=True)
class _Merge:
    """What the files hold so far.

    Attributes:
        places: The record of each row.
        call: Name of the call that all records are of; empty before the first.
        doubles: Rows that are in more than one file; the output is none of them.
        output: The file that was there already; None where there was none.
    """

    places: dict[int, _Place] = field(default_factory=dict)
    call: str = ""
    doubles: set[int] = field(default_factory=set)
    output: io.FileIO | None = None

    def read(self, path: Path, file: io.FileIO, console: Console) -> None:
        """Add the records of a file.

        Raises:
            UsageError: It holds something else, or results of another call or of other rows.
        """
        shown, at = single_line(str(path)), 0
        with open(file.fileno(), "rb", closefd=False) as reader:
            for line in result_lines(reader, shown):
                record = record_of(line)
                if record is None:
                    if line.endswith(b"\n"):
                        raise foreign_file(shown)
                    text = tr("the last line of {path} is incomplete and left out", path=shown)
                    console.notice(text)
                    break
                self._require_same_call(record, shown)
                place = _Place(file, at, len(line), "error" in record)
                self._add(record["index"], place, shown)
                at += len(line)

    def _require_same_call(self, record: Record, shown: str) -> None:
        if self.call and record["call"] != self.call:
            raise UsageError(
                tr("{path} holds results of another call than the files before it", path=shown),
                tr("merge files of one prompt, one model and the same flags"),
            )
        self.call = record["call"]

    def _add(self, index: int, place: _Place, shown: str) -> None:
        known = self.places.get(index)
        if known is None or known.file is place.file:  # in one file the last record counts
            self.places[index] = place
            return
        if not (known.failed or place.failed) and _input(known) != _input(place):
            raise UsageError(
                tr(
                    "{path} holds row {row} with another input than a file before",
                    path=shown,
                    row=index,
                ),
                tr("merge files of the same rows"),
            )
        if known.file is not self.output:
            self.doubles.add(index)
        if known.failed:
            self.places[index] = place

    def gaps(self) -> Iterator[str]:
        """Rows that are missing before the last one: ``7``, or ``7-9``."""
        for before, after in pairwise([-1, *sorted(self.places)]):
            if after - before > 1:
                first, last = before + 1, after - 1
                yield str(first) if first == last else f"{first}-{last}"


def _line_of(place: _Place) -> bytes:
    return os.pread(place.file.fileno(), place.length, place.at).removesuffix(b"\n") + b"\n"


def _input(place: _Place) -> object:
    record = record_of(_line_of(place))
    return record and record["input"]


def merge_shards(
    console: Console, output: str, inputs: Sequence[str], flag: str | None = None
) -> int:
    """Write the records of all ``inputs`` to ``output``, in the order of their rows.

    What ``output`` holds already counts as the first of them. A row that is in several files is
    taken from the first where it has a result. Returns the exit code: 0 if no row failed or is
    missing, else 1.

    Args:
        console: Says what is missing.
        output: Written at once and whole.
        inputs: Names or globs of files.
        flag: A flag that was given, which a merge has no use for.

    Raises:
        UsageError: A file is missing, is being written, or belongs to another call.
        StorageError: A file cannot be read or written.
    """
    if flag or not inputs:
        raise UsageError(
            tr("`tchat map merge` takes an output file and the files to merge, and no flags"),
            tr("for example: tchat map merge all.jsonl part-*.jsonl"),
        )
    path = Path(os.path.realpath(expanded(output)))
    merge = _Merge()
    with ExitStack() as files:
        for each in dict.fromkeys((*([path] if path.exists() else ()), *_parts(inputs))):
            file = files.enter_context(closing(_open_locked(each)))
            if each == path:
                merge.output = file
            merge.read(each, file, console)
        with translated_errors(path):
            _write_sorted(path, merge.places)
    return _report(console, merge, path)


def merge_help(ctx: click.Context) -> str:
    """The help of ``tchat map merge``; ``ctx`` is that of the map."""
    import click

    arguments = [
        click.Argument(["output"], metavar="OUT"),
        click.Argument(["inputs"], metavar="FILE...", nargs=-1),
    ]
    command = click.Command(
        MERGE, params=list(arguments), help=tr(MERGE_HELP), add_help_option=False
    )
    info = f"{ctx.info_name} {MERGE}"
    with click.Context(command, ctx.parent, info, max_content_width=100) as own:
        command.options_metavar = ""
        return command.get_help(own)


def _parts(inputs: Sequence[str]) -> Iterator[Path]:
    for path in expand_patterns(inputs):
        yield Path(os.path.realpath(path))


def _open_locked(path: Path) -> io.FileIO:
    """The file, which no other call is writing."""
    with translated_errors(path):
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(
            tr("another tchat is writing {shown}", shown=single_line(str(path))),
            tr("wait for it, or stop it"),
        ) from None
    return file


def _write_sorted(path: Path, places: Mapping[int, _Place]) -> None:
    part = part_of(path)
    part.unlink(missing_ok=True)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with io.FileIO(os.open(part, flags, 0o600), "w") as file:
            for index in sorted(places):
                write_whole(file, _line_of(places[index]))
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _report(console: Console, merge: _Merge, path: Path) -> int:
    rows = trn("{count:,} row", "{count:,} rows", len(merge.places))
    console.notice(tr("{rows} in {path}", rows=rows, path=single_line(str(path))))
    if merge.doubles:
        console.notice(
            trn(
                "{count:,} row is in more than one file; its first result was taken",
                "{count:,} rows are in more than one file; their first results were taken",
                len(merge.doubles),
            )
        )
    failed = sum(place.failed for place in merge.places.values())
    if failed:
        console.say(trn("{count:,} row failed", "{count:,} rows failed", failed))
    gaps = list(merge.gaps())
    if gaps:
        more = ["…"] if len(gaps) > LISTED else []
        console.say(
            tr(
                "missing rows, unless these lines are empty: {gaps}; rows after {last:,} may be "
                "missing too: the same call with -o {path} and no --shard adds them",
                gaps=", ".join([*gaps[:LISTED], *more]),
                last=max(merge.places),
                path=single_line(str(path)),
            )
        )
    return ExitCode.UNEXPECTED if failed or gaps else ExitCode.OK
