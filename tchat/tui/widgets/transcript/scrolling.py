"""A view of a column of entries: it follows the end, or keeps what is read in its place.

Fits the private parts of Textual 8.2; ``tests/benchmarks/tui_transcript`` shows what they save.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from tchat.tui.widgets.transcript.column import Column
from tchat.tui.widgets.transcript.entry import Format
from tchat.tui.widgets.transcript.lines import Palette

_NEAR_END = 2  # rows from the end within which the view follows it again
_DEAR = 400  # lines in view; more are wrapped again only at the end of a resize
_QUIET = 0.1  # seconds without another step that end a resize


class ColumnView(ScrollView):
    """Scrolls a `Column`.

    The view follows the end until it is moved up, and again from two rows above the end.

    Attributes:
        following: Whether the end stays in view while text comes.
        unseen: Lines added below the view since it stopped following.
    """

    def __init__(self) -> None:
        super().__init__()
        self.column = Column(Format(Palette(), 0))
        self.following = True
        self.unseen = 0
        self._placing = False
        self._late: Timer | None = None

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        """The scroll bar, made on first use."""
        if self._vertical_scrollbar is None:
            self._vertical_scrollbar = ColumnScrollBar(thickness=self.scrollbar_size_vertical)
            self._vertical_scrollbar.display = False
            self.app._start_widget(self, self._vertical_scrollbar)
        return self._vertical_scrollbar

    def render_line(self, y: int) -> Strip:
        """The strip of row ``y`` of the view."""
        raise NotImplementedError

    def follow(self) -> None:
        """Show the end, and keep it in view."""
        self.following = True
        self.unseen = 0
        self._arrange()
        self.refresh()

    def refresh_row(self, position: int) -> None:
        """Draw the row at ``position`` again, if it is in view."""
        if self._top <= position < self._top + self._rows:
            self.refresh_lines(position, 1)

    @property
    def _rows(self) -> int:
        return self.size.height

    @property
    def _width(self) -> int:
        """Cells left of the scrollbar, which has its place even without anything to scroll."""
        return self.scrollable_content_region.width

    @property
    def _top(self) -> int:
        return self.scroll_offset.y

    def _arrange(self) -> None:
        """Update the position and the scrollbar after the column changed."""
        if not self.size:
            return
        if self.following:
            self._place(self.column.settle_end(self._rows))
        else:
            self._place(self.column.settle(self._top, self._rows))

    def _place(self, top: int) -> None:
        """Make ``top`` the position of the first row, and update the scrollbar."""
        size = Size(self._width, self.column.height)
        with self._own_move():
            if size != self.virtual_size:
                # Assigning it lays out and paints the whole screen: +1.9 ms for each new line.
                self.set_reactive(Widget.virtual_size, size)
                self._scroll_update(size)
            self.scroll_target_y = self.scroll_y = top

    @contextmanager
    def _own_move(self) -> Iterator[None]:
        """Changes of the position inside this context are not the user's."""
        before, self._placing = self._placing, True
        try:
            yield
        finally:
            self._placing = before

    def _on_appended(self, lines: int) -> None:
        """Update the view after ``lines`` were added at the end."""
        if not self.following:
            self.unseen += max(0, lines)
        self._arrange()

    def _on_prepended(self, lines: int) -> None:
        """Keep what was in view after ``lines`` were added in front."""
        if self.size and not self.following:
            self._place(self.column.settle(self._top + lines, self._rows))
        else:
            self._arrange()

    # What the user does.

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end or stop, and lay out what came into view."""
        super().watch_scroll_y(old_value, new_value)
        if self._placing:
            return
        if new_value < old_value:
            self.following = False
        elif new_value >= self.max_scroll_y - _NEAR_END:
            self.following = True
            self.unseen = 0
        top = round(new_value)
        settled = self.column.settle(top, self._rows)
        if settled != top or self.column.height != self.virtual_size.height:
            self._place(settled)
            self.refresh()

    def _scroll_by(self, lines: int) -> None:
        self.scroll_to(y=self._top + lines, animate=False)

    def action_scroll_up(self) -> None:
        """Go up a line, without animation: the position can move meanwhile."""
        self._scroll_by(-1)

    def action_scroll_down(self) -> None:
        """Go down a line."""
        self._scroll_by(1)

    def action_page_up(self) -> None:
        """Go up a page less a row."""
        self._scroll_by(1 - self._rows)

    def action_page_down(self) -> None:
        """Go down a page less a row."""
        self._scroll_by(self._rows - 1)

    def action_scroll_home(self) -> None:
        """Go to the first entry."""
        self._jump(0)

    def action_scroll_end(self) -> None:
        """Go to the end and follow it."""
        self.follow()

    def _jump(self, place: int, number: int = 0, above: int = 0) -> None:
        """Show line ``number`` of the entry at ``place``, with ``above`` rows above it."""
        if not len(self.column):
            return
        self.following = False
        number = max(number, int(self.column.layout(place).shape.apart))
        self.column.measure(place)
        top = max(0, self.column.top(place) + number - above)
        for _ in range(3):  # entries that come into view can move the line
            self.column.settle(top, self._rows)
            wanted = max(0, self.column.top(place) + number - above)
            if wanted == top:
                break
            top = wanted
        self._place(top)
        self.refresh()

    # The size and the look.

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        with self._own_move():  # a larger view can end above the position it had
            changed = super()._size_updated(size, virtual_size, container_size, layout)
        if size and not self.column.form.width:  # it was filled before it had a size
            self.call_next(self.on_resize)
        return changed

    def on_resize(self) -> None:
        """Wrap lines again: now if few are in view, else at the end of the resize."""
        width = self._width
        if width == self.column.form.width:
            self._arrange()
            return
        if self.column.form.width == 0:
            self.reformat(replace(self.column.form, width=width))
            self.column.estimate_again()
            self._arrange()
            return
        if self._late:
            self._late.stop()
        if self._in_view() <= _DEAR:
            self.reformat(replace(self.column.form, width=width))
        self._late = self.set_timer(_QUIET, self._at_rest)

    def _at_rest(self) -> None:
        """Wrap the lines in view for the present size, and estimate the others again."""
        self._late = None
        if self._width != self.column.form.width:
            self.reformat(replace(self.column.form, width=self._width))
        with self._keep_top_line():
            self.column.estimate_again()

    def _in_view(self) -> int:
        """Lines of the entries that are in view."""
        if not len(self.column):
            return 0
        first, _ = self.column.find(self._top)
        last, _ = self.column.find(self._top + self._rows - 1)
        return self.column.top(last + 1) - self.column.top(first)

    def reformat(self, form: Format) -> None:
        """Lay out in another format, and keep the line on top."""
        with self._keep_top_line():
            self.column.reformat(form)

    @contextmanager
    def _keep_view(self, *, follow: bool) -> Iterator[None]:
        """Keep the line on top where it is while an entry folds or unfolds inside this context.

        Args:
            follow: Whether the end stays in view where the view follows it.
        """
        place, number = self.column.find(self._top)
        following = self.following
        yield
        if not (following and follow):
            number = min(number, self.column.measure(place) - 1)
            top = self.column.settle(self.column.top(place) + number, self._rows)
            self.following = following and top + self._rows >= self.column.height
            if not self.following:
                self._place(top)
        self._arrange()
        self.refresh()

    @contextmanager
    def _keep_top_line(self) -> Iterator[None]:
        """Keep the line on top about where it is while heights change inside this context."""
        if not len(self.column):
            yield
            return
        place, number = self.column.find(self._top)
        key = self.column.entry(place).key
        before = max(1, self.column.top(place + 1) - self.column.top(place))
        yield
        if not self.following and self.size:
            if key in self.column:
                place = self.column.place(key)
            place = min(place, len(self.column) - 1)
            number = number * self.column.measure(place) // before
            self._place(self.column.settle(self.column.top(place) + number, self._rows))
        self._arrange()
        self.refresh()


class ColumnScrollBar(ScrollBar):
    """Textual's vertical scroll bar without Rich's console: 0.6 ms less for each new line."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``."""
        bar = self.render()
        if any(self.styles.gutter) or self.opacity < 1 or not isinstance(bar, ScrollBarRender):
            return super().render_lines(crop)
        style = self.app.console.get_style(bar.style)
        assert style.color is not None  # noqa: S101 - both were given
        assert style.bgcolor is not None  # noqa: S101
        drawn = bar.render_bar(
            size=self.size.height,
            virtual_size=bar.virtual_size,
            window_size=bar.window_size,
            position=bar.position,
            thickness=bar.thickness,
            back_color=style.bgcolor,
            bar_color=style.color,
        )
        ground = self.visual_style.rich_style
        filters, background = self.get_line_filters(), self.background_colors[1]
        rows = list(drawn.segments)[crop.y : crop.bottom]
        strips: dict[int, Strip] = {}  # rows share a few segments; by the id of a segment
        for row in rows:
            if id(row) in strips:
                continue
            style = ground + row.style if row.style else ground
            strip = Strip([Segment(row.text, style)], bar.thickness)
            for each in filters:
                strip = strip.apply_filter(each, background)
            strips[id(row)] = strip
        return [strips[id(row)] for row in rows]
