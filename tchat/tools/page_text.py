"""The readable text of an HTML page.

Its own scanner, since the one of the standard library takes minutes for a hostile page of 100 kB:
here each character is looked at a fixed number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

_LEFT_OUT = frozenset({"script", "style", "template", "noscript", "svg", "iframe", "object"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "footer"),
        *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol"),
        *("p", "pre", "section", "table", "td", "th", "title", "tr", "ul"),
    }
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_SPACES = re.compile(r"[ \t\r\n\f\v\u00a0]+")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,30})")
_TAG_END = re.compile("[>\"']")


class _Piece(NamedTuple):
    """A tag, which begins with ``/`` when it closes, or else text."""

    tag: str
    text: str


def page_text(html: str) -> str:
    """The text that a reader of the page sees, a line for each block; links are not followed."""
    lines: list[str] = []
    line: list[str] = []
    preformatted = False

    def end_line() -> None:
        text = "".join(line).rstrip() if preformatted else "".join(line).strip()
        if text.strip("#- "):
            lines.append(text)
        line.clear()

    for tag, text in _pieces(html):
        name = tag.removeprefix("/")
        if not tag:
            first, *others = text.split("\n") if preformatted else [_SPACES.sub(" ", text)]
            line.append(first)
            for other in others:
                end_line()
                line.append(other)
        elif name in _BLOCKS:
            end_line()
            if name == "pre":
                preformatted = tag == "pre"
            line.append(_HEADINGS.get(tag, "- " if tag == "li" else ""))
    end_line()
    return "\n".join(lines)


def _pieces(html: str) -> Iterator[_Piece]:
    at = 0
    while (start := html.find("<", at)) >= 0:
        if start > at:
            yield _Piece("", _unescaped(html[at:start]))
        if html.startswith("<!--", start):
            at = _after(html, "-->", start + 4)
        elif match := _TAG.match(html, start):
            tag = match[2].lower()
            yield _Piece(match[1] + tag, "")
            at = _after_tag(html, match.end())
            if tag in _LEFT_OUT and not match[1] and html[at - 2 : at] != "/>":
                close = re.compile(f"</{tag}", re.IGNORECASE | re.ASCII).search(html, at)
                at = close.start() if close else len(html)
        elif html[start + 1 : start + 2] in ("!", "?", "/"):
            at = _after(html, ">", start)
        else:
            yield _Piece("", "<")
            at = start + 1
    yield _Piece("", _unescaped(html[at:]))


def _after(html: str, mark: str, at: int) -> int:
    found = html.find(mark, at)
    return len(html) if found < 0 else found + len(mark)


def _after_tag(html: str, at: int) -> int:
    """The end of a tag; ``>`` in quotes is none."""
    while match := _TAG_END.search(html, at):
        at = match.end()
        if match[0] == ">":
            return at
        closing = html.find(match[0], at)
        if closing >= 0:
            at = closing + 1
    return len(html)


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # a character number of thousands of digits
        return text
