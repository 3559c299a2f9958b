"""Entries, lines and formulas of the transcript, without an app."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tchat.markdown.math import formulas
from tchat.tui.widgets.transcript.column import Column, Heights, selected_text, whole
from tchat.tui.widgets.transcript.document import Document
from tchat.tui.widgets.transcript.entry import Entry, Format
from tchat.tui.widgets.transcript.layout import REASONING, TEXT, EntryLayout, Shape
from tchat.tui.widgets.transcript.lines import (
    PIECE,
    Flow,
    Line,
    Palette,
    break_code,
    cut,
    line,
    prefixed,
    width,
    wrap,
)
from tests.growth import growth

FRAGMENTS = [
    "# Heading\n",
    "A *paragraph* with **strong** words, `code` and [a link](https://x.org/a).\n",
    "Underlined\n===\n",
    "\n",
    "- item\n",
    "  - nested\n",
    "1. first\n",
    "   indented\n",
    "- [x] done\n",
    "```python\n",
    "def f(x):\n\treturn 'y' # z\n",
    "```\n",
    "    code\n",
    "> quoted\n",
    "> ```c\n> int x;\n",
    ">> deeper\n",
    "| a | b |\n|---|:-:|\n",
    "| one | **two** |\n",
    "| \\| |\n",
    "<div>raw</div>\n",
    "---\n",
    "日本語のテキスト 👩\u200d👩\u200d👧 שלום e\u0301 ",
    "\x1b[31mred\x07\u202e\r\n",
    "&#x202E;&lt; ![i](javascript:x) <https://y.org> ~~gone~~ ",
    "word " * 90,
    "x" * 300,
]
MARKDOWN = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), max_size=14).map("".join)


def reply(text: str, **fields: Any) -> Entry:
    return replace(Entry(key=1, role="assistant", text=text), **fields)


def layout(entry: Entry, width: int = 60, **form: bool) -> EntryLayout:
    """The lines of ``entry`` without the one that names who speaks, and unfolded."""
    return EntryLayout(entry, Format(Palette(), width, roles=False, **form), Shape(open=True))


def role(entry: Entry, width: int = 60, **form: bool) -> str:
    """The line that names who speaks."""
    return next(EntryLayout(entry, Format(Palette(), width, **form)).lines()).text


def shown(text: str, width: int = 60) -> list[str]:
    """The rows of a reply, without the empty one below it."""
    return [row.text.rstrip() for row in layout(reply(text), width).lines()][:-1]


def clicks(rows: list[Line], key: str) -> list[object]:
    return [
        p.style.meta[key] for row in rows for p in row.segments if p.style and key in p.style.meta
    ]


# Markdown.


def test_headings_lists_and_rules() -> None:
    assert shown("# One\n- a\n  - b\n    - c\n\n3. x\n- [x] y\n- [ ] z\n\n---\nend") == [
        *("One", "• a", "  ◦ b", "    ▪ c", "", "3. x", "☑ y", "☐ z", ""),
        *("─" * 57, "", "end"),
    ]


def test_a_table_fits_and_wraps_its_widest_column() -> None:
    table = "| a | b |\n|--:|---|\n| 1 | " + "word " * 12 + "|\n"
    rows = shown(table, 40)
    assert rows[:2] == ["a │ b", "──┼─" + "─" * 33]
    assert rows[2].startswith("1 │ word word")
    assert rows[3].startswith("  │ word")


def test_a_table_too_wide_for_the_screen_names_each_cell() -> None:
    header = "|" + "|".join(f"name{n}" for n in range(8)) + "|\n" + "|---" * 8 + "|\n"
    rows = shown(header + "|" + "|".join("abcdefgh" for _ in range(8)) + "|\n", 24)
    assert rows[0] == "───"
    assert rows[1] == "name0: abcdefgh"


def test_quotes_hold_blocks_of_their_own() -> None:
    assert shown("> one\n> - two\n>\n> > three\n") == ["▎ one", "▎ • two", "▎", "▎ ▎ three"]


def test_raw_html_is_shown() -> None:
    assert shown("<b>x</b>\n\nVec<T> and <i>y</i>") == ["<b>x</b>", "", "Vec<T> and <i>y</i>"]


def code_rows(code: str, width: int = 30) -> list[str]:
    return shown(f"```python\n{code}\n```", width)[1:]


def test_code_has_a_header_and_its_end_is_apart() -> None:
    rows = shown("```python title=x\nabc = 1\n```\nend", 30)
    assert rows[0].split() == ["▎", "python", "copy"]
    assert rows[1:] == ["▎ abc = 1", "", "end"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("value = first + second + third", ["value = first + second +", "↪ third"]),
        ("    total = alpha * beta - gamma", ["    total = alpha * beta", "    ↪ - gamma"]),
        ("x = 1  # " + "z" * 30, ["x = 1  #", "↪ " + "z" * 22, "↪ " + "z" * 8]),
        ("    " + "z" * 30, ["    " + "z" * 20, "    ↪ " + "z" * 10]),
        ("# 日本語日本語日本語日本語", ["# 日本語日本語日本語日本", "↪ 語"]),
        ("\treturn 'one two three four five'", ["    return 'one two", "    ↪ three four five'"]),
        ("a  b" + " " * 40 + "c", ["a  b", "↪ c"]),
    ],
)
def test_long_code_continues_behind_a_mark_and_breaks_at_spaces(
    code: str, expected: list[str]
) -> None:
    assert [row.removeprefix("▎ ") for row in code_rows(code)] == expected


def test_selected_code_is_the_line_that_was_written() -> None:
    lines = ["    total  =  price * (1 - discount)   +  tax", "x" * 90, "# 日本語 " * 9 + "end"]
    source = "\n".join(lines)
    for cells in (14, 30, 47, 90):
        column = Column(Format(Palette(), cells))
        column.show([reply(f"```\n{source}\n```")])
        copied = selected_text(column, whole(0, column.measure(0)))
        assert copied.lstrip("\n") == source


def test_code_is_copied_as_it_was_written() -> None:
    made = layout(reply("```\n\tone  \n```\n> ```\n> two\n> ```\n"))
    assert clicks(list(made.lines()), "code")
    assert ["\n".join(fence.source) for fence in made.fences] == ["\tone  ", "two"]


def test_addresses_are_spelled_out_and_only_those_of_web_and_mail_can_be_clicked() -> None:
    made = list(
        layout(reply("[a](https://a.org/x) [b](javascript:b) see http://c.org/(d).")).lines()
    )
    assert "a (https://a.org/x) " in made[0].text
    assert set(clicks(made, "link")) == {"https://a.org/x", "http://c.org/(d)"}


# What stands around the text.


def test_reasoning_is_one_line_until_it_is_asked_for() -> None:
    made = layout(reply("So.", reasoning="First this.\nThen that.", reasoning_tokens=132))
    rows = [row.text for row in made.lines()]
    assert rows == ["▸ reasoning · 132 tokens · First this. Then that.", "", "So.", ""]
    made.reshape(Shape({REASONING.name: False}))
    rows = [row.text for row in made.lines()]
    assert rows[:3] == ["▾ reasoning · 132 tokens", "┆ First this.", "┆ Then that."]


def test_reasoning_is_shown_while_it_streams_and_folded_at_the_answer() -> None:
    made = layout(reply("", status="streaming"))
    assert [row.text for row in made.lines()] == ["", ""]
    made.feed(reasoning="Let me")
    made.feed(reasoning=" think")
    assert [row.text for row in made.lines()][:2] == [
        "▾ reasoning · 12 characters",
        "┆ Let me think",
    ]
    made.feed("So")
    assert next(row.text for row in made.lines()) == "▸ reasoning · 12 characters · Let me think"


def test_the_foot_says_how_it_ended_and_the_role_line_what_was_made_of_it() -> None:
    entry = reply("x", status="interrupted", sibling=(2, 4), pinned=True, tokens=1200, label="M")
    assert [row.text for row in layout(entry).lines()] == ["x", "◇ interrupted · /continue", ""]
    assert role(entry) == "M  ‹ 2/4 ›  ▲ pinned"
    made = list(EntryLayout(entry, Format(Palette(), 60)).lines())
    assert clicks(made, "action") == ["previous", "next", "continue"]
    scored = reply("x", rating=-1, by_person=True, scores=(("human", 0.834),))
    assert role(scored) == "Assistant  - bad  by hand"
    assert role(scored, scores=True) == "Assistant  - bad  by hand  human 0.83"


def test_facts_stand_at_the_end_of_the_role_line_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    then = time.mktime((2026, 3, 7, 17, 38, 0, 0, 0, -1))
    entry = reply("x", label="qwen3:4b", tokens=512, speed=43.2, seconds=12.3, created_at=then)
    assert role(entry) == "qwen3:4b"
    whole = "512 tokens · 43 tok/s · 12 s · 2026-03-07 17:38"
    for columns, expected in ((80, whole), (50, whole.partition(" · ")[2]), (30, whole[-16:])):
        shown = role(entry, columns, details=True)
        assert shown.startswith("qwen3:4b  ")
        assert shown[8:].strip() == expected
        assert cell_len(shown) == columns - 3
    assert role(entry, 20, details=True) == "qwen3:4b"
    today = SimpleNamespace(localtime=lambda at=then: time.localtime(at), strftime=time.strftime)
    monkeypatch.setattr("tchat.tui.widgets.transcript.role_line.time", today)
    shown = role(reply("x", created_at=then - 3600, speed=4.25, seconds=3.21), details=True)
    assert shown.split(maxsplit=1) == ["Assistant", "4.2 tok/s · 3.2 s · 16:38"]
    assert role(Entry(key=1, role="user", text="x")).strip() == "You"


LONG = "\n\n".join(f"line {number}" for number in range(54))


def folded(entry: Entry, shape: Shape = Shape()) -> list[str]:  # noqa: B008
    return [row.text for row in EntryLayout(entry, Format(Palette(), 60), shape).lines()]


def test_a_long_message_folds_and_says_how_many_lines_are_hidden() -> None:
    rows = folded(reply(LONG))
    assert rows[-3:] == ["", "▸ 87 more lines", ""]
    assert len(rows) == 1 + TEXT.shown + 2
    assert [row.rstrip() for row in folded(Entry(key=1, role="user", text=LONG))][-2:] == [
        "▸ 87 more lines",
        "",
    ]
    assert "line 53" in folded(reply(LONG), Shape(open=True))
    assert folded(reply(LONG), Shape({TEXT.name: False}))[-2] == "▾ fold"
    assert "line 53" in folded(reply(LONG, status="streaming"))
    assert "  line 53" in folded(Entry(key=1, role="error", text=LONG))
    short = "\n\n".join("x" for _ in range(20))
    assert len(folded(reply(short))) == 41
    assert folded(reply(short), Shape({TEXT.name: True})) == folded(reply(short))


def test_prompts_are_shown_as_they_were_typed() -> None:
    entry = Entry(key=1, role="user", text="*args\n  # x\n", attachments=("a\x1b.txt",))
    assert [row.text.rstrip() for row in layout(entry).lines()] == [
        "*args",
        "  # x",
        "+ a␛.txt",
        "",
    ]


def test_an_error_can_be_retried() -> None:
    made = list(layout(Entry(key=1, role="error", text="gone\nchoose another")).lines())
    assert [row.text for row in made] == ["✗ gone", "  choose another", "↻ retry", ""]
    assert clicks(made, "action") == ["retry"]
    final = layout(Entry(key=1, role="error", text="gone", retry=False)).lines()
    assert [row.text for row in final] == ["✗ gone", ""]


# Streaming.


@settings(max_examples=60, deadline=None)
@given(MARKDOWN, MARKDOWN, st.data())
def test_a_streamed_reply_ends_as_one_that_was_shown_whole(
    text: str, reasoning: str, data: st.DataObject
) -> None:
    made = layout(reply("", status="streaming"))
    for source, name in ((reasoning, "reasoning"), (text, "text")):
        at = 0
        while at < len(source):
            size = data.draw(st.integers(1, 40))
            made.feed(**{name: source[at : at + size]})
            at += size
    whole = reply(text, reasoning=reasoning)
    assert made.adopt(whole)
    assert list(made.lines()) == list(layout(whole).lines())


@settings(max_examples=40, deadline=None)
@given(MARKDOWN, st.sampled_from(["user", "assistant", "system", "notice", "error"]))
def test_nothing_is_too_wide_or_dangerous_at_any_width(text: str, role: Any) -> None:
    for cells in (20, 33, 80, 200):
        entry = replace(reply(text), role=role, reasoning=text, sibling=(2, 4), status="stopped")
        made = layout(entry, cells, details=True)
        made.reshape(Shape({REASONING.name: False}))
        for row in made.lines():
            assert row.cells == sum(part.cell_length for part in row.segments)
            assert row.cells <= cells
            assert not re.search("[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", row.text)


def test_what_is_finished_is_drawn_once() -> None:
    made = layout(reply("", status="streaming"))
    made.feed("one\n\n```python\nx = 1\n")
    before = list(made.lines())[:3]
    made.feed("y = 2\n```\n\n| a |\n|---|\n")
    assert all(new is old for new, old in zip(made.lines(), before, strict=False))
    assert made.settled >= 4


@pytest.mark.parametrize(
    "text",
    [
        ">" * 20_000,
        "- " * 10_000,
        "[" * 20_000,
        "*a_ " * 10_000,
        "|" * 5_000 + "\n" + "|-" * 2_500,
        "`" * 50_000,
        "x" * 100_000,
        "日" * 50_000,
        "\n".join(f"{' ' * n}- x" for n in range(300)),
        "```python\n" + "(" * 50_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_replies_do_not_stall(text: str) -> None:
    assert list(layout(reply(text), 80).lines())
    assert growth(lambda size: list(layout(reply(text[:size]), 80).lines()), len(text)) < 4


def test_only_a_text_that_is_the_same_is_adopted() -> None:
    made = layout(reply("one", status="streaming"))
    assert not made.adopt(reply("two"))
    assert made.adopt(reply("one", status="stopped"))
    assert [row.text for row in made.lines()] == ["one", "■ stopped", ""]
    assert not made.adopt(reply("one", status="streaming"))


def test_the_columns_of_a_growing_table_do_not_tremble() -> None:
    made = layout(reply("", status="streaming"))
    text = "| a | b |\n|---|---|\n" + "| one | **bold** [x](https://x.org) |\n" * 3
    widths = []
    for char in text:
        made.feed(char)
        widths += [row.cells for row in list(made.lines())[1:2] if row.text.startswith("─")]
    assert widths == sorted(widths)


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


@given(
    TEXTS.map(lambda text: text.replace("\n", "").replace("\t", "")),
    st.integers(2, 40),
    st.integers(0, 3),
)
def test_broken_code_loses_nothing_and_is_not_too_wide(text: str, cells: int, less: int) -> None:
    rest = max(2, cells - less)
    rows = break_code([Segment(text[:3]), Segment(text[3:])], cells, rest)
    parts = [joint + "".join(part.text for part in row) for row, joint in rows]
    assert "".join(parts) == (text if len(rows) == 1 else text.rstrip())
    for number, (row, joint) in enumerate(rows):
        assert width(row) <= (rest if number else cells)
        assert not joint.strip()


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
        growing.lines(text)
    assert growing.lines(text) == Flow(lambda text: [Segment(text)], 30).lines(text)


def test_only_the_end_of_a_long_paragraph_is_read_again() -> None:
    read: list[int] = []

    def reading(text: str) -> list[Segment]:
        read.append(len(text))
        return [Segment(text)]

    flow = Flow(reading, 40)
    text = "word " * 20_000
    before = flow.lines(text)
    read.clear()
    after = flow.lines(text + "more")
    assert sum(read) <= 2 * PIECE
    same = [one is other for one, other in zip(before, after, strict=False)]
    assert same.count(False) * 40 <= 2 * PIECE


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


TEX = st.text(st.sampled_from("abx12 +-*_^{}\\|,.()<>'"), min_size=1, max_size=30)
MARKS = st.sampled_from([("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]")])


def copied(source: str, width: int) -> str:
    """What is copied when all of a reply that is ``source`` is selected."""
    column = Column(Format(Palette(), width))
    column.show([Entry(key=1, role="assistant", text=source)])
    return selected_text(column, whole(0, column.measure(0)))


def drawn(source: str) -> str:
    """What is on the screen when so much of a reply has come."""
    document = Document(Palette(), 100)
    document.feed(source)
    return "\n".join(row.text for row in [*document.lines, *document.tail])


@given(st.lists(st.tuples(MARKS, TEX), min_size=1, max_size=3), st.integers(20, 90))
def test_the_source_of_every_formula_is_copied(
    parts: list[tuple[tuple[str, str], str]], width: int
) -> None:
    source = " and then ".join(f"{opens}{tex.strip()}{closes}" for (opens, closes), tex in parts)
    text = copied(source, width)
    place = 0
    for formula in formulas(source):
        found = text.find(source[formula.start : formula.end].strip(), place)
        assert found >= 0, (source, text)
        place = found + 1


def test_a_formula_is_drawn_as_written_until_it_is_closed_and_then_stays() -> None:
    source = "**So** \\[ \\frac{a_1*b_1}{c*d} \\] *holds* and $x_1*y_1$."
    closed = source.index("\\]") + 2
    for end in range(source.index("\\[ \\") + 5, closed):
        assert drawn(source[:end]) == "So " + source[7:end].rstrip()
    for end in range(closed, source.index("$") + 1):
        assert drawn(source[:end]).startswith("So (a₁*b₁)/(c*d)")
    assert drawn(source) == "So (a₁*b₁)/(c*d) holds and x₁*y₁."


def test_a_long_paragraph_of_formulas_is_cut_outside_of_them() -> None:
    source = " ".join(f"$a_{{{n}}} + b^2$ then" for n in range(300))
    assert copied(source, 80).split() == source.split()
    assert "$" not in drawn(source)


def test_a_text_made_against_the_search_for_formulas_is_read_in_linear_time() -> None:
    for piece in ("\\( ", "\\[ ", "$a ", "$$", "$$ ", "`$", "](", "<", "\\\\", "{", "$\\frac"):
        assert growth(partial(found_in, piece), 2_000) < 4


def found_in(piece: str, count: int) -> list[object]:
    return list(formulas(piece * count))
