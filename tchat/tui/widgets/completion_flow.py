"""From the word at the cursor to what takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from tchat.tui.widgets.completion import Completion
from tchat.tui.widgets.completion_match import Candidate, Kind, Word, rank

FileNames = Callable[[str], Sequence[str]]
"""Names that the word behind an ``@`` could become; may read the disk, is called in a thread."""
Existing = Callable[[Iterable[str]], Sequence[str]]
"""Names of files among words behind an ``@``; reads the disk, is called in a thread."""


class Accepted(NamedTuple):
    """What takes the place of a word; ``name`` of a file is raw, a folder's ends in a slash."""

    word: Word
    name: str

    @property
    def is_file(self) -> bool:
        """Whether it becomes a chip."""
        return self.word.kind is Kind.FILE and not self.is_folder

    @property
    def is_folder(self) -> bool:
        """Whether completion goes on inside it."""
        return self.word.kind is Kind.FILE and self.name.endswith("/")


class Completer:
    """Keeps the popup in step with the word at the cursor.

    Attributes:
        commands: The slash commands, their names without the slash.
        file_names: Where file names come from; None offers none.
        existing: Looks up names that were typed faster than they were offered.
        entered: The folder that was accepted last, while the word is still inside it.
    """

    def __init__(self, popup: Completion) -> None:
        self.popup = popup
        self.commands: Sequence[Candidate] = ()
        self.file_names: FileNames | None = None
        self.existing: Existing | None = None
        self.entered = ""
        self._word: Word | None = None
        self._column = 0
        self._dismissed: tuple[Kind, int] | None = None
        self._place = ""
        self._files: Sequence[Candidate] = ()

    @property
    def is_open(self) -> bool:
        """Whether a candidate can be chosen."""
        return self.popup.is_open

    @property
    def chosen(self) -> Accepted | None:
        """The chosen candidate for the word; None while closed."""
        if self._word is None or self.popup.chosen is None:
            return None
        return Accepted(self._word, self.popup.chosen.candidate.text)

    @property
    def typed(self) -> Accepted | None:
        """The candidate that is already typed in full, by any of its names."""
        if self._word is None:
            return None
        for match in self.popup.matches:
            if self._word.text in match.candidate.names:
                return Accepted(self._word, match.candidate.text)
        return None

    @property
    def mention(self) -> str:
        """The file name typed so far, whether it is there or not; empty in other words."""
        return self._word.text if self._word is not None and self._word.kind is Kind.FILE else ""

    @property
    def is_meant(self) -> bool:
        """Whether the user began to choose, by a letter or by a key."""
        return self._word is not None and (bool(self._word.text) or self.popup.was_moved)

    def update(self, word: Word | None, column: int) -> None:
        """The word at the cursor is ``word`` now, ``column`` cells from the popup's parent."""
        self._word, self._column = word, column
        if word is None:
            self.entered, self._dismissed = "", None
            self._place = ""
            self.popup.close()
        elif self._dismissed == (word.kind, word.start):
            self.popup.close()
        elif word.kind is Kind.COMMAND:
            self.popup.show(rank(word.text, self.commands), column, "/")
        else:
            self._update_files(word)

    def dismiss(self) -> None:
        """Close the popup until another word is begun."""
        if self._word is not None:
            self._dismissed = (self._word.kind, self._word.start)
        self.popup.close()

    def _update_files(self, word: Word) -> None:
        place = _place(word.text)
        if place == self._place:
            self.popup.show(rank(word.text, self._files), self._column)
        elif self.file_names is not None:
            self._place, self._files = place, ()
            self.popup.close()
            self.popup.fetch(partial(self._fetch, self.file_names, word.text, place))

    async def _fetch(self, file_names: FileNames, text: str, place: str) -> None:
        """List a folder beside the screen, and show it if the word is still inside it."""
        names = await asyncio.to_thread(file_names, text)
        if self._place == place:
            self._files = [Candidate(name) for name in names]
            self.update(self._word, self._column)


def _place(text: str) -> str:
    """The part of a word that decides which names are listed: its folder, and a dot behind it."""
    folder, slash, rest = text.rpartition("/")
    return f"@{folder}{slash}{rest[:1] if rest.startswith('.') else ''}"
