"""Syntax highlighting line by line: a Pygments lexer that keeps its state between lines.

Lexing the whole block again for each new line would take quadratic time.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from pygments.lexer import ExtendedRegexLexer, Lexer, LexerContext, RegexLexer
from pygments.lexers import get_lexer_by_name
from pygments.lexers.data import YamlLexer, YamlLexerContext
from pygments.token import Comment, Error, Generic, Keyword, Name, Number, Operator, String, Text
from pygments.util import ClassNotFound
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax, SyntaxTheme
from rich.text import Text as RichText

from tchat.markdown.syntax import SyntaxStyles

Token = tuple[Any, str]  # a Pygments token type and the text it covers
Loop = Callable[..., Iterator[tuple[int, Any, str]]]

# A longer line is data, and the patterns of some lexers take the square of its length.
LONGEST_LINE = 1000

BLOCK_COMMENTS = (("/*", "*/"), ("<!--", "-->"))


class Highlighter:
    """Highlights the lines of one code block.

    Args:
        language: Of the fence, for example ``python``; no highlighting when it is empty or
            unknown.
        theme: The styles, or the name of a theme of Rich or Pygments.
    """

    def __init__(self, language: str, theme: SyntaxStyles | str) -> None:
        self._theme = Syntax.get_theme(theme) if isinstance(theme, str) else _theme(theme)
        self._lexer = _lexer(language)
        context = YamlLexerContext if isinstance(self._lexer, YamlLexer) else LexerContext
        self._context: LexerContext = context("", 0)
        self._comment_end = ""

    def line(self, text: str) -> RichText:
        """``text``, one line without its newline, highlighted."""
        shown = RichText(no_wrap=True, overflow="ignore", end="\n")
        for kind, piece in self._tokens(text):
            shown.append(piece, self._style(kind))
        return shown

    def preview(self, text: str) -> RichText:
        """``text``, the start of an unfinished line, highlighted; the state does not change."""
        clone = copy.copy(self)
        clone._context = copy.deepcopy(self._context)
        return clone.line(text)

    def _style(self, kind: Any) -> Style:
        return self._theme.get_style_for_token(kind)

    def _tokens(self, text: str) -> list[Token]:
        if self._lexer is None or len(text) > LONGEST_LINE:
            return [(Text, text)]
        try:
            tokens = list(self._with_comments(text, self._lexer))
        except (TypeError, LookupError, ValueError, AttributeError, AssertionError):
            # Some lexers cannot stop at the end of a line, or fail on broken code.
            tokens = []
        if "".join(piece for _, piece in tokens) != text:
            self._lexer = None
            return [(Text, text)]
        return tokens

    def _with_comments(self, text: str, lexer: Lexer) -> Iterator[Token]:
        """Tokens of ``text``, which may begin or end inside a block comment.

        Most lexers match such a comment by one pattern over several lines, so it is tracked here.
        """
        if self._comment_end:
            inside, end, text = text.partition(self._comment_end)
            yield Comment.Multiline, inside + end
            if not end:
                return
            self._comment_end = ""
        for begin, end in BLOCK_COMMENTS:
            if text.rfind(begin) > text.rfind(end):
                tokens = list(self._lex(text + end, lexer))
                if tokens and tokens[-1][0] in Comment:
                    self._comment_end = end
                    yield from tokens[:-1]
                    yield tokens[-1][0], tokens[-1][1].removesuffix(end)
                    return
        yield from self._lex(text, lexer)

    def _lex(self, text: str, lexer: Lexer) -> Iterator[Token]:
        line = text + "\n"
        for _, kind, piece in self._unprocessed(line, lexer):
            if piece := piece.rstrip("\n"):
                yield kind, piece

    def _unprocessed(self, line: str, lexer: Lexer) -> Iterator[tuple[int, Any, str]]:
        if not isinstance(lexer, RegexLexer):
            plain: Loop = lexer.get_tokens_unprocessed
            return plain(line)
        context = self._context
        context.text, context.pos, context.end = line, 0, len(line)
        # This loop keeps the stack of states in the context, and works for every RegexLexer.
        loop: Loop = ExtendedRegexLexer.get_tokens_unprocessed
        return loop(lexer, context=context)


def language(info: str) -> str:
    """The language of an info string such as ``python title=x`` or ``{.python}``."""
    return (info.split() or [""])[0].strip("{}.")


def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None


@functools.lru_cache(maxsize=4)
def _theme(styles: SyntaxStyles) -> SyntaxTheme:
    """``styles`` by kinds of Pygments; a kind that is not here has the style of its parent."""
    kinds = {
        Comment: styles.comment,
        Comment.Preproc: styles.type,
        Keyword: styles.keyword,
        Keyword.Constant: styles.number,
        Keyword.Type: styles.type,
        Operator.Word: styles.keyword,
        Name.Attribute: styles.function,
        Name.Builtin: styles.function,
        Name.Builtin.Pseudo: styles.type,
        Name.Class: styles.type,
        Name.Constant: styles.number,
        Name.Decorator: styles.type,
        Name.Entity: styles.number,
        Name.Exception: styles.type,
        Name.Function: styles.function,
        Name.Tag: styles.keyword,
        String: styles.string,
        String.Escape: styles.number,
        String.Interpol: styles.number,
        Number: styles.number,
        Generic.Deleted: styles.error,
        Generic.Emph: Style(italic=True),
        Generic.Error: styles.error,
        Generic.Heading: styles.keyword,
        Generic.Inserted: styles.string,
        Generic.Prompt: styles.comment,
        Generic.Strong: Style(bold=True),
        Generic.Subheading: styles.keyword,
        Generic.Traceback: styles.error,
        Error: styles.error,
    }
    return ANSISyntaxTheme(kinds)
