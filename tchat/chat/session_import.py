"""Import of chats into the store, for the command and the screen: read, cleaned, stored, told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tchat.chat.session import usable_settings
from tchat.errors import StorageError, UsageError
from tchat.paths import is_file
from tchat.sanitize import single_line
from tchat.sessions.formats import Messages
from tchat.sessions.importers import ImportReport, Sessions
from tchat.sessions.importers.files import ImportFile, read_file, readable_programs
from tchat.sessions.records import ImportedSession, Session
from tchat.sessions.store import Store
from tchat.translation import N_, joined, tr, trn

_SHOWN = 40  # characters of an id in a notice
_AT_A_TIME = 0.2  # seconds that a chat in the same process waits for the store


def sessions_in(
    source: ImportFile, report: ImportReport, notice: Callable[[str], object]
) -> Sessions:
    """The sessions in a file as they are read; a notice for each setting that is unusable.

    Raises:
        UsageError: It holds no chats, or is damaged.
    """
    for session, messages in read_file(source, report):
        settings, unusable = usable_settings(session.settings)
        for line in unusable:
            name = single_line(session.id, _SHOWN)
            notice(tr("session {id}: {line}", id=name, line=line))
        settings.pop("tools.enabled", None)  # a file from elsewhere lets no model call a tool
        yield replace(session, settings=settings), messages


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Translate the errors of reading the file ``name``.

    Raises:
        UsageError: It does not exist.
        StorageError: It cannot be read.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(tr("there is no file {name}", name=name), readable_programs()) from error
    except OSError as error:
        raise StorageError(
            tr("cannot read {name}: {strerror}", name=name, strerror=error.strerror),
            tr("check its permissions"),
        ) from error


def import_file(
    store: Store,
    path: Path,
    report: ImportReport,
    progress: Callable[[int], object] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[ImportedSession]:
    """Import a file while others use the store; ``progress`` gets the number of sessions.

    The file is read as a whole before anything of it is stored. The store is held for a moment at
    a time. Once ``stopped`` says so, it ends with what was stored: the next import goes on there.

    Raises:
        UsageError: It is missing, holds no chats, or is damaged.
        StorageError: It cannot be read, or the store cannot be written.
    """
    imported: list[ImportedSession] = []
    name = single_line(str(path))
    if not is_file(str(path)):  # a pipe would wait for ever
        raise UsageError(tr("there is no file {name}", name=name), readable_programs())
    with reading_errors(name), path.open("rb") as file:
        source = ImportFile(path.name, file, path)
        told = 0.0
        for number, (_, messages) in enumerate(read_file(source, ImportReport()), 1):
            for _ in messages:
                pass
            if stopped():
                return imported
            if time.monotonic() - told > _AT_A_TIME:
                told = time.monotonic()
                progress(number)
        file.seek(0)
        sessions = sessions_in(source, report, lambda _: None)
        for first in sessions:
            imported += store.import_sessions(_for_a_moment(first, sessions))
            progress(len(imported))
            if stopped():
                break
    return imported


def _for_a_moment(first: tuple[Session, Messages], others: Sessions) -> Sessions:
    """The next sessions, as many as can be stored in a moment."""
    end = time.monotonic() + _AT_A_TIME
    for each in chain((first,), others):
        yield each
        if time.monotonic() > end:
            return


def import_summary(
    imported: Sequence[ImportedSession], report: ImportReport, *, dry_run: bool = False
) -> Iterator[str]:
    """What an import did, in lines."""
    new = sum(each.is_new for each in imported)
    grown = sum(not each.is_new and each.added > 0 for each in imported)
    unchanged = len(imported) - new - grown
    parts = [
        trn("{count:,} new session", "{count:,} new sessions", new) if new else "",
        tr("{count:,} continued", count=grown) if grown else "",
        tr("{count:,} unchanged", count=unchanged) if unchanged else "",
    ]
    messages = sum(each.added for each in imported)
    text = N_("imported from {programs}: {sessions}; {messages}")
    if dry_run:
        text = N_("would import from {programs}: {sessions}; {messages}")
    yield tr(
        text,
        programs=joined(list(map(tr, report.programs)) or [tr("no program")]),
        sessions=joined([part for part in parts if part] or [tr("no session")]),
        messages=trn("{count:,} message", "{count:,} messages", messages),
    )
    yield from report.lines()
