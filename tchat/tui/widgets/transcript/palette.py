"""The styles that the transcript is drawn in."""

from __future__ import annotations

from typing import NamedTuple

from rich.style import Style
from textual.widget import Widget

PREFIX = "transcript--"

DARK_CODE = "github-dark"
LIGHT_CODE = "default"


class Palette(NamedTuple):
    """One style a part; each is the component class ``transcript--<part>`` on the base.

    The defaults draw without any colour. Every difference in meaning shows without it too.

    Attributes:
        base: Text of a reply, and the ground of everything.
        code_theme: The theme of Pygments that code is coloured by.
    """

    base: Style = Style()
    user: Style = Style()
    user_bar: Style = Style(bold=True)
    system: Style = Style(italic=True)
    reasoning: Style = Style(italic=True)
    muted: Style = Style(dim=True)
    notice: Style = Style()
    error: Style = Style(bold=True)
    heading: Style = Style(bold=True)
    bullet: Style = Style(bold=True)
    link: Style = Style(underline=True)
    quote: Style = Style(italic=True)
    rule: Style = Style(dim=True)
    inline_code: Style = Style(bold=True)
    code: Style = Style()
    code_header: Style = Style(dim=True)
    action: Style = Style(underline=True)
    cursor: Style = Style(bold=True)
    hit: Style = Style(reverse=True)
    pill: Style = Style(reverse=True)
    selection: Style = Style(reverse=True)
    code_theme: str = DARK_CODE


PARTS = tuple(name for name in Palette._fields if name not in ("base", "code_theme"))
COMPONENTS = frozenset(PREFIX + part.replace("_", "-") for part in PARTS)


def on(ground: Style, part: Style) -> Style:
    """``part`` on the ground of another style."""
    return ground + part + Style.from_color(bgcolor=ground.bgcolor)


def palette_of(widget: Widget, code_theme: str = "") -> Palette:
    """The palette that the style sheet gives to ``widget``.

    Args:
        widget: Has the component classes `COMPONENTS`.
        code_theme: A theme of Pygments; empty: one that goes with a dark or a light theme.
    """
    base = widget.rich_style
    styles = {
        part: base + widget.get_component_rich_style(PREFIX + part.replace("_", "-"), partial=True)
        for part in PARTS
    }
    if not code_theme:
        code_theme = DARK_CODE if widget.app.current_theme.dark else LIGHT_CODE
    return Palette(base=base, code_theme=code_theme, **styles)
