"""Markdown of one block as tokens for Rich, with what would hide text or act on its own undone."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tchat.markdown.math import formulas, is_prose
from tchat.markdown.tex import readable
from tchat.sanitize import printable

MATH = "math"
_BEGIN, _END = "\ue000", "\ue001"  # around the number of a formula; for private use
_QUOTE_MARK = re.compile(r"\n {0,3}> ?")
_SHIELD = re.compile(f"{_BEGIN}(\\d+){_END}")


class Shield(NamedTuple):
    """A formula: its source with its marks, and what is drawn for it."""

    source: str
    shown: str


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark and tables; HTML is text, and so is the definition of a link's address."""
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable("reference")


def parse(text: str) -> list[Token]:
    """The tokens of ``text``: each is safe to print, and nothing that was written is missing.

    A formula is text.
    """
    shielded, shields = _shield(text)
    tokens = list(_tame(_parser().parse(shielded), shields))
    for token in tokens:
        for child in token.children or ():
            child.type = "text" if child.type == MATH else child.type
    return tokens


def parse_inline(text: str) -> list[Token]:
    """The tokens of ``text``, in which nothing begins a block: the text of an item, a cell.

    A formula is a token of the type `MATH`; its markup is its source.
    """
    shielded, shields = _shield(text)
    return list(_tame(_parser().parseInline(shielded)[0].children or [], shields))


def _shield(text: str) -> tuple[str, list[Shield]]:
    """``text`` with a mark in the place of each formula, so that its source is not parsed."""
    if _BEGIN in text or _END in text:
        return text, []
    quoted = text.startswith(">")
    pieces: list[str] = []
    shields: list[Shield] = []
    done = 0
    for formula in formulas(text):
        source, tex = text[formula.start : formula.end], formula.tex
        if quoted:
            source = _QUOTE_MARK.sub("\n", source)
            tex = _QUOTE_MARK.sub("\n", tex) if tex is not None else None
        shown = _drawn(tex) if tex is not None else None
        pieces += [text[done : formula.start], f"{_BEGIN}{len(shields)}{_END}"]
        shields.append(Shield(source, shown or source))
        done = formula.end
    return "".join([*pieces, text[done:]]), shields


def _drawn(tex: str) -> str | None:
    """What is drawn for a formula; None for its source."""
    return None if is_prose(tex) else readable(tex)


def _restored(text: str, shields: Sequence[Shield]) -> str:
    """``text`` with the sources of its formulas."""
    return _SHIELD.sub(lambda match: shields[int(match[1])].source, text) if shields else text


def _parted(token: Token, shields: Sequence[Shield]) -> Iterator[Token]:
    """A token of text as text and formulas."""
    pieces = _SHIELD.split(token.content)
    for place, piece in enumerate(pieces):
        if place % 2:
            source, shown = shields[int(piece)]
            yield Token(MATH, "", 0, content=printable(shown), markup=printable(source))
        elif piece:
            yield Token("text", "", 0, content=piece)


def _tame(tokens: list[Token], shields: Sequence[Shield]) -> Iterator[Token]:
    spelled_out = ""
    for position, token in enumerate(tokens):
        if shields:
            if token.type == "text" and _BEGIN in token.content:
                token.content = printable(token.content)
                yield from _parted(token, shields)
                continue
            token.content = _restored(token.content, shields)
        # An entity such as &#x202E; becomes its character while parsing.
        token.content = printable(token.content)
        if token.type == "image":
            yield Token("text", "", 0, content=_image(token))
        elif token.type == "link_open" and _shows_its_address(token, tokens[position + 1]):
            spelled_out = "link_close"
        elif token.type == spelled_out:
            spelled_out = ""
        else:
            if token.type == "softbreak":
                token.type = "hardbreak"  # the lines of a poem stay lines
            if token.children:
                token.children = list(_tame(token.children, shields))
            yield token


def _image(token: Token) -> str:
    address = printable(str(token.attrs.get("src", "")))
    return f"{token.content} ({address})" if token.content else address


def _shows_its_address(link: Token, text: Token) -> bool:
    address = str(link.attrs.get("href", ""))
    return link.markup == "autolink" or text.content == address
