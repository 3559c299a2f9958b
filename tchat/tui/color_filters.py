"""Line filters for terminals with fewer colours: 256, 16, or none by NO_COLOR."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from textual.color import Color
from textual.filter import LineFilter

from tchat.tui.themes import BACKGROUNDS, READABLE, STANDS_OUT, VISIBLE, contrast, readable

_BLACK, _WHITE = 0, 15  # of the 16
_LEVELS = (0, 95, 135, 175, 215, 255)  # of each channel in the colour cube, 16..231
_CUBE, _GREYS = 16, range(232, 256)
_TINTED = 80  # difference of channels from which a background is a colour, not a tinted grey


_SIXTEEN = [
    Color(*RichColor.from_ansi(number).get_truecolor(DEFAULT_TERMINAL_THEME))
    for number in range(16)
]


class EightBitColors(LineFilter):
    """Reduces colours to the nearest of the 256 of xterm.

    Rich, which would do it when a line is written, takes for grey what has little saturation in
    HLS. That is high near black and white, so dark grey backgrounds became black or blue there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bands: Mapping[tuple[int, int, int], Color] = {}

    def follow_theme(self, variables: Mapping[str, str]) -> None:
        """Let the bands of a theme, its `BACKGROUNDS`, stand out from the screen."""
        screen, *bands = (Color.parse(variables[name]) for name in ("background", *BACKGROUNDS))
        if any(color.ansi is not None for color in (screen, *bands)):
            return  # the terminal's own colours
        ground = _reduced_background(screen)
        self._bands = {
            band.rgb: readable(band, [ground], VISIBLE, _reduced_background) for band in bands
        }

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """``segments`` in colours of the terminal."""
        return [
            Segment(text, style and style + self._drawn(style), control)
            for text, style, control in segments
        ]

    def _drawn(self, style: Style) -> Style:
        behind = style.bgcolor
        band = self._bands.get(behind.triplet) if behind and behind.triplet else None
        return _eight_bit(style.color, behind, band)


@lru_cache(1024)
def _eight_bit(front: RichColor | None, behind: RichColor | None, band: Color | None) -> Style:
    """The style of both colours as the terminal has them; a text keeps its contrast up to 4.5:1.

    ``band`` is what is shown in place of ``behind``.
    """
    text, ground = (
        Color(*each.triplet) if each and each.triplet else None for each in (front, behind)
    )
    ansi_ground = ground and (band or _reduced_background(ground))
    if text and ground and ansi_ground:
        text = readable(text, [ansi_ground], min(READABLE, contrast(text, ground)), _reduced)
    return Style.from_color(_numbered(text), _numbered(ansi_ground))


def _reduced_background(color: Color) -> Color:
    """``color`` as the terminal shows it; a tinted grey is a grey: the cube has strong tints."""
    if max(color.rgb) - min(color.rgb) >= _TINTED:
        return _reduced(color)
    greys = [Color(*(level,) * 3) for level in (0, *map(_grey, _GREYS), 255)]
    return min(greys, key=lambda grey: _distance(color.rgb, grey.rgb))


def _reduced(color: Color) -> Color:
    """``color`` as the terminal shows it."""
    number = nearest(*color.rgb)
    if number >= _GREYS.start:
        return Color(*(_grey(number),) * 3)
    red, rest = divmod(number - _CUBE, 36)
    green, blue = divmod(rest, 6)
    return Color(_LEVELS[red], _LEVELS[green], _LEVELS[blue])


def _numbered(color: Color | None) -> RichColor | None:
    return RichColor.from_ansi(nearest(*color.rgb)) if color else None


@lru_cache(4096)
def nearest(red: int, green: int, blue: int) -> int:
    """The number of the nearest colour of xterm's cube and greys."""
    rgb = (red, green, blue)
    places = [min(range(len(_LEVELS)), key=lambda at: abs(_LEVELS[at] - each)) for each in rgb]
    cube = _CUBE + 36 * places[0] + 6 * places[1] + places[2]
    grey = min(_GREYS, key=lambda number: abs(_grey(number) * 3 - sum(rgb)))
    distances = {
        cube: _distance(rgb, (_LEVELS[places[0]], _LEVELS[places[1]], _LEVELS[places[2]])),
        grey: _distance(rgb, (_grey(grey),) * 3),
    }
    return min(distances, key=distances.__getitem__)


def _grey(number: int) -> int:
    """The level of a colour of the ramp of greys."""
    return 8 + 10 * (number - _GREYS.start)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


class SixteenColors(LineFilter):
    """Reduces colours to the 16 of any terminal: text of some hue on black or on white.

    Palettes differ, so only their ends are relied on for backgrounds.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """``segments`` in colours of the terminal."""
        return [
            Segment(text, style and style + _four_bit(style.color, style.bgcolor), control)
            for text, style, control in segments
        ]


@lru_cache(1024)
def _four_bit(front: RichColor | None, behind: RichColor | None) -> Style:
    text, ground = (
        Color(*each.triplet) if each and each.triplet else None for each in (front, behind)
    )
    if ground is None:
        return Style()
    # Black behind light text, white behind dark; without text, what is nearer to the background.
    shows_text = text is not None and contrast(text, ground) >= STANDS_OUT
    dark, light = (
        contrast(text if text and shows_text else ground, _SIXTEEN[end]) for end in (_BLACK, _WHITE)
    )
    behind_text = _BLACK if (dark > light) == shows_text else _WHITE
    number = behind_text  # of the text, where it is hidden
    if text is not None and text != ground:
        fitting = [
            each
            for each, color in enumerate(_SIXTEEN)
            if contrast(color, _SIXTEEN[behind_text]) >= READABLE
        ]
        number = min(fitting, key=lambda each: _distance(text.rgb, _SIXTEEN[each].rgb))
    return Style.from_color(RichColor.from_ansi(number), RichColor.from_ansi(behind_text))


class NoColors(LineFilter):
    """Removes colours, as NO_COLOR asks; what stood out by its background is reversed.

    Textual's own filter turns them into greys, which are colours, too.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """``segments`` without colours; ``background`` is that of the widget."""
        drawn = []
        for text, style, control in segments:
            if style is None:
                drawn.append(Segment(text, None, control))
                continue
            added, is_hidden = _meaning(style.color, style.bgcolor, background)
            # `without_color` drops the meta data, too: what a click does, and text to select.
            plain = style.without_color + Style.from_meta(style.meta) + added
            drawn.append(Segment(" " * cell_len(text) if is_hidden else text, plain, control))
        return drawn


@lru_cache(1024)
def _meaning(
    front: RichColor | None, behind: RichColor | None, background: Color
) -> tuple[Style, bool]:
    """The style that says without colours what these colours did, and whether they hid text."""
    text, ground = (
        Color.from_rich_color(each, ansi=False) if each and not each.is_default else None
        for each in (front, behind)
    )
    is_raised = ground is not None and contrast(ground, background) >= STANDS_OUT
    return Style(reverse=is_raised or None), text is not None and text == ground
