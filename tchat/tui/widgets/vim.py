"""Vim's modes for the prompt: what keys do in the normal and the visual mode.

A position is an offset in the text. The insert mode leaves all keys but Esc to the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from textual.events import Key
from textual.widgets.text_area import Location, Selection

from tchat.sanitize import single_line
from tchat.translation import N_, tr
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.vim_changes import Changes

if TYPE_CHECKING:
    from tchat.tui.widgets.prompt_area import PromptArea

WORD = re.compile(r"\w+|[^\w\s]+")


class Mode(Enum):
    """A mode; the value is shown, translated."""

    INSERT = N_("INSERT")
    NORMAL = N_("NORMAL")
    VISUAL = N_("VISUAL")


class Target(NamedTuple):
    """Where a motion goes; whether an operator takes the character there, or whole lines, too."""

    at: int
    inclusive: bool = False
    linewise: bool = False


Motion = Callable[[str, int], Target]


def _line(text: str, at: int) -> tuple[int, int]:
    """Start and end of the line of a position, without its newline."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end


def _left(text: str, at: int) -> Target:
    return Target(max(at - 1, _line(text, at)[0]))


def _right(text: str, at: int) -> Target:
    return Target(min(at + 1, _line(text, at)[1]))


def _down(text: str, at: int) -> Target:
    start, end = _line(text, at)
    if end == len(text):
        return Target(at, linewise=True)
    below, last = _line(text, end + 1)
    return Target(min(below + at - start, last), linewise=True)


def _up(text: str, at: int) -> Target:
    start, _ = _line(text, at)
    if start == 0:
        return Target(at, linewise=True)
    above, last = _line(text, start - 1)
    return Target(min(above + at - start, last), linewise=True)


def _next_word(text: str, at: int) -> Target:
    starts = (word.start() for word in WORD.finditer(text) if word.start() > at)
    return Target(next(starts, len(text)))


def _word_back(text: str, at: int) -> Target:
    return Target(max((word.start() for word in WORD.finditer(text, 0, at)), default=0))


def _word_end(text: str, at: int) -> Target:
    ends = (word.end() - 1 for word in WORD.finditer(text) if word.end() - 1 > at)
    return Target(next(ends, max(0, len(text) - 1)), inclusive=True)


def _line_start(text: str, at: int) -> Target:
    return Target(_line(text, at)[0])


def _first_in_line(text: str, at: int) -> Target:
    start, end = _line(text, at)
    return Target(start + len(text[start:end]) - len(text[start:end].lstrip()))


def _line_end(text: str, at: int) -> Target:
    return Target(_line(text, at)[1])


def _first_line(text: str, at: int) -> Target:
    del at
    return _numbered_line(text, 1)


def _last_line(text: str, at: int) -> Target:
    del at
    return Target(_first_in_line(text, len(text)).at, linewise=True)


def _numbered_line(text: str, number: int) -> Target:
    """The line of a number from 1 on, the last one where there are fewer."""
    before = text.split("\n")[: number - 1]
    start = min(sum(len(line) + 1 for line in before), len(text))
    return Target(_first_in_line(text, start).at, linewise=True)


MOTIONS: Mapping[str, Motion] = MappingProxyType(
    {
        "h": _left,
        "l": _right,
        " ": _right,
        "j": _down,
        "k": _up,
        "w": _next_word,
        "b": _word_back,
        "e": _word_end,
        "0": _line_start,
        "^": _first_in_line,
        "$": _line_end,
        "gg": _first_line,
        "G": _last_line,
    }
)
SHORT = MappingProxyType(
    {"x": "dl", "X": "dh", "D": "d$", "C": "c$", "Y": "yy", "S": "cc", "s": "cl"}
)
INSERTS: Mapping[str, Motion] = MappingProxyType(  # a motion, then the insert mode
    {"i": lambda _, at: Target(at), "a": _right, "I": _first_in_line, "A": _line_end}
)
SHORT_NAMES = frozenset({"q", "qa", "wq", "wqa", "x", "xa", "w", "wa"})  # of no slash command
TO_LINES = ("gg", "G")  # with a count, the line of that number
OPERATORS = "dcy"
QUITS = frozenset({"q", "qa", "quit", "wq", "wqa", "x", "xa", "exit"})
WRITES = frozenset({"w", "wa", "write", "up", "update", "e", "edit"})
REDO = "\x12"  # Ctrl+R
TYPING = frozenset({"backspace", "delete", "enter", "ctrl+j", "ctrl+w", "ctrl+u", "ctrl+h"})


class Register(NamedTuple):
    """What was deleted or yanked last; whether these were whole lines."""

    draft: Draft
    linewise: bool


class Vim:
    """The mode of a prompt, and what was typed of a command so far.

    ``show`` gets the mode, or the command line, to be shown.
    """

    def __init__(self, area: PromptArea, show: Callable[[str], None]) -> None:
        self._area = area
        self._show = show
        self._typed = ""  # of a command: a count, an operator, `g`
        self._command_line: str | None = None  # what was typed behind `:`
        self._anchor = 0  # where the visual mode began
        self._register: Register | None = None
        self._changes = Changes(area)
        self._moved = False  # whether the last key in the insert mode typed nothing
        self.mode = Mode.INSERT
        show(tr(self.mode.value))

    @property
    def is_inserting(self) -> bool:
        """Whether letters are typed."""
        return self.mode is Mode.INSERT

    async def handle(self, event: Key) -> bool:
        """Whether ``event`` was a key of the mode; the prompt does nothing with it then."""
        key = event.character if event.is_printable and event.character else event.key
        if self._command_line is not None:
            self._edit_command_line(self._command_line, key)
            return True
        if self.mode is Mode.INSERT:
            return self._handle_insert(key)
        key = {"ctrl+r": REDO, "backspace": "h"}.get(key, key)
        if key == "escape":
            had_command = bool(self._typed) or self.mode is Mode.VISUAL
            self._normal(self._cursor())
            return had_command  # else it stops the reply
        if len(key) > 1:
            self._typed = ""
            return False
        if key in "jk:/?" and not self._area.text and not self._typed:
            return await self._act_on_empty(key)
        if key == ":" and not self._typed:
            self._edit_command_line("", "")
        else:
            self._changes.end()
            self._command(self._typed + key)
        return True

    def _handle_insert(self, key: str) -> bool:
        """What `handle` does with a key in the insert mode."""
        if key == "escape" and not self._area.is_completing:
            self._normal(self._cursor(), back=True)
            return True
        if key == "enter" and self._is_command_line(self._area.text):
            command = self._area.text[1:].strip()
            self._area.clear()
            self._normal(0)
            self._carry_out(command)
            return True
        moves = len(key) > 1 and key not in TYPING
        if moves or self._moved:
            self._changes.end()
        self._moved = moves
        return False

    async def _act_on_empty(self, key: str) -> bool:
        """What `handle` does with a key in an empty prompt: go to messages, or find text there."""
        if key == ":":
            self.insert()
            self._area.insert_text("/")
        elif key != "?":
            name = {"j": "message_down", "k": "message_up", "/": "find"}[key]
            await self._area.app.run_action(f"run('{name}')", self._area.screen)
        return key != "?"

    async def handle_first(self, event: Key) -> bool:
        """Whether ``event``, which the screen binds too, is a key of the mode.

        Ctrl+R redoes in the normal mode. In the insert mode a terminal's Esc that is followed by a
        key at once looks like Alt and the key.
        """
        if self.mode is not Mode.INSERT:
            return event.key == "ctrl+r" and await self.handle(event)
        if not event.key.startswith("alt+") or not event.is_printable or not event.character:
            return False
        await self.handle(Key("escape", None))
        await self.handle(Key(event.character, event.character))
        return True

    def insert(self) -> None:
        """Enter the insert mode."""
        self._set_mode(Mode.INSERT)

    # The command line

    def _edit_command_line(self, typed: str, key: str) -> None:
        """Add a key to what was typed behind `:`; Enter carries it out, Esc leaves it."""
        if key == "enter":
            self._normal(self._cursor())
            self._carry_out(typed.strip())
        elif key in ("escape", "ctrl+c") or (key == "backspace" and not typed):
            self._normal(self._cursor())
        else:
            self._command_line = typed[:-1] if key == "backspace" else typed + key * (len(key) == 1)
            self._show(f":{single_line(self._command_line)}")

    def _is_command_line(self, text: str) -> bool:
        """Whether a text to be sent is meant as one: `:` types `/` in an empty prompt."""
        name = text[1:].strip().removesuffix("!")
        return name in QUITS | WRITES and (
            text[0] == ":" or (text[0] == "/" and name in SHORT_NAMES)
        )

    def _carry_out(self, command: str) -> None:
        """Quit, go to a line, or tell that there is no such command."""
        if command.removesuffix("!") in QUITS:
            self._area.post_message(self._area.QuitRequested())
        elif command.isdecimal():
            self._go_to(_numbered_line(self._area.text, int(command[:5])).at)
        elif command:
            told = tr(
                ":{command} does not exist here. :q quits, /export writes the chat to a file.",
                command=single_line(command, 20),
            )
            self._area.notify(told, markup=False)

    # Commands

    def _command(self, typed: str) -> None:
        """Carry out a command, or wait for the rest of it."""
        count_text, command = re.fullmatch(r"((?:[1-9]\d*)?)(.*)", typed, re.DOTALL).groups()  # type: ignore[union-attr]
        operator = command[0] if command[:1] in OPERATORS and command else ""
        motion = command[1:] if operator else command
        if inner := re.match(r"[1-9]\d*", motion):
            count_text = str(int(count_text or 1) * int(inner[0]))
            motion = motion[inner.end() :]
        if operator and self.mode is Mode.VISUAL:
            self._typed = ""
            self._operate(operator, *self._selected(), linewise=False)
            return
        if motion in ("", "g") or (motion == "r" and not operator):
            self._typed = typed[-20:]
            return
        self._typed = ""
        count = min(int(count_text or 1), 1000)
        if motion in SHORT and not operator:
            self._command(f"{count_text}{SHORT[motion]}")
        elif operator and motion == operator:
            text, at = self._area.text, self._cursor()
            last = at
            for _ in range(count - 1):
                last = _down(text, last).at
            self._operate(operator, at, last, linewise=True)
        elif motion in MOTIONS:
            self._move(operator, motion, count, is_counted=bool(count_text))
        elif not operator:
            self._simple(motion, count)

    def _move(self, operator: str, motion: str, count: int, *, is_counted: bool) -> None:
        text, at = self._area.text, self._cursor()
        if operator == "c" and motion == "w" and text[at : at + 1].strip():
            motion = "e"  # as in Vim: `cw` leaves the space behind the word
            at_end = _word_end(text, at - 1)
            target = at_end if count == 1 else Target(at, inclusive=True)
            count -= count == 1
        else:
            target = Target(at)
        for _ in range(count):
            target = MOTIONS[motion](text, target.at)
        if is_counted and motion in TO_LINES:
            target = _numbered_line(text, count)
        if not operator:
            self._go_to(target.at)
            return
        if operator and motion == "w":  # not over the end of the line
            end = _line(text, max(at, target.at - 1))[1] if count > 1 else _line(text, at)[1]
            target = Target(min(target.at, max(end, at)))
        start, end = sorted((at, target.at))
        self._operate(operator, start, end + target.inclusive, linewise=target.linewise)

    def _operate(self, operator: str, start: int, end: int, *, linewise: bool) -> None:
        text = self._area.text
        first, last = start, end = sorted((start, end))
        if linewise:
            start, end = _line(text, first)[0], _line(text, last)[1]
        killed = self._area.remember_killed(self._location(start), self._location(end))
        self._register = Register(killed, linewise)
        if operator == "y":
            self._normal(first)
            return
        # Undo puts the cursor where it is before the edit.
        self._set_cursor(_first_in_line(text, start).at if linewise else start)
        if linewise and operator == "d":  # with a newline
            if end < len(text):
                end += 1
            elif start > 0:
                start -= 1
        self._area.delete_whole(self._location(start), self._location(end))
        if operator == "c":
            self._set_cursor(start)
            self.insert()
        else:
            at = min(start, len(self._area.text))
            self._normal(_first_in_line(self._area.text, at).at if linewise else at)

    def _simple(self, command: str, count: int) -> None:
        text, at = self._area.text, self._cursor()
        if command in INSERTS:
            self._set_cursor(INSERTS[command](text, at).at)
            self.insert()
        elif command in "oO":
            self._open_line(above=command == "O")
        elif command in "pP":
            self._put(before=command == "P", count=count)
        elif command in ("u", REDO):
            for _ in range(count):
                self._changes.undo() if command == "u" else self._changes.redo()
            self._normal(self._selected()[0])
        elif command == "v":
            self._anchor = at
            self._set_mode(Mode.NORMAL if self.mode is Mode.VISUAL else Mode.VISUAL)
            self._go_to(at)
        elif command[0] == "r" and len(command) == 2 and text[at : at + 1].strip("\n"):
            self._area.replace(command[1], self._location(at), self._location(at + 1))
            self._normal(at)

    def _open_line(self, *, above: bool) -> None:
        start, end = _line(self._area.text, self._cursor())
        place = self._location(start if above else end)
        self._area.replace("\n", place, place, maintain_selection_offset=False)
        self._set_cursor(start if above else end + 1)
        self.insert()

    def _put(self, *, before: bool, count: int) -> None:
        """Put the register, in one edit, before or behind the cursor or its line."""
        if self._register is None:
            return
        draft, linewise = self._register
        at = self._cursor()
        start, end = _line(self._area.text, at)
        put = self._area.with_chips(draft)
        if linewise:
            put, at = (f"{put}\n", start) if before else (f"\n{put}", end)
        else:
            at = at if before else min(at + 1, end)
        put *= count
        place = self._location(at)
        self._area.replace(put, place, place, maintain_selection_offset=False)
        if linewise:
            self._normal(_first_in_line(self._area.text, at if before else at + 1).at)
        else:
            self._normal(at if "\n" in put else max(at, at + len(put) - 1))

    # The text area

    def _set_mode(self, mode: Mode) -> None:
        self._typed, self._command_line = "", None
        self._moved = False
        self.mode = mode
        self._area.history.checkpoint()
        self._show(tr(mode.value))

    def _normal(self, at: int, *, back: bool = False) -> None:
        self._set_mode(Mode.NORMAL)
        self._changes.end()
        self._go_to(_left(self._area.text, at).at if back else at)

    def _go_to(self, at: int) -> None:
        """Put the cursor on a character; the visual mode selects up to it."""
        text = self._area.text
        start, end = _line(text, min(at, len(text)))
        at = max(start, min(at, end - 1))
        if self.mode is Mode.VISUAL:
            first, last = sorted((self._anchor, at))
            ends = self._location(first), self._location(min(last + 1, len(text)))
            self._area.selection = Selection(*(ends if at >= self._anchor else ends[::-1]))
        else:
            self._set_cursor(at)

    def _selected(self) -> tuple[int, int]:
        first, last = sorted(map(self._offset, self._area.selection))
        return first, last

    def _set_cursor(self, at: int) -> None:
        self._area.move_cursor(self._location(at))

    def _cursor(self) -> int:
        """The position of the cursor; in the visual mode of the character that it is on."""
        at = self._offset(self._area.selection.end)
        forward = self._area.selection.end > self._area.selection.start
        return at - 1 if self.mode is Mode.VISUAL and forward else at

    def _offset(self, location: Location) -> int:
        row, column = location
        return sum(len(line) + 1 for line in self._area.document.lines[:row]) + column

    def _location(self, offset: int) -> Location:
        before = self._area.text[:offset]
        return before.count("\n"), len(before) - before.rfind("\n") - 1
