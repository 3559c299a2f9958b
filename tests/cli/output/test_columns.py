"""Texts side by side, row by row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tchat.cli.cells import cell_width
from tchat.cli.cells import wrapped as wrapped_text
from tchat.cli.output.columns import COLUMN_RULE, TextColumn, TextColumns, whole_columns
from tchat.sanitize import single_line


def wrapped(text: str, width: int, *, piece: int = 1000) -> list[str]:
    column = TextColumn(width)
    for start in range(0, len(text), piece):
        column.feed(text[start : start + piece])
    column.close()
    return column.lines


def test_lines_break_at_words() -> None:
    assert wrapped("one two three four", 9) == ["one two", "three", "four"]
    assert wrapped("a\n\nb\n\n", 9) == ["a", "", "b"]
    assert wrapped("\n\nabcdefgh", 3) == ["abc", "def", "gh"]
    assert wrapped("日本語 x", 4) == ["日本", "語 x"]
    assert wrapped("a 日本語日本語", 8) == ["a 日本語", "日本語"]
    assert wrapped("日本語word。", 10) == ["日本語", "word。"]
    assert wrapped("日本語。日", 6) == ["日本", "語。日"]


@given(st.text(st.sampled_from("ab \n日é"), max_size=80), st.integers(2, 12), st.integers(1, 7))
def test_pieces_make_no_difference_and_nothing_is_too_wide(
    text: str, width: int, piece: int
) -> None:
    lines = wrapped(text, width, piece=piece)
    assert lines == wrapped(text, width)
    assert all(cell_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_row_comes_when_every_open_column_has_its_line() -> None:
    columns = TextColumns(2, 23)
    assert columns.width == 10
    columns.feed(0, "one two three ")
    assert list(columns.rows()) == []
    columns.feed(1, "1\n2\n")
    assert list(columns.rows()) == [f"one two   {COLUMN_RULE}1"]
    columns.close(0)
    assert list(columns.rows()) == [f"three     {COLUMN_RULE}2"]
    columns.feed(1, "3\n")
    assert list(columns.rows()) == [f"{' ' * 10}{COLUMN_RULE}3"]
    columns.close(1)
    assert list(columns.rows()) == []


def test_control_characters_are_made_visible() -> None:
    assert wrapped("\x1b[31mred", 20) == ["␛[31mred"]


def test_lines_are_broken_at_words_and_stay_in_their_column() -> None:
    assert wrapped_text("in the format of its suffix", 12) == "in the\nformat of\nits suffix"
    assert wrapped_text("short\n", 12) == "short\n"
    table = "  /x    Write the session to a file"
    assert wrapped_text(table, 22) == "  /x    Write the\n        session to a\n        file"
    assert max(map(cell_width, wrapped_text("日本語 " * 20, 11).split("\n"))) <= 11


@given(
    st.lists(st.lists(st.text("ab 日", max_size=30), min_size=4, max_size=4), min_size=1),
    st.integers(40, 120),
)
def test_whole_columns_lose_nothing(rows: list[list[str]], width: int) -> None:
    safe = [[single_line(cell) for cell in row] for row in rows]
    lines = whole_columns([["ONE", "TWO", "THREE", "FOUR"], *safe], width)
    assert max(map(cell_width, lines)) <= width
    squeezed = "".join("".join(lines).split())
    assert squeezed == "ONETWOTHREEFOUR" + "".join("".join(map("".join, safe)).split())


def test_columns_without_room_are_put_below_their_row() -> None:
    rows = [["NAME", "SIZE", "FOR"], ["a" * 20, "4.9 GB", "chat and code, and much else"]]
    assert whole_columns(rows, 60) == [
        "NAME                  SIZE    FOR",
        "aaaaaaaaaaaaaaaaaaaa  4.9 GB  chat and code, and much else",
    ]
    assert whole_columns(rows, 55) == [
        "NAME                  SIZE    FOR",
        "aaaaaaaaaaaaaaaaaaaa  4.9 GB  chat and code, and much",
        "                              else",
    ]
    assert whole_columns(rows, 40) == [
        "NAME                  SIZE",
        "    FOR",
        "aaaaaaaaaaaaaaaaaaaa  4.9 GB",
        "    chat and code, and much else",
    ]


def test_a_cell_that_is_much_wider_than_the_others_is_on_a_line_of_its_own() -> None:
    rows = [["NAME", "VALUE", "FOR"], ["a", "1", "one"], ["b", "x" * 25, "many"], ["c", "2", ""]]
    assert whole_columns(rows, 40) == [
        "NAME  VALUE  FOR",
        "a     1      one",
        "b     " + "x" * 25,
        "             many",
        "c     2",
    ]
