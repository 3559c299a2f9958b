"""A person who read nothing finds what there is to do, by what is on the screen at that moment.

No key and no command is typed that the screen does not show: keys are read off it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.terminal import Terminal
from tests.tiny import write_tiny

KEY = r"(?:(?:Ctrl|Alt|Shift)\+\S+?(?: [a-z](?=[,\s]))?|F\d+|Enter|Esc|Tab|\?|/)"
FUNCTION_KEYS = {
    **{f"F{n}": f"\x1bO{letter}" for n, letter in enumerate("PQRS", 1)},
    **{f"F{n}": f"\x1b[{code}~" for n, code in enumerate((15, 17, 18, 19, 20, 21, 23, 24), 5)},
}
NAMED = {"Enter": "\r", "Esc": "\x1b", "Tab": "\t", "Space": " "}
UP, DOWN = "\x1b[A", "\x1b[B"
MOST = 40  # steps down a list


def typed(key: str) -> str:
    """What a terminal sends for a key, or for two in a row, as the screen names them."""
    if " " in key:
        return "".join(map(typed, key.split()))
    if len(key) == 1:
        return key
    if key in FUNCTION_KEYS or key in NAMED:
        return (FUNCTION_KEYS | NAMED)[key]
    modifier, _, letter = key.partition("+")
    if modifier == "Ctrl":
        return chr(ord(letter.upper()) & 0x1F)
    assert modifier == "Alt"
    return "\x1b" + letter.lower()


class Newcomer:
    """Somebody before the terminal, who tries what it offers."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    @property
    def page(self) -> str:
        """What is on the screen."""
        return self.terminal.text

    def until(self, text: str) -> None:
        """Wait until ``text`` is seen."""
        self.terminal.until(text)

    def until_gone(self, text: str) -> None:
        """Wait until ``text`` is not seen any more."""
        self.terminal.until(lambda: text not in self.page)

    @property
    def in_dialog(self) -> bool:
        """Whether a dialog is open: a frame with a title."""
        return re.search(r"╭─ \S", self.page) is not None

    def until_dialog(self) -> None:
        """Wait until a dialog is open."""
        self.terminal.until(lambda: self.in_dialog)

    def until_closed(self) -> None:
        """Wait until no dialog is open."""
        self.terminal.until(lambda: not self.in_dialog)

    def key_for(self, words: str) -> str:
        """The key that the screen names for something; empty if it names none."""
        for line in self.page.splitlines():
            pattern = rf"(?<![^\s·│❯])({KEY})(?:, [^│]*?)?\s+(?:[a-z]+ )?{re.escape(words)}"
            found = re.search(pattern, line, re.IGNORECASE)
            if found:
                return found[1]
        return ""

    def press(self, words: str) -> None:
        """Press the key that the screen names for ``words``."""
        self.terminal.until(lambda: bool(self.key_for(words)))  # a toast may lie over it
        self.terminal.send(typed(self.key_for(words)))

    def do(self, words: str) -> None:
        """Do something whose key the screen names, or the help that the screen names."""
        if not self.key_for(words):
            self.press("help")
            self.until_dialog()
            self.terminal.send(words)
            self.terminal.until(lambda: bool(self.key_for(words)))
            key = self.key_for(words)
            self.press("close")
            self.until_closed()
            self.terminal.send(typed(key))
        else:
            self.press(words)

    def choose(self, title: str) -> None:
        """Move the cursor of the list to an item that the screen shows, and take it."""
        for _ in range(MOST):
            self.terminal.until(lambda: self._steps(title) is not None)
            steps = self._steps(title)
            if not steps:
                break
            self.terminal.send(UP if steps < 0 else DOWN)
            self._until_moved(title, steps)
        self.terminal.send(typed("Enter"))

    def _until_moved(self, title: str, steps: int) -> None:
        self.terminal.until(lambda: self._steps(title) not in (None, steps))

    def _steps(self, title: str) -> int | None:
        """How many rows the item is below the cursor; None while one of them is not seen."""
        rows = self.page.splitlines()
        cursor = next((row for row, line in enumerate(rows) if "❯" in line), None)
        if cursor is None:
            return None
        column = rows[cursor].index("❯")  # what stands before it is behind the dialog
        found = [row - cursor for row, line in enumerate(rows) if title in line[column:]]
        return min(found, key=abs, default=None)


def test_keys_are_read_off_the_screen() -> None:
    assert [typed(key) for key in ("Ctrl+O", "Ctrl+X w", "Alt+T", "F2", "F6")] == [
        "\x0f",
        "\x18w",
        "\x1bt",
        "\x1bOQ",
        "\x1b[17~",
    ]


SIZES = [
    (80, 24),
    *(pytest.param(size, marks=pytest.mark.long) for size in ((60, 16), (120, 36), (200, 60))),
]


@pytest.mark.parametrize("size", SIZES)
def test_ten_minutes_without_reading_anything(
    home: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    model = write_tiny(models / "first.gguf")
    write_tiny(models / "second.gguf")
    with SessionStore(home / "sessions.db") as store:
        for title in ("Tides", "Melons"):
            session = new_session(store, title=title)
            asked = store.add(session.id, Role.USER, f"Tell me of {title}", parent_id=None)
            store.add(session.id, Role.ASSISTANT, f"All of {title}.", parent_id=asked.id)
    command = (sys.executable, "-m", "tchat", "-m", str(model), "--max-tokens", "8")
    with Terminal(command, size, dict(os.environ), str(tmp_path)) as terminal:
        person = Newcomer(terminal)

        # Another session
        person.until("Recent chats")
        person.press("sessions")
        person.until_dialog()
        person.choose("Tides")
        person.until("All of Tides.")

        # Regenerate
        person.do("Regenerate")
        person.until("2/2")

        # A branch
        person.do("Branches")
        person.until_dialog()
        person.choose("All of Tides.")
        person.until("1/2")

        # Several replies
        person.do("Write several replies")
        person.until("Enter keeps")
        person.press("keeps")
        person.until_gone("Enter keeps")

        # Search
        person.do("Search all messages")
        person.until_dialog()
        terminal.send("melons")
        person.choose("All of Melons.")
        person.until_closed()
        person.until("Tell me of Melons")

        # Another model
        person.do("Choose the model")
        person.until_dialog()
        person.choose("second")
        person.until_closed()
        person.until("second")

        # Another theme
        ground = terminal.ground
        person.do("Choose the theme")
        person.until_dialog()
        person.choose("tchat-light")
        person.until_closed()
        terminal.until(lambda: terminal.ground != ground)

        # Settings
        person.do("Settings")
        person.until("ctx_size")
        person.press("close")
        person.until_closed()

        # Export
        person.do("Export")
        person.until("A new file: Markdown")
        person.press("write the file")
        person.until("Written to")
        assert list(tmp_path.glob("*.md"))

        # The end
        person.do("Quit")
        assert terminal.ended() == 0
