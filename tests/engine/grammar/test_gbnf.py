"""Grammars are checked before llama.cpp sees them: it accepts what passes, errors say why not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tchat.engine.grammar.gbnf import LONGEST, require_grammar
from tchat.errors import UsageError
from tests.engine.grammar.accepting import Acceptor


@pytest.mark.parametrize(
    "source",
    [
        'root ::= "ü" | [a-z]+\n# a remark\n',
        'root ::= (("a" "b")? root2)*\nroot2 ::= "c"{2,4}',
        'root ::= "a" |\n "b" | (\n"c"\n)',
        'root ::= "a"{1999}',
        'root ::= "a"{0,1999}',
        'root ::= ("a" | "")? "b"',
        'root ::= [^\\x00-\\x1F"\\\\] . "\\U0001F600"',
        'root ::= a-1\na-1 ::= "x"\r\n',
    ],
)
def test_a_sound_grammar_passes_here_and_in_llama_cpp(accepts: Acceptor, source: str) -> None:
    assert require_grammar(source) == ()
    accepts(source, "a")  # asserts that it parses


def test_tokens_are_named() -> None:
    tokens = require_grammar('root ::= <|im_end|> "a" !<[42]>\n')

    assert [(token.number, token.text) for token in tokens] == [(None, "|im_end|"), (42, "")]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('root ::= x\nx = "a"\n', "line 2, column 3: expecting ::="),
        ('root ::= "ü" |\n  "a")\n', "line 2, column 6"),
        ("root ::= x", "the rule `x` is not defined"),
        ('x ::= "a"', "no rule `root`"),
        ("", "no rule `root`"),
        ("root ::= " + "(" * LONGEST, "1,048,576 are allowed"),
        ("root ::= [\x1b", "a class does not end"),
        ("root ::= []", "an empty class"),
        ('root ::= "a', "a literal does not end"),
        ('root ::= "\\q"', "unknown escape"),
        ('root ::= ("a"', "expecting )"),
        ("root ::= *", "nothing to repeat"),
        ('root ::= ""*', "nothing to repeat"),
        ('root ::= "a"\0', "NUL"),
        # What keeps llama.cpp busy for ever, or crashes it
        ('root ::= "a"{5,2}', "a repetition from 5 to 2"),
        ('root ::= ("a"{5,2} | "b")+', "a repetition from 5 to 2"),
        ('root ::= "a"{2000}', "repeats too much"),
        ('root ::= "a"{0,3000}', "repeats too much"),
        ('root ::= "a"{99999999999999999999}', "repeats too much"),
        ('root ::= "a"{100}{100}{100}', "repeats too much"),
        ('root ::= ((("a"?){0,1000}){0,1000}){0,1000}', "repeats too much"),
        ("root ::= " + " ".join(f'"{"a" * 900}"{{1999}}' for _ in range(3)), "too many rules"),
        ("root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "nested too deeply"),
        ('root ::= root "a" | "a"', "left recursion"),
        ('root ::= a\na ::= b\nb ::= a | "x"', "left recursion"),
        ('root ::= empty root | "y"\nempty ::= "" | "x"', "left recursion"),
        ('root ::= ("a"?)*', "repeats without end what may be empty"),
        ('root ::= ("" | "a")+ "b"', "repeats without end what may be empty"),
        (
            "".join(f"r{n} ::= r{n + 1} r{n + 1} | r{n + 1}\n" for n in range(40))
            + 'r40 ::= "a"\nroot ::= r0',
            "in too many ways",
        ),
    ],
)
def test_a_broken_grammar_is_reported_on_one_line_at_once(source: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_grammar(source, "the grammar g.gbnf")
    assert str(caught.value).startswith("the grammar g.gbnf ")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


GRAMMARS = st.lists(
    st.sampled_from(
        [*"ab|()*+?. ", '"x"', "[a-c]", "{2}", "{0,3}", "{2,}", "root", "r", "\n", "r ::= ", '""']
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(GRAMMARS)
def test_what_passes_parses_in_llama_cpp(accepts: Acceptor, parts: list[str]) -> None:
    source = "root ::= " + "".join(parts)
    try:
        require_grammar(source)
    except UsageError:
        return
    accepts(source, "ab")  # asserts that it parses
