"""``tchat sessions import``: the files and pipes that it reads, and the store that it fills."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tchat.chat.session_import import reading_errors, sessions_in
from tchat.cli.console import Console
from tchat.cli.output.status import TerminalStatus
from tchat.errors import StorageError, UsageError
from tchat.sanitize import single_line
from tchat.sessions.importers import ImportReport, Sessions
from tchat.sessions.importers.files import ImportFile
from tchat.sessions.store import SessionStore
from tchat.temporary_files import memory_folder, temporary_folder
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.sessions.records import ImportedSession

CHUNK = 1 << 16  # bytes copied at a time


def import_files(
    console: Console, files: Sequence[Path], report: ImportReport, *, dry_run: bool
) -> list[ImportedSession]:
    """Import ``files``, or standard input without any: all of them, or none."""
    sources: Sequence[Path | None] = files or (None,)
    with ExitStack() as resources:
        encrypted = console.paths.encryption is not None
        spools = resources.enter_context(_spooled(sources, console.stdin, in_memory=encrypted))
        path = console.paths.sessions_db
        if dry_run and not path.exists():
            path = resources.enter_context(temporary_folder(memory_folder())) / path.name
        store = resources.enter_context(SessionStore(path, console.paths.encryption))
        status = resources.enter_context(TerminalStatus(console))
        sessions = _shown(_imported(console, sources, spools, report), status)
        return store.import_sessions(sessions, dry_run=dry_run)


def _shown(sessions: Sessions, status: TerminalStatus) -> Sessions:
    """The sessions, with their number on a terminal."""
    for number, each in enumerate(sessions, 1):
        if status.due:
            status.show(trn("{count:,} session read", "{count:,} sessions read", number))
        yield each


@contextmanager
def _spooled(
    sources: Sequence[Path | None], stdin: IO[bytes] | None, *, in_memory: bool
) -> Iterator[Mapping[Path | None, IO[bytes]]]:
    """Copy ``sources`` that are no regular files to temporary files; None is stdin.

    A slow pipe must not lock the database. What an encrypted store takes in must not lie on a disk
    in clear: then the copies are ``in_memory``.
    """
    new_spool: Callable[[], IO[bytes]] = io.BytesIO if in_memory else tempfile.TemporaryFile
    with ExitStack() as stack:
        spools: dict[Path | None, IO[bytes]] = {}
        for source in sources:
            if source in spools or (source is not None and source.is_file()):
                continue
            with reading_errors(_name(source)):
                with _writing_spool(source):
                    spools[source] = stack.enter_context(new_spool())
                pieces = iter(partial(stdin.read, CHUNK), b"") if stdin else iter(())
                for piece in pieces if source is None else _pieces(source):
                    with _writing_spool(source):
                        spools[source].write(piece)
                with _writing_spool(source):
                    spools[source].flush()
        yield spools


def _pieces(source: Path) -> Iterator[bytes]:
    """Yield the content of a pipe or a device; does not wait for a writer."""
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        piece = file.read(CHUNK)  # None: somebody writes, but nothing is there yet
        if piece == b"" and source.is_fifo():
            raise UsageError(
                tr("{source} is a pipe without a writer", source=single_line(str(source))),
                tr("start the writer first, or name a file"),
            )
        os.set_blocking(descriptor, True)
        while piece != b"":
            if piece:
                yield piece
            piece = file.read(CHUNK)


def _imported(
    console: Console,
    sources: Sequence[Path | None],
    spools: Mapping[Path | None, IO[bytes]],
    report: ImportReport,
) -> Sessions:
    """The sessions in ``sources``, as they are read."""
    for source in sources:
        with reading_errors(_name(source)), ExitStack() as resources:
            if source is None or source in spools:
                file, path = spools[source], None
                file.seek(0)
            else:
                file, path = resources.enter_context(source.open("rb")), source
            yield from sessions_in(
                ImportFile(source.name if source else _name(source), file, path),
                report,
                console.notice,
            )


@contextmanager
def _writing_spool(source: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            tr(
                "cannot copy {source} to a temporary file: {strerror}",
                source=_name(source),
                strerror=error.strerror,
            ),
            tr("free some space, or set TMPDIR to a folder with space"),
        ) from error


def _name(source: Path | None) -> str:
    return tr("standard input") if source is None else single_line(str(source))
