"""Breaking lines, and the sums of heights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tchat.tui.widgets.transcript.column import Heights
from tchat.tui.widgets.transcript.lines import PIECE, Flow, cut, fold, line, prefixed, width, wrap

TEXTS = st.text(
    st.sampled_from("ab c\u00e9\u65e5\u672c\uac00\U0001f600\u05e9\u0301\t\n.-")
    | st.characters(exclude_categories=["C"]),
    max_size=80,
)


def plain(rows: list[list[Segment]]) -> list[str]:
    return ["".join(part.text for part in row) for row in rows]


def test_words_stay_whole_and_long_ones_are_broken() -> None:
    rows = wrap([Segment("one two three "), Segment("abcdefghijkl", Style(bold=True))], 7)
    assert plain(rows) == ["one two", "three", "abcdefg", "hijkl"]
    assert rows[2][0].style == Style(bold=True)


def test_text_without_spaces_between_words_is_broken_where_the_line_is_full() -> None:
    assert plain(wrap([Segment("ab 日本語日本語")], 8)) == ["ab 日本", "語日本語"]


def test_newlines_stay_and_tabs_become_space() -> None:
    assert plain(wrap([Segment("a\n\nb\tc")], 10)) == ["a", "", "b    c"]


@given(TEXTS, st.integers(2, 40))
def test_no_row_is_wider_than_it_may_be(text: str, cells: int) -> None:
    for row in wrap([Segment(text)], cells):
        assert width(row) <= cells


@given(TEXTS, st.integers(2, 40))
def test_wrapping_loses_nothing_but_white_space(text: str, cells: int) -> None:
    assert "".join("".join(plain(wrap([Segment(text)], cells))).split()) == "".join(text.split())


@given(TEXTS.map(lambda text: text.replace("\n", "").replace("\t", "")), st.integers(2, 40))
def test_folding_loses_nothing(text: str, cells: int) -> None:
    rows = plain(fold([Segment(text[:3]), Segment(text[3:])], cells))
    assert "".join(rows) == text
    assert all(cell_len(row) <= cells for row in rows)


def test_a_prefix_is_not_part_of_the_text() -> None:
    rows = prefixed([line([Segment("a")]), line([Segment("b")])], [Segment("1. ")])
    assert [(row.text, row.lead, row.cells) for row in rows] == [("1. a", 3, 4), ("   b", 3, 4)]


def test_what_is_cut_off_is_marked() -> None:
    assert plain([cut([Segment("abcdef")], 4)]) == ["abc…"]
    assert plain([cut([Segment("abcd")], 4)]) == ["abcd"]


@given(st.lists(st.sampled_from(["word ", "日本", "x" * 70, "**b** ", "`c` ", "\n"]), max_size=200))
def test_a_paragraph_that_grows_ends_as_one_that_came_at_once(words: list[str]) -> None:
    growing = Flow(lambda text: [Segment(text)], 30)
    text = ""
    for word in words:
        text += word * 10
        growing.rows(text)
    assert plain(growing.rows(text)) == plain(Flow(lambda text: [Segment(text)], 30).rows(text))


def test_only_the_end_of_a_long_paragraph_is_read_again() -> None:
    read: list[int] = []

    def reading(text: str) -> list[Segment]:
        read.append(len(text))
        return [Segment(text)]

    flow = Flow(reading, 40)
    text = "word " * 20_000
    flow.rows(text)
    read.clear()
    flow.rows(text + "more")
    assert sum(read) <= 2 * PIECE


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 50)), max_size=20),
    st.lists(st.integers(1, 50), max_size=10),
)
def test_heights_are_the_sums(
    heights: list[int], changes: list[tuple[int, int]], more: list[int]
) -> None:
    tree = Heights(heights)
    for height in more:
        tree.append(height)
    expected = heights + more
    for place, height in changes:
        if place < len(expected):
            expected[place] = tree[place] = height
    assert [tree.before(place) for place in range(len(expected) + 1)] == [
        sum(expected[:place]) for place in range(len(expected) + 1)
    ]
    found = [tree.find(position) for position in range(sum(expected))]
    assert found == [(p, n) for p, height in enumerate(expected) for n in range(height)]
