"""Completion of the word at the cursor: what it is, and the popup with its candidates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.widgets.fuzzy_match import Candidate, CompletionMatch, rank


class Kind(Enum):
    """What a word is completed to; the value is its sign."""

    COMMAND = "/"
    FILE = "@"


class Word(NamedTuple):
    """A word that ends at the cursor.

    Attributes:
        start: The column of its sign.
        text: The characters behind the sign.
    """

    kind: Kind
    start: int
    text: str

    @property
    def end(self) -> int:
        """The column behind it: the cursor's."""
        return self.start + 1 + len(self.text)


def word_at(line: str, row: int, column: int, entered: str = "") -> Word | None:
    """The word in front of the cursor at ``row`` and ``column``; None if it cannot be completed.

    A command begins the text. A file name begins at an ``@`` behind white space, an opening bracket
    or a quote, and ends at white space, except inside ``entered``: the folder accepted before, as
    it stands behind the ``@``, may have spaces in its name.
    """
    before = line[:column]
    if row == 0 and before.startswith("/"):
        name = before[1:]
        is_name = not any(character.isspace() or character == "/" for character in name)
        return Word(Kind.COMMAND, 0, name) if is_name else None
    start = before.rfind("@")
    while start >= 0:
        text = before[start + 1 :]
        rest = text.removeprefix(entered)
        if any(map(str.isspace, rest)):
            return None
        if start == 0 or before[start - 1].isspace() or before[start - 1] in "([{'\"":
            return Word(Kind.FILE, start, text)
        start = before.rfind("@", 0, start)
    return None


FileNames = Callable[[str], Sequence[str]]
"""File names that a word behind an ``@`` could become; reads the disk, called in a thread."""
Existing = Callable[[Iterable[str]], Sequence[str]]
"""Those of several words that name a file; reads the disk, called in a thread."""


class Accepted(NamedTuple):
    """The replacement of a word; a file's ``name`` is raw, a folder's ends in a slash."""

    word: Word
    name: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which becomes a chip."""
        return self.word.kind is Kind.FILE and not self.is_folder

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, in which completion goes on."""
        return self.word.kind is Kind.FILE and self.name.endswith("/")


ROWS = 8
LEAST_ROWS = 3
WIDEST = 64
NAME_WIDEST = 40
CHOSEN = "$block-cursor-foreground on $block-cursor-background"
FRAME = 4  # border and padding, left and right


class Completion(Widget, can_focus=False):
    """A popup with candidates for the word at the cursor, one of them chosen.

    Attributes:
        commands: The slash commands, their names without the slash.
        file_names: Lists file names; None offers none.
        existing: Looks up names that were typed before they could be offered.
        entered: The folder accepted last, while the word is inside it.
        room: Rows of the screen above the text.
    """

    DEFAULT_CSS = """
    Completion {
        display: none; overlay: screen; constrain: inside inside;
        border: round $border; padding: 0 1; background: $panel; color: $foreground;
        border-subtitle-color: $text-muted;
    }
    """

    class Picked(Message):
        """A candidate was clicked; it is the chosen one."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: Sequence[Candidate] = ()
        self.file_names: FileNames | None = None
        self.existing: Existing | None = None
        self.entered = ""
        self.room = ROWS + 2
        self._word: Word | None = None
        self._column = 0
        self._dismissed: tuple[Kind, int] | None = None
        self._place = ""
        self._files: Sequence[Candidate] = ()
        self._matches: Sequence[CompletionMatch] = ()
        self._rows: Sequence[Content] = ()
        self._at = 0
        self._shown = 0
        self._was_moved = False

    # The word

    @property
    def is_open(self) -> bool:
        """Whether it is on the screen."""
        return bool(self._matches)

    @property
    def chosen(self) -> Accepted | None:
        """The chosen candidate; None while closed."""
        if self._word is None or not self._matches:
            return None
        return Accepted(self._word, self._matches[self._at].candidate.text)

    @property
    def typed(self) -> Accepted | None:
        """The candidate that is typed in full, by any of its names."""
        if self._word is None:
            return None
        for match in self._matches:
            if self._word.text in match.candidate.names:
                return Accepted(self._word, match.candidate.text)
        return None

    @property
    def mention(self) -> str:
        """The file name typed so far, existing or not; empty in another kind of word."""
        return self._word.text if self._word is not None and self._word.kind is Kind.FILE else ""

    @property
    def should_accept(self) -> bool:
        """Whether Enter takes the chosen candidate: the user began to choose, by letter or key."""
        if self._word is None or not self.is_open or self.typed is not None:
            return False
        return bool(self._word.text) or self._was_moved

    def update_word(self, word: Word | None, column: int = 0) -> None:
        """Complete ``word``, which begins ``column`` cells right of the parent's left edge."""
        self._word, self._column = word, column
        if word is None:
            self.entered, self._dismissed, self._place = "", None, ""
            self._show(())
        elif self._dismissed == (word.kind, word.start):
            self._show(())
        elif word.kind is Kind.COMMAND:
            self._show(rank(word.text, self.commands), "/")
        elif (place := _place(word.text)) == self._place:
            self._show(rank(word.text, self._files))
        elif self.file_names is not None:
            self._place, self._files = place, ()
            self._show(())
            self._list_files(self.file_names, word.text, place)

    def dismiss(self) -> None:
        """Close the popup until another word begins."""
        if self._word is not None:
            self._dismissed = (self._word.kind, self._word.start)
        self._show(())

    @background(group="file-names", exclusive=True)
    async def _list_files(self, file_names: FileNames, text: str, place: str) -> None:
        """List a folder in a thread, and show it if the word is still inside it."""
        names = await asyncio.to_thread(file_names, text)
        if self._place == place:
            self._files = [Candidate(name) for name in names]
            self.update_word(self._word, self._column)

    # The popup

    def _show(self, matches: Sequence[CompletionMatch], sign: str = "") -> None:
        """Show ``matches`` behind ``sign``, the first one chosen; without any it closes."""
        self._matches, self._at, self._was_moved = matches, 0, False
        self.display = bool(matches)
        if not matches:
            return
        self._rows = _rows(matches, sign, min(WIDEST, self.app.size.width - FRAME))
        self._shown = min(ROWS, len(matches), max(LEAST_ROWS, self.room - 2))
        height = self._shown + 2
        self.styles.width, self.styles.height = self._rows[0].cell_length + FRAME, height
        # Above the text, so that it hides nothing that is being typed.
        self.styles.offset = (max(0, self._column), -height)
        self._draw()

    def move(self, step: int) -> None:
        """Choose the candidate ``step`` rows below, around the ends."""
        self._at = (self._at + step) % max(1, len(self._matches))
        self._was_moved = True
        self._draw()

    def render(self) -> Content:
        """The rows around the chosen one."""
        shown = range(self._first, self._first + self._shown)
        return Content("\n").join(
            Content.assemble("› ", self._rows[index][2:]).stylize(CHOSEN)
            if index == self._at
            else self._rows[index]
            for index in shown
        )

    def on_click(self, event: Click) -> None:
        """Choose the row that was clicked."""
        event.stop()
        row = self._first + event.get_content_offset_capture(self).y
        if 0 <= row < len(self._matches):
            self._at = row
            self.post_message(self.Picked())

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Choose the next."""
        event.stop()
        self.move(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Choose the previous."""
        event.stop()
        self.move(-1)

    @property
    def _first(self) -> int:
        """The index of the first visible candidate."""
        return max(0, min(self._at - self._shown // 2, len(self._matches) - self._shown))

    def _draw(self) -> None:
        if len(self._matches) > self._shown:
            self.border_subtitle = tr(
                "{number} of {count}", number=self._at + 1, count=len(self._matches)
            )
        else:
            self.border_subtitle = None
        self.refresh()


def _rows(matches: Sequence[CompletionMatch], sign: str, widest: int) -> list[Content]:
    """A row for each match, of equal widths, with space for the mark of the chosen one."""
    names = [_name(match, sign) for match in matches]
    details = [single_line(match.candidate.detail) for match in matches]
    most = min(NAME_WIDEST, widest) if any(details) else widest - 2
    width = min(most, max(name.cell_length for name in names))
    rows = []
    for name, detail in zip(names, details, strict=True):
        row = Content("  ") + name.truncate(width, ellipsis=True, pad=True)
        if detail:
            row += Content.styled(f"  {detail}", "$text-muted")
        rows.append(row.truncate(widest, ellipsis=True))
    full = max(row.cell_length for row in rows)
    return [row.truncate(full, pad=True) for row in rows]


def _name(match: CompletionMatch, sign: str) -> Content:
    """The name with the matched characters in bold."""
    name = single_line(match.name)
    content = Content(sign + name)
    if name == match.name:  # else the positions are those of the raw name
        for position in match.positions:
            at = len(sign) + position
            content = content.stylize("bold underline", at, at + 1)
    return content


def _place(text: str) -> str:
    """The part of a word that decides which names are listed: folder, and dot of a hidden file."""
    folder, slash, rest = text.rpartition("/")
    return f"@{folder}{slash}{rest[:1] if rest.startswith('.') else ''}"
