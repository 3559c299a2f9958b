"""Styled text broken into lines that fit a width in cells, and the palette it is drawn in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style

from tchat.markdown.math import is_open
from tchat.markdown.syntax import SyntaxStyles
from tchat.sanitize import printable

if TYPE_CHECKING:
    from markdown_it.token import Token

PREFIX = "transcript--"


class Palette(NamedTuple):
    """The styles of the transcript, each the component class ``transcript--<part>`` on `base`.

    The defaults have no colour, and show every difference in meaning without it.

    Attributes:
        base: The style of a reply, and the ground of everything.
        syntax: The styles of highlighted code, each ``transcript--syntax-<kind>`` on `code`.
    """

    base: Style = Style()
    user: Style = Style()
    user_bar: Style = Style(bold=True)
    role: Style = Style(bold=True)
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
    syntax: SyntaxStyles = SyntaxStyles()


PARTS = tuple(name for name in Palette._fields if name not in ("base", "syntax"))
COMPONENTS = frozenset(
    PREFIX + part.replace("_", "-")
    for part in (*PARTS, *(f"syntax-{kind}" for kind in SyntaxStyles._fields))
)


def on(ground: Style, part: Style) -> Style:
    """``part`` on the background of ``ground``."""
    return ground + part + Style.from_color(bgcolor=ground.bgcolor)


# Chinese, Japanese and Korean have no spaces: a line may end after each character.
_IDEOGRAPHS = "\u2e80-\u303f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]\s*|[^\s{_IDEOGRAPHS}]+\s*|\s+")
_TAB = " " * 4


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the transcript, without the gutter.

    Attributes:
        lead: Characters at its start that are drawn but not copied.
        fill: Characters at its end that only fill it.
        joint: The text between the line above and this one when both are copied.
        cells: Its width.
    """

    segments: tuple[Segment, ...] = ()
    lead: int = 0
    fill: int = 0
    joint: str = "\n"
    cells: int = 0

    @property
    def text(self) -> str:
        """The characters of all segments."""
        return "".join(segment.text for segment in self.segments)


def line(segments: Iterable[Segment], *, lead: int = 0, joint: str = "\n") -> Line:
    """The line of ``segments``, without empty ones."""
    kept = tuple(segment for segment in segments if segment.text)
    return Line(kept, lead, joint=joint, cells=width(kept))


def width(segments: Iterable[Segment]) -> int:
    """Cells that ``segments`` take."""
    return sum(cell_len(segment.text) for segment in segments)


def wrap(segments: Sequence[Segment], cells: int) -> list[list[Segment]]:
    """Wrap ``segments`` at words and newlines; longer words are broken anywhere.

    No row ends in white space, and none is wider than ``cells`` unless a single character is.
    """
    text = "".join(segment.text for segment in segments)
    if "\t" in text:
        segments = [Segment(part.text.replace("\t", _TAB), part.style) for part in segments]
        text = text.replace("\t", _TAB)
    spans: list[tuple[int, int]] = []
    start = 0
    for row in text.split("\n"):
        cuts = [0, *_breaks(row, cells), len(row)]
        for begin, end in itertools.pairwise(cuts):
            spans.append((start + begin, start + begin + len(row[begin:end].rstrip())))
        start += len(row) + 1
    return list(_sliced(segments, spans))


def fold(segments: Sequence[Segment], cells: int) -> list[list[Segment]]:
    """Break ``segments``, which hold no newline, wherever a row is full."""
    text = "".join(segment.text for segment in segments)
    if cell_len(text) <= cells:
        return [list(segments)]
    spans: list[tuple[int, int]] = []
    start = 0
    for piece in chop_cells(text, cells):
        spans.append((start, start + len(piece)))
        start += len(piece)
    return list(_sliced(segments, spans))


class CodeRow(NamedTuple):
    """A row of a line of code, and the white space left out above it."""

    segments: list[Segment]
    joint: str = ""


def break_code(segments: Sequence[Segment], cells: int, rest: int) -> list[CodeRow]:
    """Break a line of code at white space, and inside words that are wider than a row.

    Rows and joints together are the line, without white space at its end.

    Args:
        cells: Width of the first row.
        rest: Width of each other row.
    """
    text = "".join(segment.text for segment in segments)
    if cell_len(text) <= cells:
        return [CodeRow(list(segments))]
    spans: list[tuple[int, int]] = []
    joints = [""]
    begin, room = 0, cells
    while True:
        cut = _code_break(text, begin, room)
        end = begin + len(text[begin:cut].rstrip())
        spans.append((begin, end))
        begin = next((at for at in range(cut, len(text)) if not text[at].isspace()), len(text))
        if begin >= len(text):
            break
        joints.append(text[end:begin])
        room = rest
    rows = _sliced(segments, spans)
    return [CodeRow(row, joint) for row, joint in zip(rows, joints, strict=True)]


def _code_break(text: str, begin: int, room: int) -> int:
    """Where the row of ``room`` cells that begins at ``begin`` ends."""
    window = text[begin : begin + 2 * room + 1]
    full = begin + len(chop_cells(window, room)[0])
    if full >= len(text) or text[full].isspace():
        return full
    words = (match.start() for match in _WORD.finditer(text, begin, full + 1))
    starts = [start for start in words if text[begin:start].strip()]
    return starts[-1] if starts else full


def _breaks(row: str, cells: int) -> Iterator[int]:
    """The indexes in ``row`` at which further rows begin."""
    if cell_len(row) <= cells:
        return
    used = 0
    for match in _WORD.finditer(row):
        word = match[0]
        body = cell_len(word.rstrip())
        if used and used + body > cells:
            yield match.start()
            used = 0
        if body > cells:
            pieces = chop_cells(word.rstrip(), cells)
            at = match.start()
            for piece in pieces[:-1]:
                at += len(piece)
                yield at
            body, word = cell_len(pieces[-1]), word[at - match.start() :]
        used += body + len(word) - len(word.rstrip())


def _sliced(
    segments: Sequence[Segment], spans: Iterable[tuple[int, int]]
) -> Iterator[list[Segment]]:
    """The segments of each of ``spans``, which ascend and do not overlap."""
    number, offset = 0, 0  # the segment that the last span ended in, and its start
    for begin, end in spans:
        row: list[Segment] = []
        while number < len(segments):
            text, style, _ = segments[number]
            stop = offset + len(text)
            if stop > begin and end > offset:
                row.append(Segment(text[max(0, begin - offset) : end - offset], style))
            if stop > end:
                break
            number, offset = number + 1, stop
        yield [part for part in row if part.text]


def prefixed(
    rows: Iterable[Line], first: Sequence[Segment], rest: Sequence[Segment] | None = None
) -> list[Line]:
    """The first of ``rows`` behind ``first``, the others behind ``rest``, by default space."""
    if not first and not rest:
        return list(rows)
    if rest is None:
        style = first[-1].style if first else None
        rest = [Segment(" " * width(first), style)]
    result: list[Line] = []
    before = first
    for row in rows:
        lead = row.lead + sum(len(part.text) for part in before)
        segments, cells = (*before, *row.segments), row.cells + width(before)
        result.append(replace(row, segments=segments, lead=lead, cells=cells))
        before = rest
    return result


def filled(row: Line, cells: int, style: Style) -> Line:
    """``row`` with spaces in ``style`` up to ``cells``."""
    if row.cells >= cells:
        return row
    fill = cells - row.cells
    space = Segment(" " * fill, style)
    return replace(row, segments=(*row.segments, space), fill=fill, cells=cells)


def cut(segments: Sequence[Segment], cells: int) -> list[Segment]:
    """``segments`` on one row of at most ``cells``, cut with ``…``."""
    if width(segments) <= cells:
        return list(segments)
    row = fold(segments, max(1, cells - 1))[0]
    return [*row, Segment("…", row[-1].style if row else None)]


LINK = "link"  # the key of an address in a style's meta data
FORMULA = "formula"  # the key of a formula: its number and its source

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
    """``text`` with its inline Markdown as segments on ``base``."""
    if not _MARKS.search(text):
        return list(linked(text, base, palette))
    from tchat.markdown.inline import parse_inline

    return list(_draw(parse_inline(text), base, palette))


def linked(text: str, base: Style, palette: Palette) -> Iterator[Segment]:
    """``text`` with its web and mail addresses as links."""
    done = 0
    for match in _ADDRESS.finditer(text):
        address = _trimmed(match[0])
        end = match.start() + len(address)
        yield Segment(text[done : match.start()], base)
        yield Segment(address, on(base, palette.link) + target(address))
        done = end
    yield Segment(text[done:], base)


def target(address: str) -> Style:
    """A style that only makes text a link to ``address``."""
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
    """The address behind the text of its link: a user sees what a click opens."""
    shown = on(style, palette.muted)
    clickable = shown + target(address) if openable(address) else shown
    yield from (Segment(" (", shown), Segment(address, clickable), Segment(")", shown))


def openable(address: str) -> bool:
    """Whether a click may open ``address``."""
    return address.lower().startswith(_SCHEMES)


Read = Callable[[str], list[Segment]]

# A longer paragraph is parsed in pieces of about this many characters: 1,000 take 1 ms.
PIECE = 600
_LONGEST = 2 * PIECE

_SPACE = re.compile(r"\s")


class Flow:
    """The lines of one paragraph, a pure function of its text.

    A text that continues the one before costs little more than what was added.

    Args:
        read: Turns a piece of the text into segments.
        cells: Width of the rows.
    """

    def __init__(self, read: Read, cells: int) -> None:
        self._read = read
        self._cells = cells
        self._forget()

    def _forget(self) -> None:
        self._text = ""
        self._settled = 0  # characters whose rows are final
        self._lines: list[Line] = []
        self._row: list[Segment] = []  # the last row of the settled text; more can go into it

    def lines(self, text: str) -> list[Line]:
        """``text`` wrapped; a line that did not change is the same object as before."""
        if len(text) <= _LONGEST:
            return list(map(line, wrap(self._read(text), self._cells)))
        if not text.startswith(self._text):
            self._forget()
        self._text = text
        while cut := _seam(text, self._settled):
            *rows, self._row = self._wrapped(text[self._settled : cut])
            self._lines += map(line, rows)
            self._settled = cut
        return [*self._lines, *map(line, self._wrapped(text[self._settled :]))]

    def _wrapped(self, piece: str) -> list[list[Segment]]:
        return wrap(self._row + self._read(piece), self._cells)


def _seam(text: str, start: int) -> int:
    """The end of the piece that begins at ``start``; 0 if it ends with the text.

    The seam is before a space outside code, formulas and strong text, if there is one. More text
    moves no seam, so a text has the same ones while it grows and at its end.
    """
    if len(text) - start <= _LONGEST:
        return 0
    for match in _SPACE.finditer(text, start + PIECE, start + _LONGEST):
        piece = text[start : match.start()]
        if piece.count("`") % 2 == 0 and piece.count("**") % 2 == 0 and not is_open(piece):
            return match.start()
    return start + _LONGEST
