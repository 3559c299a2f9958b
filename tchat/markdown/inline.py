"""The inline Markdown of a block as tokens; all text stays visible and safe to print."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tchat.markdown.math import formulas, is_prose
from tchat.markdown.tex import tex_to_unicode
from tchat.sanitize import printable

MATH = "math"
_BEGIN, _END = "\ue000", "\ue001"  # around the number of a formula; for private use
_QUOTE_MARK = re.compile(r"\n {0,3}> ?")
_PLACEHOLDER = re.compile(f"{_BEGIN}(\\d+){_END}")


class ProtectedFormula(NamedTuple):
    """A formula: its source with delimiters, and the text to show for it."""

    source: str
    shown: str


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark with tables; HTML and link reference definitions are text."""
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable("reference")


def parse(text: str) -> list[Token]:
    """The block tokens of ``text``, safe to print and complete; formulas are text tokens."""
    without_formulas, protected = _protect_formulas(text)
    tokens = list(_sanitize_tokens(_parser().parse(without_formulas), protected))
    for token in tokens:
        for child in token.children or ():
            child.type = "text" if child.type == MATH else child.type
    return tokens


def parse_inline(text: str) -> list[Token]:
    """The inline tokens of ``text``, such as that of an item or a cell.

    A formula is a token of the type `MATH`, with its source as markup.
    """
    without_formulas, protected = _protect_formulas(text)
    return list(
        _sanitize_tokens(_parser().parseInline(without_formulas)[0].children or [], protected)
    )


def _protect_formulas(text: str) -> tuple[str, list[ProtectedFormula]]:
    """``text`` with a placeholder for each formula, so that its source is not parsed."""
    if _BEGIN in text or _END in text:
        return text, []
    quoted = text.startswith(">")
    pieces: list[str] = []
    protected: list[ProtectedFormula] = []
    done = 0
    for formula in formulas(text):
        source, tex = text[formula.start : formula.end], formula.tex
        if quoted:
            source = _QUOTE_MARK.sub("\n", source)
            tex = _QUOTE_MARK.sub("\n", tex) if tex is not None else None
        shown = _render_formula(tex) if tex is not None else None
        pieces += [text[done : formula.start], f"{_BEGIN}{len(protected)}{_END}"]
        protected.append(ProtectedFormula(source, shown or source))
        done = formula.end
    return "".join([*pieces, text[done:]]), protected


def _render_formula(tex: str) -> str | None:
    """The text to show for a formula; None to show its source."""
    return None if is_prose(tex) else tex_to_unicode(tex)


def _restore_formulas(text: str, protected: Sequence[ProtectedFormula]) -> str:
    """``text`` with placeholders replaced by the sources of formulas."""
    return (
        _PLACEHOLDER.sub(lambda match: protected[int(match[1])].source, text) if protected else text
    )


def _split_formulas(token: Token, protected: Sequence[ProtectedFormula]) -> Iterator[Token]:
    """A text token split into text and formulas."""
    pieces = _PLACEHOLDER.split(token.content)
    for place, piece in enumerate(pieces):
        if place % 2:
            source, shown = protected[int(piece)]
            yield Token(MATH, "", 0, content=printable(shown), markup=printable(source))
        elif piece:
            yield Token("text", "", 0, content=piece)


def _sanitize_tokens(tokens: list[Token], protected: Sequence[ProtectedFormula]) -> Iterator[Token]:
    spelled_out = ""
    for position, token in enumerate(tokens):
        if protected:
            if token.type == "text" and _BEGIN in token.content:
                token.content = printable(token.content)
                yield from _split_formulas(token, protected)
                continue
            token.content = _restore_formulas(token.content, protected)
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
                token.type = "hardbreak"  # line breaks are kept
            if token.children:
                token.children = list(_sanitize_tokens(token.children, protected))
            yield token


def _image(token: Token) -> str:
    address = printable(str(token.attrs.get("src", "")))
    return f"{token.content} ({address})" if token.content else address


def _shows_its_address(link: Token, text: Token) -> bool:
    address = str(link.attrs.get("href", ""))
    return link.markup == "autolink" or text.content == address
