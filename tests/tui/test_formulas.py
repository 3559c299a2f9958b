"""Formulas on the screen: copied as they were written, steady while they stream in."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from tchat.markdown.math import formulas
from tchat.tui.widgets.transcript.column import Column, selected_text, whole
from tchat.tui.widgets.transcript.document import Document
from tchat.tui.widgets.transcript.entry import Entry, Format
from tchat.tui.widgets.transcript.lines import Palette
from tests.growth import growth

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
