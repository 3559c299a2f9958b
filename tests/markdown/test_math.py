"""Formulas in Markdown: found, kept from Markdown, shown readably, copied as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tchat.markdown import BlockKind, BlockSplitter
from tchat.markdown.inline import MATH, parse_inline, tex_to_unicode
from tchat.markdown.math import formulas
from tchat.markdown.renderer import BlockRenderer
from tchat.sanitize import printable


def drawn(source: str, width: int = 100) -> str:
    """What a command prints for ``source``."""
    splitter, renderer = BlockSplitter(), BlockRenderer()
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as captured:
        for block in splitter.feed(source) + splitter.close():
            if (shown := renderer.render(block)) is not None:
                console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def found(text: str) -> list[str]:
    return [text[each.start : each.end] for each in formulas(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x$ and $y^2$", ["$x$", "$y^2$"]),
        (r"\( x^2 \) and \[ a \\ b \]", [r"\( x^2 \)", r"\[ a \\ b \]"]),
        (r"\[ a \\[2pt] b \]", [r"\[ a \\[2pt] b \]"]),
        ("$$\na\n- b\n$$", ["$$\na\n- b\n$$"]),
        (r"$A = \$5$", [r"$A = \$5$"]),
        ("the $n$th and $2x+1$", ["$n$", "$2x+1$"]),
        (r"\(f(x)\)", [r"\(f(x)\)"]),
    ],
)
def test_formulas_are_found(text: str, expected: list[str]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10.",
        "$5, $10 or $20",
        "**$10** or **$20**",
        "US$5/US$6 or $1.5M-$2M",
        "from $5–$10 (not $7)",
        "`$x$` and ``\\(y\\)``",
        "$PATH:$HOME_DIR and $A and $B",
        r"\\(no\\) \$5\$",
        "[a](http://x.org/$y$z$) https://x.org/$a$",
        r"- \[ ] to do",
        r"see \[1\], \[a-z\] and \[note\]",
        "a $ b $ c",
        "$",
        "$$",
        "100 $$ 200 $$",
    ],
)
def test_what_is_no_formula_is_left_to_markdown(text: str) -> None:
    assert [source for source in found(text) if source != "$$ 200 $$"] == []


def test_code_is_no_formula() -> None:
    source = "```tex\n$x_1$ \\(y\\)\n```\n\n    $z^2$\n"
    assert "$x_1$ \\(y\\)" in drawn(source)
    assert "$z^2$" in drawn(source)


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        ("x^2", "x²"),
        ("p_{a}*q", "pₐ*q"),
        (r"\frac{1}{2}", "1/2"),
        (r"\frac{a+b}{c}", "(a+b)/c"),
        (r"\frac{a_1}{b^2}", "a₁/b²"),
        (r"\frac{2a}{b} + \frac{a}{2b}", "2a/b + a/(2b)"),
        (r"\frac{dy}{dx} = \frac{\partial f}{\partial x}", "dy/dx = ∂f/∂x"),
        (r"\frac{a}{dx}", "a/(dx)"),
        (r"\frac{\sqrt{2}}{2}", "√2/2"),
        (r"\frac{1}{\sqrt{2\pi}}", "1/√(2π)"),
        (r"\frac{-1}{2}", "(-1)/2"),
        (r"\frac{\sin x}{x}", "(sin x)/x"),
        (r"\frac{n!}{k!(n-k)!}", "n!/(k!(n-k)!)"),
        (r"\frac{\frac{1}{2}}{3}", "(1/2)/3"),
        (r"\left(\frac{1}{2}\right)^2", "(1/2)²"),
        (r"\{\frac12\}", "{1/2}"),
        (r"a \leq \frac{1}{2} \pm b", "a ≤ 1/2 ± b"),
        (r"e^{\frac{1}{2}}", "e^(1/2)"),
        (r"{\frac{1}{2}}x", "(1/2)x"),
        (r"\frac{1}{2}\,x", "(1/2) x"),
        (r"{x^2}^3", "(x²)³"),
        (r"\sqrt[3]{x} + \sqrt[4]{ab}", "∛x + ∜(ab)"),
        (r"2\frac{1}{2}x", "2(1/2)x"),
        (r"\frac{a}{b}^2", "(a/b)²"),
        (r"{a+b}^2", "(a+b)²"),
        (r"e^{-x^2}", "e^(-x²)"),
        (r"\sum_{i=1}^{n} x_i^2", "∑ᵢ₌₁ⁿ xᵢ²"),
        (r"\alpha\beta \leq \gamma", "αβ ≤ γ"),
        (r"\sqrt{x^2+y^2} + \sqrt{x}", "√(x²+y²) + √x"),
        (r"\sqrt xy", "√(x)y"),
        (r"x = \frac{-b \pm \sqrt{b^2-4ac}}{2a}", "x = (-b ± √(b²-4ac))/(2a)"),
        (r"\{x \in \mathbb{R}\}", "{x ∈ ℝ}"),
        (r"\int_0^\infty e^{-x}\,dx", "∫₀^∞ e⁻ˣ dx"),
        (r"\left( a \right)", "( a )"),
        (r"\left. f \right|_0", "f |₀"),
        (r"f'(x) + \hat{y}", "f′(x) + y\u0302"),
        (r"x_{\text{max}} \text{ if } a", "xₘₐₓ if a"),
        (r"\mathbf{x}^T", "𝐱ᵀ"),
        (r"50\%", "50%"),
        (r"x^qy", "x^(q)y"),
        (r"a \\ b", "a\nb"),
    ],
)
def test_tex_is_shown_readably(tex: str, shown: str) -> None:
    assert tex_to_unicode(tex) == shown


@pytest.mark.parametrize(
    "tex",
    [
        r"\begin{pmatrix} a & b \end{pmatrix}",
        r"\unknown{x}",
        r"\sqrt[n]{x}",
        r"\unknown{x^2} + y",
        r"\begin{cases} x^2 & x > 0 \\ 0 & x < 0 \end{cases}",
        r"x^2 + \unknown{y",
        r"x^2 + \begin{a} \begin{b} \end{b}",
        r"x^2 \end{a}",
        r"\unknown[" * 300,
        r"\begin{a}" * 300,
        r"a \\[2pt] b",
        r"a & b",
        "x^",
        "^2",
        "{",
        "}",
        r"\frac{a}",
        r"\color{red} x",
        "{" * 5000,
        r"\frac" * 300,
    ],
)
def test_tex_that_would_lose_something_stays_as_it_is(tex: str) -> None:
    assert tex_to_unicode(tex) is None


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"x^2 + \unknown{y_1}", r"x² + \unknown{y_1}"),
        (r"\unknown*[a]{b}{c}^2", r"\unknown*[a]{b}{c}²"),
        (r"\foo\alpha\foo x", r"\foo α\foo x"),
        (r"\frac{\foo{a}}{\foo}", r"(\foo{a})/(\foo)"),
        (r"\hat{xy} + \mathbf{x+1}^2", r"\hat{xy} + \mathbf{x+1}²"),
        (r"\sqrt[n]{x} + x^2", r"\sqrt[n]{x} + x²"),
        (
            r"x_1 = \begin{matrix} a & b \\ c & d \end{matrix} y_1",
            r"x₁ = \begin{matrix} a & b \\ c & d \end{matrix} y₁",
        ),
        (r"\binom{n}{k} = \frac{n!}{k!}", r"\binom{n}{k} = n!/k!"),
    ],
)
def test_what_has_no_unicode_stays_and_the_rest_is_drawn(tex: str, shown: str) -> None:
    assert tex_to_unicode(tex) == shown


def test_every_command_is_drawn_or_kept() -> None:
    source = r"\frac{\one{a}}{\two} + \three[b]{c} \begin{four} & \end{four}"
    shown = tex_to_unicode(source + r" x^2")
    assert shown is not None
    for kept in (r"\one{a}", r"\two", r"\three[b]{c}", r"\begin{four} & \end{four}", "x²"):
        assert kept in shown


def test_markdown_does_not_touch_formulas() -> None:
    assert drawn(r"So \( x^2 \) and $p_{a}*q$ *here*, \{a\}.") == "So x² and pₐ*q here, {a}."
    matrix = r"\[ \begin{pmatrix} a_1 & b* \\ c* & d_1 \end{pmatrix} \]"
    assert drawn(matrix) == matrix
    assert drawn("| a | b |\n|---|---|\n| $x^2$ | $5 |\n").splitlines()[-1].split() == ["x²", "$5"]


def test_words_between_escaped_brackets_are_no_mathematics() -> None:
    assert drawn(r"Escape \( and \) here") == r"Escape \( and \) here"
    assert drawn(r"\( n \) and \( ab \)") == "n and ab"


def test_the_marks_of_a_quote_are_no_part_of_its_formula() -> None:
    assert [line.strip("▌ ") for line in drawn("> so\n> $$\n> a_1\n> $$\n> end").splitlines()] == [
        "so",
        "a₁",
        "end",
    ]


def test_a_formula_over_several_lines_begins_no_other_block() -> None:
    source = "Now\n\n$$\nf = a\n- b\n+ c\n# d\n$$\n\n- one\n- two\n"
    kinds = [
        block.kind for block in BlockSplitter().feed(source) if block.kind is not BlockKind.BLANK
    ]
    assert kinds == [BlockKind.PARAGRAPH, BlockKind.PARAGRAPH, BlockKind.ITEM]
    assert "f = a - b + c" in drawn("\\[\nf = a\n- b\n+ c\n\\]\n")


def test_a_mark_that_is_never_closed_ends_with_its_paragraph() -> None:
    source = "$$\nno end\n\n- one\n- two\n"
    kinds = [
        block.kind for block in BlockSplitter().feed(source) if block.kind is not BlockKind.BLANK
    ]
    assert kinds == [BlockKind.PARAGRAPH, BlockKind.ITEM]
    fence = BlockSplitter().feed("$$\n```python\nx\n```\n")
    assert [block.kind for block in fence][1:] == [
        BlockKind.FENCE_OPEN,
        BlockKind.CODE,
        BlockKind.FENCE_CLOSE,
    ]


def test_an_unfinished_formula_is_shown_as_it_is_written_so_far() -> None:
    for end in range(len("\\[ \\frac{a_1*b_1}"), len("\\[ \\frac{a_1*b_1}{c*d} ")):
        source = "so \\[ \\frac{a_1*b_1}{c*d} \\]"[: 3 + end]
        assert drawn(source) == source.rstrip()


TEX = st.text(st.sampled_from("abx12 +-*_^{}\\|&,.()[]<>'\"%#~`"), min_size=1, max_size=30)


@given(before=st.text("ab *_`[]()#>-", max_size=20), tex=TEX, after=st.text("ab *_.", max_size=20))
def test_the_source_of_every_formula_survives(before: str, tex: str, after: str) -> None:
    for opens, closes in (("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]")):
        text = f"{before} {opens}{tex}{closes} {after}"
        expected = [printable(source) for source in found(text)]
        tokens = parse_inline(text)
        assert [token.markup for token in tokens if token.type == MATH] == expected
        assert all("\ue000" not in token.content for token in tokens)


@given(st.text("$\\()[]{}^_ab1 `\n-*#", max_size=60), st.integers(1, 5))
def test_blocks_do_not_depend_on_how_the_text_is_cut(text: str, size: int) -> None:
    whole, pieces = BlockSplitter(), BlockSplitter()
    expected = whole.feed(text) + whole.close()
    blocks = []
    for start in range(0, len(text), size):
        blocks += pieces.feed(text[start : start + size])
        pieces.preview()
    assert blocks + pieces.close() == expected
    assert "".join(block.source for block in expected) == text


PIECES = [*"{}^_x\\2 [&", r"\frac", r"\sqrt", r"\sin", r"\left", r"\text", r"\hat", r"\mathbb"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_tex_breaks_the_reader(tex: str) -> None:
    shown = tex_to_unicode(tex)
    assert shown is None or shown == shown.strip()
