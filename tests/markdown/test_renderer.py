"""What blocks look like on a terminal: nothing lost, nothing acting, code in colour."""

from __future__ import annotations

import io
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.style import Style
from rich.theme import Theme

from tchat.markdown import Block, BlockSplitter
from tchat.markdown.highlight import Highlighter
from tchat.markdown.renderer import STYLES, BlockRenderer, trimmed
from tchat.markdown.syntax import SyntaxStyles
from tchat.sanitize import printable
from tests.imports import modules_after
from tests.markdown.test_splitter import markdown


def blocks(text: str) -> list[Block]:
    splitter = BlockSplitter()
    return splitter.feed(text) + splitter.close()


def draw(text: str, width: int = 60, color: Literal["standard", "truecolor"] | None = None) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=color,
        force_terminal=bool(color),
        theme=Theme(STYLES),
        _environ={"TERM": "xterm-256color"},
    )
    renderer = BlockRenderer()
    with console.capture() as capture:
        for block in blocks(text):
            drawn = renderer.render(block)
            if drawn is not None:
                console.print(trimmed(console.render(drawn)), crop=False)
    return capture.get()


def test_items_stand_below_each_other_with_their_numbers() -> None:
    text = "Steps:\n1. one\n1. two **bold**\n   - deeper\n1. three\n"
    assert draw(text) == "Steps:\n1. one\n2. two bold\n   • deeper\n3. three\n"


def test_the_blank_lines_between_items_are_those_of_the_source_at_most_one() -> None:
    assert draw("- a\n\n\n\n- b\n- c\n\n") == "• a\n\n• b\n• c\n"


def test_a_long_item_goes_on_below_its_text() -> None:
    assert draw("10. " + "word " * 6, width=20) == "10. word word word\n    word word word\n"


def test_blocks_stand_apart_and_nothing_stands_around_them() -> None:
    text = "\n\nA\n# B\nC\n```\nd\n\ne\n```\nF\n> g\n\n---\n\n\n"
    assert draw(text, 10) == "A\n\nB\nC\n\n```\nd\n\ne\n```\n\nF\n\n▌ g\n\n──────────\n"


def test_a_table_has_its_columns_and_no_frame() -> None:
    table = "| a | n |\n|---|--:|\n| x | 1 |\n| **yy** | 22 |\n"
    lines = [line.split() for line in draw(table).splitlines()]
    assert lines[0] == ["a", "n"]
    assert set(lines[1][0]) == {"─"}
    assert lines[2:] == [["x", "1"], ["yy", "22"]]


def test_code_in_an_item_is_indented_and_runs_over_the_edge() -> None:
    line = "x = " + "1 + " * 30 + "1"
    text = f"1. a\n\n   ```python\n   {line}\n   ```\n"
    assert draw(text, 40) == f"1. a\n\n   ```python\n   {line}\n   ```\n"


@pytest.mark.parametrize(
    "text",
    [
        "Vec<T> and <b>bold</b>",
        "<div class='x'>\n<script>alert(1)</script>\n</div>",
        "<!-- a comment -->",
        "[name]: https://example.org",
        "[text][missing]",
        "R&D &copy no entity",
    ],
)
def test_html_and_definitions_are_shown_as_they_stand(text: str) -> None:
    assert draw(text) == text + "\n"


def test_links_show_their_address_once() -> None:
    assert draw("[docs](https://a.b/c)") == "docs (https://a.b/c)\n"
    assert draw("<https://a.b/c>") == "https://a.b/c\n"
    assert draw("[https://a.b](https://a.b)") == "https://a.b\n"
    assert draw("![alt](pic.png)") == "alt (pic.png)\n"
    assert "\x1b]8" not in draw("[docs](https://a.b/c)", color="truecolor")


def test_the_lines_of_a_poem_stay_lines() -> None:
    assert draw("Roses are red\nViolets are blue") == "Roses are red\nViolets are blue\n"


@pytest.mark.parametrize("entity", ["&#x202E;", "&#x200B;", "&#13;", "&rlm;", "&#12;", "&NoBreak;"])
def test_an_entity_cannot_bring_back_what_was_made_safe(entity: str) -> None:
    shown = draw(f"a{entity}b `c{entity}` [d](e{entity})\n\n![{entity}]({entity})")
    assert printable(shown) == shown


@settings(max_examples=200, deadline=None)
@given(markdown | st.text().map(printable))
def test_every_text_can_be_drawn_and_nothing_in_it_acts(text: str) -> None:
    shown = draw(text, 30)
    assert printable(shown) == shown
    assert not any(line.endswith(" ") for line in shown.split("\n"))


@given(st.lists(st.text("abcXYZ019", min_size=1), min_size=1).map(" ".join))
def test_no_word_is_lost(text: str) -> None:
    assert draw(text, 500).split() == text.split()


def test_a_deep_list_on_a_narrow_terminal_keeps_half_of_it() -> None:
    shown = draw("- a\n" + "".join(" " * 2 * n + "- b\n" for n in range(1, 30)), width=16)
    assert shown.count("b") == 29


def test_a_hostile_paragraph_is_not_parsed() -> None:
    assert "*a" in draw("*a _b " * 20_000, width=200)


def test_code_is_coloured_by_its_language_alone() -> None:
    assert "\x1b[" in draw("```python\nimport os\n```", color="standard").splitlines()[1]
    assert "\x1b[" not in draw("```\nimport os\n```", color="standard").splitlines()[1]
    assert "\x1b[" not in draw("```no-such\nimport os\n```", color="standard").splitlines()[1]


def test_nothing_guesses_a_language(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygments.lexers

    def guess(*_: object, **__: object) -> None:
        raise AssertionError("guessed")

    monkeypatch.setattr(pygments.lexers, "guess_lexer", guess)
    assert draw("```\nx\n```\n\n> ```\n> y\n> ```\n").count("```") == 2


def styles_of(language: str, lines: list[str]) -> list[set[str]]:
    highlighter = Highlighter(language, "ansi_dark")
    return [{str(span.style) for span in highlighter.line(line).spans} for line in lines]


@pytest.mark.parametrize(
    ("language", "code", "kinds"),
    [
        ("python", "def f(): pass  # x", {"def": "keyword", "f": "function", "# x": "comment"}),
        ("python", "class A(ValueError): b = None", {"A": "type", "None": "number"}),
        ("python", "@a", {"@a": "type"}),
        ("c", "#include <a>", {"include": "type"}),
        ("js", 'const a = "b" + 1.5', {"const": "keyword", '"b"': "string", "1.5": "number"}),
        ("html", '<p id="a">b</p>', {"p": "keyword", "id": "function", '"a"': "string"}),
        ("diff", "-a", {"-a": "error"}),
        ("diff", "+a", {"+a": "string"}),
        ("bash", "x=1; if [ -f a ]; then echo b; fi", {"if": "keyword", "echo": "function"}),
    ],
)
def test_words_of_code_have_the_style_of_their_kind(
    language: str, code: str, kinds: dict[str, str]
) -> None:
    styles = SyntaxStyles(*(Style(meta={"kind": kind}) for kind in SyntaxStyles._fields))
    line = Highlighter(language, styles).line(code)
    found = {
        line.plain[span.start : span.end].strip(): span.style.meta["kind"]
        for span in line.spans
        if isinstance(span.style, Style) and span.style.meta
    }
    assert kinds.items() <= found.items()


def test_the_state_goes_on_from_line_to_line() -> None:
    quoted, inside, code = styles_of("python", ['x = """a', "import os", '"""; import os'])
    assert inside == quoted
    assert len(inside) == 1
    assert len(code) > 1


@pytest.mark.parametrize(
    ("language", "begin", "end"),
    [
        ("c", "/* a", "b */"),
        ("js", "/* a", "b */"),
        ("css", "/* a", "b */"),
        ("html", "<!-- a", "b -->"),
    ],
)
def test_a_comment_goes_on_from_line_to_line(language: str, begin: str, end: str) -> None:
    first, inside, last = styles_of(language, [begin, "int return 1;", end])
    assert first == inside == last
    assert len(first) == 1


def test_a_comments_mark_in_a_string_begins_none() -> None:
    string, code = styles_of("c", ['char *s = "/*";', "return 1;"])
    assert len(string) > 1
    assert len(code) > 1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["python", "c", "yaml", "html", "bash", "postgres", "ruby", "markdown", "php"]),
    st.lists(st.text("ab0 \t\"'#:/*-<>!{}()$`\\|&;=[]~é", max_size=40), max_size=8),
)
def test_colouring_changes_no_character(language: str, lines: list[str]) -> None:
    highlighter = Highlighter(language, "ansi_dark")
    assert [highlighter.line(line).plain for line in lines] == lines


def test_splitting_needs_no_rich() -> None:
    assert not {"rich", "pygments", "markdown_it"} & modules_after("import tchat.markdown")


@pytest.mark.parametrize("language", ["python", "c", "yaml", "html"])
def test_the_preview_of_a_line_of_code_leaves_the_state_as_it_is(language: str) -> None:
    plain, previewed = Highlighter(language, "monokai"), Highlighter(language, "monokai")
    for line in ('a = """x', "/* b", "- c: |", "  d", "*/ <!-- e", '--> f"""'):
        previewed.preview(line[:3] + ' /* """ <!--')
        assert previewed.line(line) == plain.line(line)
