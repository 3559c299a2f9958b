"""The code in a reply: closed by CommonMark's rule, opened as models really write."""

from __future__ import annotations

from itertools import pairwise
from textwrap import indent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tchat.markdown import BlockKind, code_blocks, first_code_block
from tests.markdown.test_splitter import split

DOCSTRING = 'def f():\n    """Example:\n\n    ```\n    f()\n    ```\n    """\n    return 1'
FENCED = f"```python\n{DOCSTRING}\n```"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # Closing: the same character, at least as many, at most three columns, nothing behind.
        (f"```python\n{DOCSTRING}\n```\nThat is it.\n", DOCSTRING),
        (f"1. Do:\n{indent(FENCED, '   ')}\n", DOCSTRING),
        ("```\na\n   ```\nb\n", "a"),
        ("```\na\n\t```\nb\n```\n", "a\n\t```\nb"),
        ("```\na\n``` x\nb\n```\n", "a\n``` x\nb"),
        ("```\na\n``\nb\n```\n", "a\n``\nb"),
        ("```\na\n`````\nb\n", "a"),
        ("```\na\n~~~\nb\n```\n", "a\n~~~\nb"),
        ("~~~sh\na\n```\nb\n~~~~\nc\n", "a\n```\nb"),
        ("````md\n```sh\nls\n```\n````\n", "```sh\nls\n```"),
        ("   ```\n   a\n     b\n   ```\n", "a\n  b"),
        ("1. a\n   ```\n   x\n```\n2. b\n", "x"),
        # Openings that CommonMark takes for code in a sentence, and text behind the closing.
        ("```py title=`x`\nx\n```", "x"),
        ("```py title=`x`\nx\n```\n```js\ny\n```\n", "x"),
        ("``` ```\nx\n```", "x"),
        ("Here:\n``` ```\nx\n```\n", "x"),
        ("Sure ```python\nx\n``` done", "x"),
        ("Use ```a``` so:\n```\nx\n```\n", "x"),
        ("```a `b` c``` is short.\n```\nx\n```\n", "x"),
        # In lists and quotes.
        ("- ```sh\n  ls\n  ```\n- b\n", "ls"),
        ("- a\n\n  1. b\n\n     ```sh\n     ls\n       -l\n     ```\n", "ls\n  -l"),
        ("> Try:\n> ```sh\n> ls\n>\n> pwd\n> ```\n", "ls\n\npwd"),
        ("> ```sh\n> ls\nNot any more.\n", "ls"),
        ("> > ```\n> > > a\n> > ```\n", "> a"),
        ("    ```python\n    x = 1\n    ```\n", "x = 1"),
        ("1. a\n\n       ```sh\n       ls\n       ```\n", "ls"),
        # Opening behind text.
        ("Sure: ```python\nx = 1\n```\n", "x = 1"),
        ("Sure: ```\nx = 1\n```\nDone.", "x = 1"),
        ("- Run ```sh\n  ls\n  ```\n", "ls"),
        ("Sure: ```python\nx = 1", "x = 1"),
        ("Sure: ```a``` and ```b```\n\n```sh\nls\n```\n", "ls"),
        ("Put it between ```\n\n```sh\nls\n```\n", "ls"),
        # Only a closing one.
        ("x = 1\ny = 2\n```", "x = 1\ny = 2"),
        ("x = 1\n```\n\nThat sets x.\n", "x = 1"),
        ("x = 1\n~~~\n", "x = 1"),
        ("x = 1\n```\n\nThen:\n```sh\nls\n```\n", "x = 1"),
        ("Here it is:\n```\nx = 1\n", "x = 1"),
        ("Here it is\n\n```\n\nx = 1\n", "\nx = 1"),
        # Blank blocks are no answer.
        ("```python\n```\n\n```python\nx = 1\n```\n", "x = 1"),
        ("```python\n```\nx = 1\n```\n", "x = 1"),
        ("```\n   \n```\n~~~\nx\n~~~\n", "x"),
        # Not closed.
        ("```sh\nls\n", "ls"),
        ("```sh\nls -l", "ls -l"),
        ("```sh\nls -l```", "ls -l"),
        ("```sh\r\nls\r\n```\r\n", "ls\r"),
        # On one line.
        ("```ls -l```", "ls -l"),
        ("```sh\nls", "ls"),
    ],
)  # fmt: skip
def test_the_first_block_that_holds_something(text: str, code: str) -> None:
    assert first_code_block(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no code",
        "no `code`",
        "```",
        "```python\n",
        "~~~\n~~~",
        "```\n```\n```\n```",
        "``` `x` ```",
    ],
)
def test_none_where_there_is_no_code(text: str) -> None:
    assert first_code_block(text) is None


def test_all_blocks_with_their_language() -> None:
    text = "a\n```python\nx\n```\nb\n~~~ sh -x\nls\n~~~\n```\ny\n```\n"
    assert code_blocks(text) == [("python", "x"), ("sh -x", "ls"), ("", "y")]


@given(
    st.lists(
        st.sampled_from(
            ["```", "```py", "````", "~~~", "   ```", "    ```", "``` x", "a", "  a", "", "~~~~"]
        ),
        max_size=12,
    )
)
def test_pairs_are_those_of_commonmark(lines: list[str]) -> None:
    """Where every block is closed, the blocks are those of an independent parser."""
    text = "\n".join([*lines, ""])
    tokens = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    closed = all(_is_closed(text, token) for token in tokens)
    indented = any(line.startswith("    ```") for line in lines)
    # Unlike CommonMark: a bare fence before one with a language closes what nothing opened.
    marks = [line.strip() for line in lines if line.strip()[:3] in ("```", "~~~")]
    unopened = any(
        not first.strip("`~") and second.strip("`~") and first[0] == second[0]
        for first, second in pairwise(marks)
    )
    if closed and not indented and not unopened and tokens:
        expected = [token.content.removesuffix("\n") for token in tokens if token.content.strip()]
        assert [block.code for block in code_blocks(text)] == expected


def _is_closed(text: str, token: Token) -> bool:
    begin, end = token.map or (0, 0)
    last = text.split("\n")[end - 1].strip()
    return end - begin > 1 and last.startswith(token.markup) and not last.strip(token.markup[0])


@given(st.text(alphabet="`~> \n-1.ab:", max_size=80))
def test_any_text_is_read(text: str) -> None:
    for block in code_blocks(text):
        assert block.code.strip()


def test_the_screen_draws_and_copies_the_same_code() -> None:
    text = f"Sure: ```python\n{DOCSTRING}\n```\nDone.\n"
    blocks = split(text)
    assert "\n".join(b.text for b in blocks if b.kind is BlockKind.CODE) == DOCSTRING
    assert [b.kind for b in blocks if b.kind is not BlockKind.CODE] == [
        BlockKind.PARAGRAPH, BlockKind.FENCE_OPEN, BlockKind.FENCE_CLOSE, BlockKind.PARAGRAPH,
    ]  # fmt: skip
    assert "".join(b.source for b in blocks) == text
