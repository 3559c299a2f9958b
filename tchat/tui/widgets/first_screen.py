"""The first screen of a chat: shown where there is no message yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Key, Resize
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.translation import N_, tr
from tchat.tui.textual_patches import carry_out_binding

PROMPTS = (
    N_("Explain in three sentences how tides work"),
    N_("Write a Python function that reverses a string"),
    N_("Suggest three names for a grey cat, and say why"),
)
FACT_LIMIT = 60  # characters of a fact about the model
OFFER_LIMIT = 240  # characters of the offer of a better model
OFFER_COLUMN = 76  # cells of its lines
COLUMN = 54  # cells of the widest column of choices
SIDE_BY_SIDE = 104  # cells from which recent chats and prompts stand side by side
FEW_KEYS = 9  # keys at least where there is little room
MARK, GAP = "❯ ", "  "


class Choice(NamedTuple):
    """A recent chat, or a prompt to try. Texts are raw.

    Attributes:
        title: Of the session, or the prompt.
        note: When the session was used.
        session_id: Empty for a prompt.
    """

    title: str
    note: str = ""
    session_id: str = ""


class Span(NamedTuple):
    """The cells of a line that a choice is drawn in."""

    start: int
    end: int
    choice: int


class ClickableLine(NamedTuple):
    """A line with its choices; lines are centred as they are."""

    content: Content = Content("")
    spans: tuple[Span, ...] = ()


class FirstScreen(Widget):
    """The model, recent chats, prompts to try, and keys: as much of it as there is room for.

    Args:
        hints: Keys and what they do, the ones needed first at the beginning.

    Attributes:
        is_crowded: Whether there are notices below, which need room too.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", N_("Previous choice"), show=False, id="first-screen.up"),
        Binding("down", "move(1)", N_("Next choice"), show=False, id="first-screen.down"),
        Binding("enter", "choose", N_("Open the chat, or insert the prompt"), show=False,
                id="first-screen.choose"),
        Binding("escape,tab", "leave", N_("Back to the prompt"), show=False,
                id="first-screen.leave"),
    ]  # fmt: skip
    DEFAULT_CSS = """
    FirstScreen { height: 1fr; color: $muted; }
    FirstScreen.-crowded { height: auto; padding: 1 0; }
    """

    @dataclass
    class Chosen(Message):
        """The user chose a recent chat or a prompt."""

        choice: Choice

    class Left(Message):
        """The user went back; the focus belongs to the prompt."""

    def __init__(self, hints: Sequence[tuple[str, str]], select: str = "") -> None:
        super().__init__()
        self._hints = hints
        self._select = tr("{key} selects", key=select) if select else ""
        self._facts: Sequence[str] = ()
        self._offer = ""
        self._chats: Sequence[Choice] = ()
        self._prompts = tuple(map(Choice, map(tr, PROMPTS)))
        self._at: int | None = None  # the choice under the cursor, while the widget has the focus
        self._drawn: tuple[tuple[int, int], Sequence[ClickableLine]] | None = None

    @property
    def is_crowded(self) -> bool:
        """See the class."""
        return self.has_class("-crowded")

    @is_crowded.setter
    def is_crowded(self, crowded: bool) -> None:
        self.set_class(crowded, "-crowded")
        self._draw_again()

    @property
    def choices(self) -> Sequence[Choice]:
        """What can be chosen now: those that are shown."""
        shown = {span.choice for line in self._lines() for span in line.spans}
        return (*self._chats, *self._prompts)[: max(shown, default=-1) + 1]

    def show_model(self, *facts: str) -> None:
        """Show facts about the model in one line, raw; the name is the first."""
        self._facts = [single_line(fact, FACT_LIMIT) for fact in facts]
        self._draw_again()

    def show_offer(self, text: str) -> None:
        """Offer a better model, raw; empty for no offer."""
        self._offer = single_line(text, OFFER_LIMIT)
        self._draw_again()

    def show_chats(self, chats: Sequence[Choice]) -> None:
        """Show recent chats."""
        self._chats = tuple(chats)
        self._draw_again()

    def select(self) -> bool:
        """Take the focus, with the cursor on the first choice; False where none is shown."""
        self.can_focus = bool(self.choices)
        if self.can_focus:
            self.focus()
        return self.can_focus

    def on_focus(self) -> None:
        """Show the cursor."""
        self._move_to(0)

    def on_blur(self) -> None:
        """Hide the cursor; the widget is left out of the order of the focus."""
        self._at, self.can_focus = None, False
        self._draw_again()

    def on_resize(self, _: Resize) -> None:
        """Lay out the lines again."""
        if self.is_crowded:
            self._draw_again()

    def on_click(self, event: Click) -> None:
        """Choose what was clicked."""
        lines = self._lines()
        row = event.y - self._above(len(lines)) - self.styles.padding.top
        spans = lines[row].spans if 0 <= row < len(lines) else ()
        for span in spans:
            if span.start <= event.x < span.end:
                event.stop()
                self._choose(span.choice)

    async def _on_key(self, event: Key) -> None:
        """A number chooses; other keys act in the order typed."""
        if self.check_consume_key(event.key, event.character):
            event.stop()
            event.prevent_default()
            self._choose(int(event.key) - 1)
        else:
            await carry_out_binding(self, event)

    def check_consume_key(self, key: str, character: str | None) -> bool:  # noqa: ARG002
        """Whether ``key`` is the number of a choice."""
        return key.isdecimal() and 0 < int(key) <= len(self.choices)

    def action_move(self, step: int) -> None:
        """Move the cursor, and stop at the ends."""
        self._move_to((self._at or 0) + step)

    def action_choose(self) -> None:
        """Choose what is under the cursor."""
        if self._at is not None:
            self._choose(self._at)

    def action_leave(self) -> None:
        """Go back to the prompt."""
        self.post_message(self.Left())

    def _move_to(self, index: int) -> None:
        self._at = min(max(0, index), max(0, len(self.choices) - 1))
        self._draw_again()

    def _choose(self, index: int) -> None:
        self.post_message(self.Chosen((*self._chats, *self._prompts)[index]))

    # Drawing

    def _draw_again(self) -> None:
        self._drawn = None
        self.refresh(layout=self.is_crowded)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """How many lines there are beside notices."""
        return len(self._lines())

    def render(self) -> Content:
        """The lines, a little above the middle."""
        lines = self._lines()
        above = [Content("")] * self._above(len(lines))
        return Content("\n").join([*above, *(line.content for line in lines)])

    def _above(self, lines: int) -> int:
        return 0 if self.is_crowded else max(0, self.size.height - lines) * 2 // 5

    def _lines(self) -> Sequence[ClickableLine]:
        """The lines of the richest layout that there is room for."""
        screen = self.app.size
        width = self.size.width or screen.width
        height = screen.height // 2 - 2 if self.is_crowded else self.size.height or screen.height
        if self._drawn is None or self._drawn[0] != (width, height):
            layouts = list(self._layouts(width))
            lines = next((each for each in layouts if len(each) <= height), layouts[-1])
            self._drawn = (width, height), lines
        return self._drawn[1]

    def _layouts(self, width: int) -> Iterator[Sequence[ClickableLine]]:
        """All layouts, the richest first."""
        title = ClickableLine(centred(Content.styled("tchat", "bold $heading"), width))
        about = (
            [ClickableLine(centred(facts_line(self._facts, width), width))] if self._facts else []
        )
        offer = offer_lines(self._offer, width)
        keys = key_lines(self._hints, width)
        few = few_key_lines(self._hints, width)
        both, first = self._choice_lines(width), self._choice_lines(width, only_first=True)
        yield [title, *about, *offer, ClickableLine(), *both, ClickableLine(), *keys]
        yield [*about, *offer, ClickableLine(), *both, ClickableLine(), *few]
        yield [*about, *offer, ClickableLine(), *first, ClickableLine(), *few]
        yield [*about, *offer, *first, *few]
        yield [*about, *offer, ClickableLine(), *few]
        yield [*about, *offer]
        yield about

    def _choice_lines(self, width: int, *, only_first: bool = False) -> list[ClickableLine]:
        """Recent chats and prompts to try, under their headings."""
        blocks = [(tr("Recent chats"), 0, self._chats)] if self._chats else []
        if not blocks or not only_first:
            blocks.append((tr("Try"), len(self._chats), self._prompts))
        beside = len(blocks) > 1 and width >= SIDE_BY_SIDE
        cells = min(COLUMN, width // 2 - 4 if beside else width - 4)
        drawn = [self._block(*block, cells, hint=not at) for at, block in enumerate(blocks)]
        if not beside:
            left = max(0, (width - cells) // 2)
            return [moved(line, left) for at, block in enumerate(drawn)
                    for line in ([ClickableLine()] * bool(at) + block)]  # fmt: skip
        left = max(0, (width - 2 * cells - 4) // 2)
        return [
            ClickableLine(
                one.content.pad_left(left) + " " * 4 + two.content,
                moved(one, left).spans + moved(two, left + cells + 4).spans,
            )
            for one, two in zip_longest(*drawn, fillvalue=ClickableLine(Content(" " * cells)))
        ]

    def _block(
        self, heading: str, first: int, choices: Sequence[Choice], cells: int, *, hint: bool
    ) -> list[ClickableLine]:
        hinted = f" · {self._select}" if hint and self._select else ""
        above = Content.assemble((heading, "bold"), hinted)
        lines = [ClickableLine((GAP + above).truncate(cells, ellipsis=True, pad=True))]
        for index, choice in enumerate(choices, first):
            lines.append(
                ClickableLine(
                    choice_line(index + 1, choice, cells, is_current=index == self._at),
                    (Span(0, cells, index),),
                )
            )
        return lines


def facts_line(facts: Sequence[str], width: int) -> Content:
    """The facts in a line; those after the first are left out where there is no room."""
    while True:
        line = Content(" · ".join(facts))
        if line.cell_length <= width - 2 or len(facts) < 3:
            return line
        facts = (facts[0], *facts[2:])


def offer_lines(text: str, width: int) -> list[ClickableLine]:
    """An offer between two rules, wrapped."""
    if not text:
        return []
    cells = max(1, min(OFFER_COLUMN, width - 4))
    left = max(0, (width - cells) // 2)
    rule = Content.styled("─" * cells, "$heading")
    words = Content.styled(text, "$foreground").wrap(cells)
    return [
        ClickableLine(line.pad_left(left))
        for line in (rule, *(centred(each.rstrip(), cells) for each in words), rule)
    ]


def choice_line(number: int, choice: Choice, cells: int, *, is_current: bool) -> Content:
    """A choice in a line of exactly ``cells``: its number, title and note."""
    note = Content.styled(single_line(choice.note), "$muted")
    room = cells - len(MARK) - 3 - (note.cell_length + 2 if note else 0)
    colour = "bold $heading" if is_current else "$assistant"
    title = Content.styled(single_line(choice.title), colour)
    return Content.assemble(
        (MARK if is_current else GAP, "$heading"),
        (f"{number}  ", "$muted"),
        title.truncate(max(1, room), ellipsis=True, pad=True),
        GAP if note else "",
        note,
    )


def key_lines(hints: Sequence[tuple[str, str]], width: int) -> list[ClickableLine]:
    """Keys and what they do, in as many columns as fit, at most four."""
    cells = [(Content.styled(key, "bold $foreground"), Content(does)) for key, does in hints]
    for columns in (4, 3, 2, 1):
        rows = [cells[at : at + columns] for at in range(0, len(cells), columns)]
        widths = [
            (max(key.cell_length for key, _ in column), max(does.cell_length for _, does in column))
            for column in (cells[at::columns] for at in range(min(columns, len(cells))))
        ]
        total = sum(key + 1 + does for key, does in widths) + 3 * (len(widths) - 1)
        if total <= width - 2 or columns == 1:
            break
    lines = []
    for row in rows:
        shown = [
            _padded(key, keys) + " " + _padded(does, words)
            for (key, does), (keys, words) in zip(row, widths, strict=False)
        ]
        line = Content(" " * 3).join(shown)
        lines.append(ClickableLine(line.pad_left(max(0, (width - total) // 2))))
    return lines


def few_key_lines(hints: Sequence[tuple[str, str]], width: int) -> list[ClickableLine]:
    """The first `FEW_KEYS`, and as many more as their rows have room for."""
    few = key_lines(hints[:FEW_KEYS], width)
    more = (key_lines(hints[:count], width) for count in range(len(hints), FEW_KEYS, -1))
    return next((lines for lines in more if len(lines) <= len(few)), few)


def _padded(text: Content, cells: int) -> Content:
    return text.pad_right(max(0, cells - text.cell_length))


def moved(line: ClickableLine, cells: int) -> ClickableLine:
    """``line`` moved to the right by so many cells."""
    spans = (Span(each.start + cells, each.end + cells, each.choice) for each in line.spans)
    return ClickableLine(line.content.pad_left(cells), tuple(spans))


def centred(text: Content, width: int) -> Content:
    """``text`` in the middle of ``width`` cells, cut where it is longer."""
    text = text.truncate(width, ellipsis=True)
    return text.pad_left(max(0, (width - text.cell_length) // 2))
