"""A grammar is parsed in a child first, which says where it is broken and may hang or crash."""

from __future__ import annotations

import pytest

from tchat.engine import grammar
from tchat.engine.grammar import require_grammar
from tchat.errors import UsageError


@pytest.mark.parametrize(
    "source",
    [
        'root ::= "ü" | [a-z]+\n# a remark\n',
        'root ::= <|im_end|> "a"\n',  # a token by its text: known when the model is there
        'root ::= (("a" "b")? root2)*\nroot2 ::= "c"{2,4}',
    ],
)
def test_a_sound_grammar_passes(source: str) -> None:
    require_grammar(source)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('root ::= x\nx = "a"\n', "does not parse: line 2, column 3: expecting ::="),
        ('root ::= "ü" |\n  "a")\n', "line 2, column 6"),
        ("root ::= x", "does not parse: Undefined rule identifier 'x';"),
        ('x ::= "a"', "'root'"),
        ('root ::= root "a" | "a"', "left recursion"),
        ("root ::= " + "(" * grammar.LONGEST, "1,048,576 are allowed"),
        ("root ::= [\x1b", "does not parse"),
    ],
)
def test_a_broken_grammar_is_told_on_one_line_with_its_place(source: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_grammar(source, "the grammar g.gbnf")
    assert str(caught.value).startswith("the grammar g.gbnf ")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_grammar_that_never_ends_parsing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "LIMIT", 1.0)
    with pytest.raises(UsageError, match="more than 1 s to parse"):
        require_grammar('root ::= "a"{3,1}')
