"""What stands inside a line of Markdown: emphasis, code, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from tchat.sanitize import printable
from tchat.tui.widgets.transcript.palette import Palette, on

if TYPE_CHECKING:
    from markdown_it.token import Token

LINK = "link"  # the key of the address in a style's meta data
FORMULA = "formula"  # that of a formula: its number and its source

_SCHEMES = ("http://", "https://", "mailto:")
_MARKS = re.compile(r"[*_`\[\]<>&\\~!$]")
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>\"`]+")
_AFTER_ADDRESS = ".,;:!?'*_~"
_PAIRS = {")": "(", "]": "[", "}": "{"}

_STYLES = {
    "strong_open": Style(bold=True),
    "em_open": Style(italic=True),
    "s_open": Style(strike=True),
}


def inline(text: str, base: Style, palette: Palette) -> list[Segment]:
    """``text``, which begins no block, as segments on ``base``; addresses can be clicked."""
    if not _MARKS.search(text):
        return list(linked(text, base, palette))
    from tchat.markdown.inline import parse_inline

    return list(_draw(parse_inline(text), base, palette))


def linked(text: str, base: Style, palette: Palette) -> Iterator[Segment]:
    """``text`` as it stands, with the web and mail addresses in it as links."""
    done = 0
    for match in _ADDRESS.finditer(text):
        address = _trimmed(match[0])
        end = match.start() + len(address)
        yield Segment(text[done : match.start()], base)
        yield Segment(address, on(base, palette.link) + target(address))
        done = end
    yield Segment(text[done:], base)


def target(address: str) -> Style:
    """The style without looks that makes text a link to ``address``."""
    return Style(meta={LINK: address})


def _trimmed(address: str) -> str:
    """``address`` without the punctuation of the sentence around it."""
    while address and (last := address[-1]):
        opening = _PAIRS.get(last)
        unpaired = opening is not None and address.count(last) > address.count(opening)
        if last not in _AFTER_ADDRESS and not unpaired:
            break
        address = address[:-1]
    return address


def _draw(tokens: list[Token], base: Style, palette: Palette) -> Iterator[Segment]:
    styles = [base]
    addresses: list[str] = []
    for number, token in enumerate(tokens):
        kind = token.type
        if kind == "link_open":
            addresses.append(printable(str(token.attrs.get("href", ""))))
            styles.append(_link_style(styles[-1], addresses[-1], palette))
        elif kind == "link_close":
            styles.pop()
            yield from _spelled(addresses.pop(), styles[-1], palette)
        elif kind in _STYLES:
            styles.append(styles[-1] + _STYLES[kind])
        elif kind.endswith("_close"):
            styles.pop()
        elif kind == "code_inline":
            yield Segment(token.content, styles[-1] + palette.inline_code)
        elif kind == "hardbreak":
            yield Segment("\n", styles[-1])
        elif kind == "math":
            yield Segment(token.content, styles[-1] + Style(meta={FORMULA: (number, token.markup)}))
        elif addresses:
            yield Segment(token.content, styles[-1])
        else:
            yield from linked(token.content, styles[-1], palette)


def _link_style(style: Style, address: str, palette: Palette) -> Style:
    return on(style, palette.link) + target(address) if openable(address) else style


def _spelled(address: str, style: Style, palette: Palette) -> Iterator[Segment]:
    """The address behind the text of its link: nobody clicks on what he cannot see."""
    shown = on(style, palette.muted)
    clickable = shown + target(address) if openable(address) else shown
    yield from (Segment(" (", shown), Segment(address, clickable), Segment(")", shown))


def openable(address: str) -> bool:
    """Whether ``address`` is one that a click may ask to open."""
    return address.lower().startswith(_SCHEMES)
