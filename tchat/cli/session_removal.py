"""``tchat sessions rm``: what is deleted, and what holds pieces of it still."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.cli.confirm import confirm
from tchat.cli.console import Console
from tchat.cli.line_input import HISTORY
from tchat.errors import StorageError
from tchat.plural import counted
from tchat.sanitize import single_line
from tchat.sessions.backups import remove_files

if TYPE_CHECKING:
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore

COMMAND = "tchat sessions rm"


@dataclass(frozen=True, slots=True)
class SessionRemoval:
    """Deletes sessions and, where wanted, what outlives them.

    Attributes:
        console: Where it is asked and told.
        history: Whether to delete the input history too.
        backups: Whether to delete copies of the database too.
    """

    console: Console
    history: bool
    backups: bool

    def remove(
        self, find: Callable[[SessionStore], Sequence[Session]], *, ask: bool = True
    ) -> None:
        """Delete the sessions that ``find`` names, after asking.

        Raises:
            UsageError: One of them is not there, or the answer is no.
            StorageError: Something cannot be deleted.
        """
        from tchat.chat.snapshots import forget_sessions
        from tchat.cli.sessions import open_sessions

        with open_sessions(self.console) as store:
            found = find(store)
            if ask:
                confirm(self.console, list(self._lines(found, store)), "Delete?")
            gone: set[str] = set()
            with ExitStack() as rest:  # what fails holds up nothing else
                rest.callback(self._erase, store, gone)
                rest.callback(forget_sessions, self.console.paths, gone)
                for session in found:
                    if session.id not in gone:
                        gone.add(session.id)
                        store.delete(session.id)
                if self.history:
                    rest.callback(remove_files, self._histories())
                if self.backups:
                    rest.callback(store.remove_backups)
            copies = store.backup_files()
        if gone:
            self.console.say(f"deleted {counted(len(gone), 'session')}")
        self._tell(copies)

    def _lines(self, found: Sequence[Session], store: SessionStore) -> Iterator[str]:
        for each in found:
            title = single_line(each.title) or "(no title)"
            yield f"{each.id}  {counted(each.messages, 'message')}  {title}"
        if self.backups:
            yield from (single_line(str(path)) for path in store.backup_files())
        if self.history:
            yield from (single_line(str(path)) for path in self._histories())

    def _erase(self, store: SessionStore, gone: Collection[str]) -> None:
        if not gone:
            return
        try:
            store.erase()
        except StorageError as error:
            self.console.say(
                f"deleted, but pieces may still be in the file: {error.message}; "
                "delete another session later, which erases them"
            )

    def _histories(self) -> list[Path]:
        from tchat.chat.prompt_history import FILE

        config = self.console.paths.config
        return [path for name in (FILE, HISTORY) if (path := config / name).is_file()]

    def _tell(self, copies: Sequence[Path]) -> None:
        """Name what may still hold pieces of what was deleted."""
        if copies:
            names = ", ".join(single_line(path.name) for path in copies)
            self.console.say(
                f"copies of the database are still there: {names}; delete them: {COMMAND} --backups"
            )
        if histories := self._histories():
            names = ", ".join(single_line(path.name) for path in histories)
            self.console.say(
                f"typed prompts are still in the input history: {names}; "
                f"delete them: {COMMAND} --history"
            )
