"""The list of completions: it lies over the text and pushes nothing aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.widget import Widget

from tchat.sanitize import single_line
from tchat.tui.background import background
from tchat.tui.widgets.completion_match import CompletionMatch

ROWS = 8
LEAST_ROWS = 3
WIDEST = 64
NAME_WIDEST = 40
CHOSEN = "$block-cursor-foreground on $block-cursor-background"
FRAME = 4  # border and padding, left and right


class Completion(Widget, can_focus=False):
    """Candidates for the word at the cursor, one of them chosen.

    Attributes:
        room: Rows of the screen above the text.
    """

    DEFAULT_CSS = """
    Completion {
        display: none; overlay: screen; constrain: inside inside;
        border: round $border; padding: 0 1; background: $panel; color: $foreground;
        border-subtitle-color: $text-muted;
    }
    """

    @dataclass
    class Picked(Message):
        """A candidate was clicked; it is the chosen one now."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._matches: Sequence[CompletionMatch] = ()
        self._rows: Sequence[Content] = ()
        self._at = 0
        self._shown = 0
        self._was_moved = False
        self.room = ROWS + 2

    @property
    def is_open(self) -> bool:
        """Whether it is on the screen."""
        return bool(self._matches)

    @property
    def chosen(self) -> CompletionMatch | None:
        """The candidate that would be taken now; None while closed."""
        return self._matches[self._at] if self._matches else None

    @property
    def was_moved(self) -> bool:
        """Whether the user chose among the candidates."""
        return self._was_moved

    @property
    def matches(self) -> Sequence[CompletionMatch]:
        """What it shows."""
        return self._matches

    @background(group="file-names", exclusive=True)
    async def fetch(self, names: Callable[[], Awaitable[None]]) -> None:
        """Wait for the names of files, instead of those that were asked for before."""
        await names()

    def show(self, matches: Sequence[CompletionMatch], column: int, sign: str = "") -> None:
        """Show ``matches``, the first one chosen; none close it.

        Args:
            matches: The best first.
            column: Cells from the left edge of the parent to the word.
            sign: Stands in front of each name.
        """
        self._matches, self._at, self._was_moved = matches, 0, False
        self.display = bool(matches)
        if not matches:
            return
        self._rows = _rows(matches, sign, min(WIDEST, self.app.size.width - FRAME))
        self._shown = min(ROWS, len(matches), max(LEAST_ROWS, self.room - 2))
        height = self._shown + 2
        self.styles.width, self.styles.height = self._rows[0].cell_length + FRAME, height
        # It is laid out where the text begins; above it nothing is hidden that is being typed.
        self.styles.offset = (max(0, column), -height)
        self._draw()

    def close(self) -> None:
        """Take it off the screen."""
        self.show((), 0)

    def move(self, step: int) -> None:
        """Choose the candidate ``step`` further down; the ends are joined."""
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
        """Choose and take the row that was clicked."""
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
        """Choose the one before."""
        event.stop()
        self.move(-1)

    @property
    def _first(self) -> int:
        """The first candidate on the screen."""
        return max(0, min(self._at - self._shown // 2, len(self._matches) - self._shown))

    def _draw(self) -> None:
        if len(self._matches) > self._shown:
            self.border_subtitle = f"{self._at + 1} of {len(self._matches)}"
        else:
            self.border_subtitle = None
        self.refresh()


def _rows(matches: Sequence[CompletionMatch], sign: str, widest: int) -> list[Content]:
    """A row for each match, all of one width, with room for the mark of the chosen one."""
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
    """The name with the characters found in bold."""
    name = single_line(match.name)
    content = Content(sign + name)
    if name == match.name:  # else the positions are those of the raw name
        for position in match.positions:
            at = len(sign) + position
            content = content.stylize("bold underline", at, at + 1)
    return content
