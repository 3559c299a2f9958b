"""The scroll bar of the transcript, which moves with every line of a reply."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Region
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip


class ColumnScrollBar(ScrollBar):
    """Textual's vertical scroll bar, without the way through Rich's console.

    That takes most of a millisecond for each line that comes, an eighth of a flush.
    """

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
        strips: list[Strip] = []
        for text, own, _ in list(drawn.segments)[crop.y : crop.bottom]:
            strip = Strip([Segment(text, ground + own if own else ground)], bar.thickness)
            for each in filters:
                strip = strip.apply_filter(each, background)
            strips.append(strip)
        return strips
