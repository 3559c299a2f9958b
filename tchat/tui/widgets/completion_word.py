"""The word at the cursor that completion works on."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a word could become."""

    COMMAND = "/"
    FILE = "@"


class Word(NamedTuple):
    """A word that ends at the cursor.

    Attributes:
        kind: Command or file.
        start: Column of its sign, ``/`` or ``@``.
        text: What is typed behind the sign.
    """

    kind: Kind
    start: int
    text: str

    @property
    def end(self) -> int:
        """Column behind it: the cursor's."""
        return self.start + 1 + len(self.text)


def word_at(line: str, row: int, column: int, entered: str = "") -> Word | None:
    """The word in front of the cursor; None where there is nothing to complete.

    A command stands at the very beginning. A file name begins at an ``@`` behind white space or an
    opening bracket or quote, and ends at white space, except inside ``entered``: the folder that
    completion went into may have blanks in its name.

    Args:
        line: The line that the cursor is on.
        row: Its number; 0 is the first.
        column: The cursor's, in characters.
        entered: Folder accepted before, as it stands behind the ``@``.
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
