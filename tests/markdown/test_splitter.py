"""Blocks of streaming Markdown: the same however the text is cut, and never taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.markdown import Block, BlockKind, BlockSplitter, first_code_block
from tests.growth import growth

MARKS = [
    "# ", "- ", "* ", "1. ", "2) ", "```", "~~~", "````", "> ", "|", "|-|", "---", "===", "<div>",
    "    ", "\t", " ", "\n", "\n\n", "a", "b c", "`", "**", "</p>", "```py", "  \n", "9. ", "<!--",
]  # fmt: skip
markdown = st.lists(st.sampled_from(MARKS), max_size=60).map("".join)


def split(text: str) -> list[Block]:
    splitter = BlockSplitter()
    return splitter.feed(text) + splitter.close()


def kinds(text: str) -> list[BlockKind]:
    return [block.kind for block in split(text)]


def items(text: str) -> list[tuple[int, int | None, str]]:
    return [(b.indent, b.number, b.text) for b in split(text) if b.kind is BlockKind.ITEM]


@given(markdown | st.text())
def test_the_sources_joined_are_the_text(text: str) -> None:
    assert "".join(block.source for block in split(text)) == text


@given(markdown)
def test_one_character_at_a_time_gives_the_same_blocks(text: str) -> None:
    splitter = BlockSplitter()
    blocks = []
    for position, char in enumerate(text):
        blocks += splitter.feed(char)
        assert "".join(b.source for b in blocks) + splitter.pending == text[: position + 1]
    assert blocks + splitter.close() == split(text)


@given(markdown, markdown)
def test_a_preview_is_what_closing_would_give_and_changes_nothing(text: str, more: str) -> None:
    splitter = BlockSplitter()
    blocks = splitter.feed(text)
    assert blocks + splitter.preview() == split(text)
    assert blocks + splitter.feed(more) + splitter.close() == split(text + more)


@given(markdown, st.integers(0, 200))
def test_any_cut_gives_the_same_blocks(text: str, cut: int) -> None:
    splitter = BlockSplitter()
    blocks = splitter.feed(text[:cut]) + splitter.feed(text[cut:]) + splitter.close()
    assert blocks == split(text)


REPLY = """\
# Title

Some *text* over
two lines.

1. one
   - deeper
2. two

   ```python
   x = 1
   ```

| a | b |
|---|---|
| 1 | 2 |
"""


@pytest.mark.parametrize(
    "text",
    [REPLY * 700, "x" * 100_000, "- a\n" * 25_000, "`" * 100_000, "a | b\n" * 17_000],
    ids=["reply", "no newline", "items", "one mark", "bars"],
)
def test_a_long_reply_in_small_chunks_is_split_in_linear_time(text: str) -> None:
    def split(size: int) -> None:
        splitter = BlockSplitter()
        for start in range(0, size, 5):
            splitter.feed(text[start : start + 5])
        splitter.close()

    assert growth(split, len(text)) < 3


def test_a_block_is_given_when_the_line_that_ends_it_is_complete() -> None:
    splitter = BlockSplitter()
    assert splitter.feed("One\ntwo") == []
    assert splitter.feed("\n") == []
    assert [b.text for b in splitter.feed("\n")] == ["One\ntwo", ""]
    assert splitter.feed("- item") == []
    assert [b.text for b in splitter.feed("\n- next\n")] == ["item"]
    assert splitter.pending == "- next\n"
    assert [b.kind for b in splitter.feed("```\n")] == [BlockKind.ITEM, BlockKind.FENCE_OPEN]
    assert [b.text for b in splitter.feed("code\n")] == ["code"]


def test_every_kind_is_told_by_its_first_lines() -> None:
    text = "# h\nsetext\n===\np\n- i\n\n***\n> q\n\n<div>\n\n| a |\n|---|\n\n```\nc\n```\n"
    assert [kind for kind in kinds(text) if kind is not BlockKind.BLANK] == [
        BlockKind.HEADING, BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.ITEM, BlockKind.RULE,
        BlockKind.QUOTE, BlockKind.HTML, BlockKind.TABLE, BlockKind.FENCE_OPEN, BlockKind.CODE,
        BlockKind.FENCE_CLOSE,
    ]  # fmt: skip


def test_ordered_items_are_counted_from_the_first() -> None:
    assert items("3. a\n3. b\n\n1. c\n") == [(0, 3, "a"), (0, 4, "b"), (0, 5, "c")]


def test_another_marker_or_a_paragraph_between_begins_another_list() -> None:
    assert items("1. a\n1) b\n") == [(0, 1, "a"), (0, 1, "b")]
    assert items("1. a\n\ntext\n\n5. b\n") == [(0, 1, "a"), (0, 5, "b")]


def test_nested_items_stand_in_the_column_of_their_marker() -> None:
    text = "1. a\n   - b\n     1. c\n     1. d\n1. e\n\t- f\n"
    assert items(text) == [
        (0, 1, "a"), (3, None, "b"), (5, 1, "c"), (5, 2, "d"), (0, 2, "e"), (4, None, "f"),
    ]  # fmt: skip


def test_what_belongs_to_an_item_loses_its_indentation() -> None:
    text = "1. a\nlazy\n\n   more\n\n   ```sh\n   ls\n     -l\n   ```\n2. b\n"
    shown = [(b.kind, b.indent, b.text) for b in split(text) if b.kind is not BlockKind.BLANK]
    assert shown == [
        (BlockKind.ITEM, 0, "a\nlazy"),
        (BlockKind.PARAGRAPH, 3, "more"),
        (BlockKind.FENCE_OPEN, 3, "```sh"),
        (BlockKind.CODE, 3, "ls"),
        (BlockKind.CODE, 3, "  -l"),
        (BlockKind.FENCE_CLOSE, 3, "```"),
        (BlockKind.ITEM, 0, "b"),
    ]


def test_a_sentence_that_goes_on_with_a_number_or_a_dash_stays_one() -> None:
    assert kinds("It was in\n1986. A great year\n") == [BlockKind.PARAGRAPH]
    assert kinds("5\n-\n") == [BlockKind.HEADING]
    assert kinds("**bold** and\n*emphasis*\n") == [BlockKind.PARAGRAPH]


def test_marks_inside_a_fence_are_code() -> None:
    text = "````md\n# no\n\n- no\n```\n~~~\n````\n"
    assert kinds(text) == [BlockKind.FENCE_OPEN, *[BlockKind.CODE] * 5, BlockKind.FENCE_CLOSE]


def test_a_closing_fence_is_known_at_any_indentation() -> None:
    assert kinds("1. a\n   ```\n   x\n```\n2. b\n")[-2:] == [BlockKind.FENCE_CLOSE, BlockKind.ITEM]


def test_the_line_above_a_delimiter_row_is_the_tables_header() -> None:
    blocks = split("Here:\n| a | b |\n|:--|--:|\n| 1 | 2 |\nafter\n")
    assert [(b.kind, b.text) for b in blocks] == [
        (BlockKind.PARAGRAPH, "Here:"),
        (BlockKind.TABLE, "| a | b |\n|:--|--:|\n| 1 | 2 |"),
        (BlockKind.PARAGRAPH, "after"),
    ]


def test_a_row_of_dashes_with_other_cells_makes_no_table() -> None:
    assert kinds("a | b\n|---|\n") == [BlockKind.PARAGRAPH]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", None),
        ("no `code` here", None),
        ("a\n```python\nx = 1\n\ny\n```\nb\n```\nz\n```\n", "x = 1\n\ny"),
        ("~~~\nx\n```\ny\n~~~\n", "x\n```\ny"),
        ("`````\n```\nx\n```\n`````\n", "```\nx\n```"),
        ("```sh\nls\n", "ls"),
        ("```sh\nls -l", "ls -l"),
        ("```\n```\n", None),
        ("1. Run\n   ```sh\n   a\n     b\n   ```\n", "a\n  b"),
        ("- ```\n  a\n  ```\n", "a"),
        ("    indented\n\n```\nfenced\n```", "fenced"),
        ("``` not `` a fence\n", None),
    ],
)
def test_the_first_code_block(text: str, code: str | None) -> None:
    assert first_code_block(text) == code
