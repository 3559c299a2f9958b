"""What stands above a reply that is written beside others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from textual.content import Content

from tchat.plural import counted
from tchat.sanitize import single_line
from tchat.tui.widgets.row import Part, Row

LABEL = 24  # characters of a label


class Stage(Enum):
    """How far a reply is; the value is its sign and its word."""

    WAITING = ("◌", "")
    WRITING = ("●", "")
    DONE = ("✓", "")
    STOPPED = ("■", "stopped")
    CUT_OFF = ("■", "cut off")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be said of one reply.

    Attributes:
        number: From 1.
        stage: How far it is.
        tokens: Written so far.
        label: A short word on it, such as a judge's score, raw; empty for none.
        taken: Whether it is the one that the chat goes on with.
    """

    number: int
    stage: Stage = Stage.WAITING
    tokens: int = 0
    label: str = ""
    taken: bool = False

    def parts(self, *, current: bool) -> list[Part]:
        """The facts from the left, for a row of any width."""
        sign, word = self.stage.value
        name = f"{'❯' if current else ' '} {self.number} {sign}"
        count = counted(self.tokens, "token") if self.tokens else ""
        told = " · ".join(filter(None, ["taken" * self.taken, word, count]))
        short = f"{self.tokens:,}" if self.tokens else ""
        return [
            Part((Content.styled(name, "bold"),)),
            Part(tuple(map(Content, (told, count, short, ""))), (3, 2, 1), " "),
        ]

    @property
    def note(self) -> Part:
        """The label, for the right end of a row."""
        label = single_line(self.label, LABEL)
        return Part((Content.styled(label, "bold"), Content("")), (4,))


class Head(Row):
    """The row above one reply."""

    DEFAULT_CSS = """
    Head { background: $panel; color: $foreground; }
    Head.-current { background: $primary; color: $background; }
    """

    def show(self, standing: Standing, *, current: bool) -> None:
        """Show what is to be said of the reply; ``current`` is the one that keys act on."""
        self.set_class(current, "-current")
        self.set_parts(standing.parts(current=current), [standing.note])


class Tabs(Row):
    """All replies on one row, where not all of them can be seen."""

    DEFAULT_CSS = """
    Tabs { background: $panel; color: $foreground; }
    """

    def show(self, standings: list[Standing], current: int) -> None:
        """Show how far each is; ``current`` counts from 0."""
        parts = []
        for place, each in enumerate(standings):
            style = "bold reverse" if place == current else ""
            words = f"{'❯' if place == current else ' '}{each.number} {each.stage.value[0]}"
            told = single_line(each.label, LABEL) or (f"{each.tokens:,}" if each.tokens else "")
            forms = (f"{words} {told} ", f"{words} ") if told else (f"{words} ",)
            contents = tuple(Content.styled(form, style) for form in forms)
            keep = (1 + (place == current),) if told else ()
            parts.append(Part(contents, keep, " "))
        self.set_parts(parts)
