"""The colours that tchat adds to Textual's, and what they are in a theme that lacks them.

====================  ========================================================
user                  the user's name and words
user-background       the band behind the user's words
assistant             the reply
reasoning             the model's reasoning, and folded things
muted                 secondary text: times, counts, hints
notice                what tchat itself says in the transcript
link                  links
match                 what a search or a filter found
code                  code without highlighting
code-background       behind code
selection             selected text
selection-background  behind selected text
gauge-ok              gauges: there is room
gauge-warn            gauges: it gets tight
gauge-full            gauges: it does not fit
====================  ========================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.color import Color, ColorParseError
from textual.theme import Theme

# Contrast of text that WCAG 2.2 asks for at level AA (1.4.3).
READABLE = 4.5
SELECTED = 7.0  # the same of selected text, at level AAA: it lies on a colour of its own
STANDS_OUT = 3.0  # contrast to what is around it (1.4.11)
_STEPS = 20

# Each variable, and the colour of Textual's that it starts from.
TEXTS = {
    "user": "primary",
    "assistant": "foreground",
    "reasoning": "foreground",
    "muted": "foreground",
    "notice": "warning",
    "link": "accent",
    "match": "accent",
    "code": "foreground",
    "gauge-ok": "success",
    "gauge-warn": "warning",
    "gauge-full": "error",
}
BACKGROUNDS = {"user-background": "surface", "code-background": "surface"}
SELECTION = ("selection", "selection-background")
VARIABLES = (*TEXTS, *BACKGROUNDS, *SELECTION)
_FAINT = {"reasoning": 0.3, "muted": 0.3}  # the share of the background that is mixed in


def variable_defaults(theme: Theme) -> dict[str, str]:
    """What tchat's variables are in ``theme`` where it does not set them; never raises.

    They follow the theme's own colours, moved away from the background until they can be read.
    """
    colors = theme.to_color_system().generate()
    names = {**TEXTS, **BACKGROUNDS}
    try:
        parsed = {name: Color.parse(colors[source]) for name, source in names.items()}
        grounds = [Color.parse(colors[name]) for name in ("background", "surface", "panel")]
        opaque = all(color.ansi is None and color.a == 1 for color in (*parsed.values(), *grounds))
    except ColorParseError:
        opaque = False
    if not opaque:  # the terminal's own colours: their contrast is the terminal's business
        own = {name: colors[source] for name, source in names.items()}
        return {**own, **_pair("ansi_black", "ansi_cyan")}
    for name, share in _FAINT.items():
        parsed[name] = parsed[name].blend(grounds[0], share, alpha=1)
    texts = {name: readable(parsed[name], grounds).hex for name in TEXTS}
    return {
        **texts,
        **{name: parsed[name].hex for name in BACKGROUNDS},
        **_selection(Color.parse(colors["primary"]), grounds),
    }


def _selection(primary: Color, grounds: Sequence[Color]) -> dict[str, str]:
    """Selected text stands out from each of ``grounds`` and can be read."""
    behind = readable(primary, grounds, STANDS_OUT)
    text = readable(grounds[0], [behind], SELECTED)
    return _pair(text.hex, behind.hex)


def _pair(text: str, behind: str) -> dict[str, str]:
    return dict(zip(SELECTION, (text, behind), strict=True))


def readable(color: Color, backgrounds: Sequence[Color], ratio: float = READABLE) -> Color:
    """``color``, moved towards black or white until its contrast to each background is ``ratio``.

    Where neither reaches it, the better of the two.
    """
    ends = (Color(255, 255, 255), Color(0, 0, 0))
    far = max(ends, key=lambda end: min(contrast(end, ground) for ground in backgrounds))
    for step in range(_STEPS + 1):
        moved = color.blend(far, step / _STEPS, alpha=1)
        if min(contrast(moved, ground) for ground in backgrounds) >= ratio:
            return moved
    return far


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of two opaque colours, 1..21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (_linear(channel / 255) for channel in color.rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
