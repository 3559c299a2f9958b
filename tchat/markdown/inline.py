"""Markdown of one block as tokens for Rich, with what would hide text or act on its own undone."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tchat.sanitize import printable


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark and tables; HTML is text, and so is the definition of a link's address."""
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable("reference")


def parse(text: str) -> list[Token]:
    """The tokens of ``text``: each is safe to print, and nothing that was written is missing."""
    return list(_tame(_parser().parse(text)))


def parse_inline(text: str) -> list[Token]:
    """The tokens of ``text``, in which nothing begins a block: the text of an item, a cell."""
    return list(_tame(_parser().parseInline(text)[0].children or []))


def _tame(tokens: list[Token]) -> Iterator[Token]:
    spelled_out = ""
    for position, token in enumerate(tokens):
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
                token.children = list(_tame(token.children))
            yield token


def _image(token: Token) -> str:
    address = printable(str(token.attrs.get("src", "")))
    return f"{token.content} ({address})" if token.content else address


def _shows_its_address(link: Token, text: Token) -> bool:
    address = str(link.attrs.get("href", ""))
    return link.markup == "autolink" or text.content == address
