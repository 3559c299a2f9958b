"""Styles of code by the kind of its words. Imports neither Pygments nor Rich's themes."""

from __future__ import annotations

from typing import NamedTuple

from rich.style import Style


class SyntaxStyles(NamedTuple):
    """The styles of highlighted code; names, operators and punctuation have that of the block.

    The defaults have no colour.

    Attributes:
        number: Also constants and escapes in strings.
        function: Also built-in names, and attributes in markup.
        type: Also classes, exceptions, decorators and preprocessor lines.
    """

    comment: Style = Style(italic=True)
    keyword: Style = Style(bold=True)
    string: Style = Style()
    number: Style = Style()
    function: Style = Style()
    type: Style = Style()
    error: Style = Style()
