"""The first screen of a chat: shown where there is no message yet."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.events import Resize
from textual.widget import Widget

from tchat.sanitize import single_line

NAME_LIMIT = 40
KEY, DOES = 8, 18  # cells of a column
SHORT = 20  # rows of the terminal under which the keys stand alone


class EmptyState(Widget):
    """Shown where there is no message yet: the model, and keys in two centred columns.

    Args:
        hints: Keys and what they do; the first half is the left column.
    """

    DEFAULT_CSS = """
    EmptyState { height: auto; padding: 1 0; color: $muted; }
    """

    def __init__(self, hints: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._hints = hints
        self._model = Content("")
        self._drawn: tuple[tuple[int, int, Content], Content] | None = None

    def show(self, model: str, quantization: str, device: str) -> None:
        """Show the model; all texts are raw and may be empty."""
        name = single_line(model, NAME_LIMIT)
        about = [single_line(text, NAME_LIMIT) for text in (quantization, device) if text]
        self._model = Content(" · ").join(map(Content, filter(None, [name, *about])))
        self.refresh(layout=True)

    def render(self) -> Content:
        """The centred lines; cached, as one layout asks for them three times."""
        of = (self.content_size.width or self.app.size.width, self.app.size.height, self._model)
        if self._drawn is None or self._drawn[0] != of:
            self._drawn = of, self._lines(*of[:2])
        return self._drawn[1]

    def _lines(self, width: int, height: int) -> Content:
        lines = self._columns(width)
        if height >= SHORT:
            title = Content.styled("tchat", "bold $primary")
            above = [Content("")] * (height // 8)
            lines = [*above, title, self._model, Content(""), *lines]
        return Content("\n").join(_centred(line, width) for line in lines)

    def on_resize(self, _: Resize) -> None:
        """Centre the lines again."""
        self.refresh(layout=True)

    def _columns(self, width: int) -> list[Content]:
        cells = [_cell(key, does) for key, does in self._hints]
        if width < 2 * (KEY + DOES):
            return cells
        half = (len(cells) + 1) // 2
        return [left + right for left, right in zip(cells[:half], cells[half:], strict=False)]


def _cell(key: str, does: str) -> Content:
    shown = Content.styled(key.ljust(KEY), "bold $foreground")
    return (shown + does).pad_right(max(0, KEY + DOES - len(shown) - len(does)))


def _centred(line: Content, width: int) -> Content:
    return line.pad_left(max(0, (width - line.cell_length) // 2))
