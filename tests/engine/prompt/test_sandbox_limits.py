"""No rendering of a template takes long or much memory, whatever the template does."""

from __future__ import annotations

import tracemalloc
from itertools import count

import pytest

from tchat.engine.prompt import TemplateFailure, TemplateOverrun, sandbox_limits
from tchat.engine.prompt.sandbox import TemplateProgram
from tchat.engine.prompt.template import ChatMessage, ChatTemplate
from tchat.engine.prompt.template_adapter import TemplateAdapter, compile_program
from tests.tiny import CHATML

USER = ChatMessage("user", "Why is the sky blue?")
MEGA = "{% set a = 'x' * 1000000 %}"
DEEP = (
    "{% set n = namespace(x=['x']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
)
TUPLES = DEEP.replace("[n.x, n.x]", "(n.x, n.x)")

# One step that would make gigabytes.
GROWING = {
    "times": "{{ 'x' * 10**9 }}",
    "times list": "{{ ([1] * 10**9)|length }}",
    "times bytes": "{{ ('x'.encode() * 10**9)|length }}",
    "times tuple": "{{ ((1, 2) * 10**9)|length }}",
    "power": "{{ 10 ** (10**9) }}",
    "squares": "{% set n = namespace(x=10) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}"
    "{% endfor %}",
    "tilde": MEGA + "{{ (a ~ a ~ a ~ a) ~ (a ~ a ~ a ~ a) ~ (a ~ a ~ a ~ a) ~ (a ~ a ~ a ~ a)"
    " ~ a ~ a ~ a }}",
    "percent width": "{{ '%1000000000d' % 1 }}",
    "percent precision": "{{ '%.1000000000f' % 1 }}",
    "percent star": "{{ '%*d' % (10**9, 1) }}",
    "percent repeats": MEGA + "{{ ('%(a)s' * 100000) % {'a': a} }}",
    "percent bytes": "{{ 'x%1000000000d'.encode() % 1 }}",
    "format filter": "{{ '%1000000000d'|format(1) }}",
    "format width": "{{ '{:1000000000}'.format(1) }}",
    "format computed": "{{ '{:{}}'.format(1, 10**9) }}",
    "format_map": "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "format repeats": MEGA + "{{ ('{0}' * 100000).format(a) }}",
    "center": "{{ 'x'.center(10**9) }}",
    "center filter": "{{ 'x'|center(10**9) }}",
    "center filter by name": "{{ 'x'|center(width=10**9) }}",
    "center mapped": "{{ ['x']|map('center', 10**9)|list }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "rjust": "{{ 'x'.rjust(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "bytes zfill": "{{ 'x'.encode().zfill(10**9) }}",
    "expandtabs": "{{ '\\t'.expandtabs(10**9) }}",
    "expandtabs by name": "{{ '\\t'.expandtabs(tabsize=10**9) }}",
    "to_bytes": "{{ (1).to_bytes(10**9, 'big') }}",
    "to_bytes by name": "{{ (1).to_bytes(length=10**9, byteorder='big') }}",
    "join": MEGA + "{{ a.join(range(5000)|map('string')) }}",
    "join filter": MEGA + "{{ range(5000)|join(a) }}",
    "join attribute": MEGA + "{{ ([{'k': a}] * 5000)|join('', attribute='k') }}",
    "replace": MEGA + "{{ a.replace('x', 'x' * 1000) }}",
    "replace empty": MEGA + "{{ a.replace('', 'x' * 1000) }}",
    "replace filter": MEGA + "{{ a|replace('x', 'x' * 1000) }}",
    "translate": MEGA + "{{ a.translate({120: 'x' * 1000}) }}",
    "split": "{% set b = 'x,' * 2000000 %}{{ b.split(',')|length }}",
    "indent": "{{ ('\\n' * 100000)|indent(100000) }}",
    "indent text": "{{ ('\\u2028' * 100000)|indent('x' * 100000) }}",
    "tojson indent": "{{ [[[1]]]|tojson(indent=10**9) }}",
    "tojson indent text": MEGA + "{{ ([[1]] * 1000)|tojson(indent=a) }}",
    "tojson separators": MEGA + "{{ ([1] * 10000)|tojson(separators=(a, a)) }}",
    "encode": "{{ ('\u00e9' * 100000).encode('punycode')|length }}",
    "encode by name": "{{ ('\u00e9' * 100000).encode(encoding='idna')|length }}",
    "decode": "{{ ('x-' * 100000).encode().decode('punycode')|length }}",
    "encode errors": MEGA + "{{ (a * 9).encode('ascii', 'backslashreplace')|length }}",
    "batch": "{{ [1]|batch(10**9, 'x')|list }}",
    "slice": "{{ [1]|slice(10**9)|list }}",
    "round": "{{ 2|round(10**9) }}",
    "round up": "{{ 2.5|round(10**9, 'ceil') }}",
    "wordwrap": MEGA + "{{ ('x ' * 100000)|wordwrap(1, wrapstring=a) }}",
    "list of text": "{{ ('x' * 10000000)|list|length }}",
    "sum": "{% set l = [1] * 200000 %}{{ ([l] * 100000)|sum(start=[])|length }}",
    "nested text": DEEP + "{{ n.x }}",
    "nested tilde": DEEP + "{{ n.x ~ '' }}",
    "nested string": DEEP + "{{ n.x|string|length }}",
    "nested percent": DEEP + "{{ '%s' % (n.x,) }}",
    "nested format": DEEP + "{{ '{}'.format(n.x) }}",
    "nested json": DEEP + "{{ n.x|tojson|length }}",
    "nested join": DEEP + "{{ n.x|join|length }}",
    "nested upper": DEEP + "{{ n.x|upper|length }}",
    "nested pprint": DEEP + "{{ n.x|pprint|length }}",
    "nested equality": DEEP + DEEP.replace("n.x", "m.x").replace("n =", "m =")
    + "{{ n.x == m.x }}",
    "nested test": DEEP + DEEP.replace("n.x", "m.x").replace("n =", "m =")
    + "{{ n.x is eq(m.x) }}",
    "nested key": TUPLES + "{{ {n.x: 1}|length }}",
    "nested get": TUPLES + "{{ {}[n.x] }}",
    "nested unique": TUPLES + "{{ [n.x]|unique|list|length }}",
    "nested index": DEEP + DEEP.replace("n.x", "m.x").replace("n =", "m =")
    + "{{ [n.x].index(m.x) }}",
    "nested lower": DEEP + "{{ n.x is lower }}",
    "nested name": TUPLES + "{{ n.x is filter }}",
    "odd": "{{ '%1000000000d' is odd }}",
    "divisible": "{{ '%1000000000d' is divisibleby(5) }}",
    "nested namespace": DEEP + "{{ n }}",
    "nested values": DEEP + "{{ {'a': n.x}.values() }}",
}  # fmt: skip
# Small steps, without end.
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}"
    "{% endfor %}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
    "{{ m(60) }}",
    "recursion": "{% for a in [1, 1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 1]) }}"
    "{% endif %}{% endfor %}",
    "callers": "{% macro m(n) %}{{ caller(n) }}{% endmacro %}"
    "{% for i in range(99999) %}{% for j in range(99999) %}{% call(n) m(1) %}{% endcall %}"
    "{% endfor %}{% endfor %}",
    "lists": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% set x = [i, j] %}{% endfor %}{% endfor %}",
}  # fmt: skip
# Many steps that make much together.
HOARDING = {
    "text in a loop": "{% for a in range(99999) %}{% for b in range(99999) %}" + "x" * 1000
    + "{% endfor %}{% endfor %}",
    "set block": "{% set b = 'x' * 4000000 %}{% set x %}{% for i in range(99999) %}{{ b }}"
    "{% endfor %}{% endset %}",
    "macro": "{% set b = 'x' * 4000000 %}{% macro m() %}{% for i in range(99999) %}{{ b }}"
    "{% endfor %}{% endmacro %}{% set x = m() %}",
    "list of texts": "{% set n = namespace(l=[]) %}{% for i in range(9999) %}"
    "{% set n.l = n.l + ['x' * 4000000 ~ i] %}{% endfor %}",
    "list of slices": "{% set n = namespace(l=[]) %}{% set b = 'x' * 4000000 %}"
    "{% for i in range(9999) %}{% set n.l = n.l + [b[1:]] %}{% endfor %}",
    "lists of lists": "{% set n = namespace(l=[]) %}{% for i in range(99999) %}"
    "{% set n.l = [n.l, [1] * 100000] %}{% endfor %}",
}  # fmt: skip

LIST = "{% set l = range(8000)|list %}{% set m = [l] * 30000 %}"
TUPLE = (
    "{% set n = namespace(x=(1, 2)) %}{% for i in range(12) %}{% set n.x = n.x + n.x %}"
    "{% endfor %}{% set t = n.x %}"
)
# One filter, test or method that walks through a large value for each of many items.
COMPARING = {
    "select eq": LIST + "{{ l|select('eq', l)|list|length }}",
    "reject in": LIST + "{{ l|reject('in', l|map('string')|list)|list|length }}",
    "select in range": "{{ (['x'] * 100000)|select('in', range(100000))|list|length }}",
    "selectattr": LIST + "{{ ([{'a': l}] * 8000)|selectattr('a', 'ne', l + [1])|list|length }}",
    "rejectattr": LIST + "{{ ([{'a': l}] * 8000)|rejectattr('a', 'lt', l + [1])|list|length }}",
    "select upper": MEGA + "{{ ([a.upper()] * 100000)|select('upper')|list|length }}",
    "select letters": MEGA + "{{ (a * 16)|select('string')|list|length }}",
    "sort": LIST + "{{ m|select|sort|length }}",
    "sort attribute": TUPLE + "{{ ([cycler(t)] * 100000)|sort(attribute='current')|length }}",
    "sort separators": TUPLE + "{{ ([joiner(t)] * 100000)|sort(attribute='sep')|length }}",
    "sort loops": TUPLE + "{% for i in [t, 1] %}{% if loop.last %}"
    "{{ ([loop] * 100000)|sort(attribute='previtem')|length }}{% endif %}{% endfor %}",
    "min": LIST + "{{ m|select|min|length }}",
    "max": LIST + "{{ m|select|max|length }}",
    "max letters": MEGA + "{{ (a * 16)|max }}",
    "groupby": LIST + "{{ ([[l]] * 30000)|select|groupby(0)|length }}",
    "unique": TUPLE + "{{ ([t] * 100000)|select|unique|list|length }}",
    "in": LIST + "{{ (l + [1]) in m|select }}",
    "is in": LIST + "{{ (l + [1]) is in(m|select) }}",
    "count": LIST + "{{ m.count(l + [1]) }}",
    "index": LIST + "{{ m.index(l + [1]) }}",
    "attribute path": "{{ ['x']|map(attribute='a.' * 8000000, default='x')|list }}",
    "sort path": "{{ ['x']|sort(attribute='a,' * 8000000)|list|length }}",
    "subscripts": TUPLE + "{% set d = {} %}{% for i in range(99) %}" + "{{ d[t] }}" * 2000
    + "{% endfor %}",
    "constants": "{% set l = range(100000)|list %}" + "{{ 'x' in l }}" * 2000,
}  # fmt: skip


def rendered(source: str) -> str:
    form = TemplateAdapter(
        compile_program(source), {}, typed=False, system=False, key=None, absent=None
    )
    return form.render([USER])


@pytest.mark.parametrize("source", GROWING.values(), ids=GROWING)
def test_no_step_makes_much(source: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateFailure):
            rendered(source)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_no_rendering_takes_long(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 0.1)
    with pytest.raises(TemplateOverrun, match="takes too long"):
        rendered(source)


@pytest.mark.parametrize("source", COMPARING.values(), ids=COMPARING)
def test_no_walk_through_large_values_takes_long(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 0.1)
    with pytest.raises(TemplateOverrun, match=r"takes too long|of more than|too much"):
        rendered(source)


def test_a_stop_ends_a_walk_through_large_values() -> None:
    asked = count()
    with pytest.raises(InterruptedError):
        TemplateProgram(COMPARING["select eq"]).render({}, stopped=lambda: next(asked) > 2)
    assert next(asked) < 10


@pytest.mark.parametrize("source", [*ENDLESS.values(), *HOARDING.values()])
def test_a_stop_ends_a_rendering(source: str) -> None:
    asked = count()
    with pytest.raises(InterruptedError):
        TemplateProgram(source).render({}, stopped=lambda: next(asked) > 2)


@pytest.mark.parametrize("source", HOARDING.values(), ids=HOARDING)
def test_all_steps_together_do_not_make_much(source: str) -> None:
    with pytest.raises(TemplateOverrun, match=r"too much text|of more than"):
        rendered(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 'a' ~ 1 ~ none ~ [1, 'b'] }}", "a1None[1, 'b']"),
        ("{{ '%-5s|%03d|%%' % ('a', 7) }}", "a    |007|%"),
        ("{{ '{:>4}{}'.format('a', 1) }}", "   a1"),
        ("{{ 'a-b'.split('-')|join(', ') }}{{ '-'.join(['c', 'd']) }}", "a, bc-d"),
        ("{{ 'aba'.replace('a', 'x', 1) }}{{ 'aba'|replace('a', 'y') }}", "xbayby"),
        ("{{ 'abc'[1:] }}{{ 'abc'[:-1] }}{{ 'abc'[::-1] }}{{ [1, 2, 3][1:] }}", "bcabcba[2, 3]"),
        ("{{ [1, 2]|sum }}{{ [{'a': 1}]|sum(attribute='a') }}{{ [[1], [2]]|sum(start=[]) }}",
         "31[1, 2]"),
        ("{{ {'a': [1]}|tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ 'a\nb'|indent(2) }}{{ 'a'|center(3) }}{{ 'a'.ljust(2) }}|", "a\n  b a a |"),
        ("{% for a in [1, 2, 3] %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}",
         "1/3False2/3False3/3True"),
        ("{% for a in [1] recursive %}{{ loop.depth }}{% endfor %}", "1"),
        ("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}c{% endcall %}",
         "<1c>"),
        ("{% set n = namespace(x=1) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}"
         "{{ n.x }}", "4"),
        ("{% set a = [1] %}{% set b = [1] %}{{ a == b }}{{ a is eq(b) }}{{ (1, 2) in [(1, 2)] }}",
         "TrueTrueTrue"),
        ("{{ ['b', 'a']|sort|list }}{{ ['x']|map('upper')|list }}{{ 2.345|round(1) }}",
         "['a', 'b']['X']2.3"),
        ("{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list }}",
         "['Why is the sky blue?']"),
        ("{{ 2 in [1, 2]|select }}{{ 3 is in([1, 2]|map('abs')) }}{{ [1, 2].index(2) }}",
         "TrueFalse1"),
        ("{{ [1, 2, 1]|select('eq', 1)|unique|list }}{{ [3, 1]|select|min }}"
         "{{ ['b', 'A']|map('lower')|sort }}{{ none|select|list }}{{ nothing|map('abs')|list }}",
         "[1]1['a', 'b'][][]"),
        ("{{ [3, 4]|select('divisibleby', num=3)|list }}{{ 3 is divisibleby(num=2) }}", "[3]False"),
        ("{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ 'A' is upper }}{{ 'upper' is filter }}"
         "{{ 'k' in {'k': 1} }}{{ 'x' not in 'abc' }}{{ {'a': 1}['a' ~ ''] }}",
         "TrueTrueTrueTrueTrueTrue1"),
        ("{{ 'é'.encode()|length }}{{ 'é'.encode('utf-8').decode() }}", "2é"),
        ("{{ undefined_name|default('d') }}{{ 7 // 2 }}{{ 2 ** 10 }}", "d31024"),
    ],
)  # fmt: skip
def test_ordinary_steps_do_what_they_always_do(source: str, text: str) -> None:
    assert rendered(source) == text


TRAP = CHATML + (
    "{% if 'boom' in messages[-1].content %}"
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}"
)


def test_a_template_that_explodes_for_one_word_is_given_up_once_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox_limits, "_SECONDS", 0.1)
    template = ChatTemplate.compile(TRAP, bos="", eos="")
    assert template.render([USER]).notices == ()
    boom = template.render([ChatMessage("user", "boom")])
    assert "takes too long" in boom.notices[0].text
    assert "boom" in boom.text
    assert template.render([USER]).notices == boom.notices


def test_a_stop_ends_the_trying_of_a_template() -> None:
    template = ChatTemplate.compile(TRAP, bos="", eos="")
    with pytest.raises(InterruptedError):
        template.render([ChatMessage("user", "boom")], stopped=lambda: True)
    assert template.render([USER]).notices == ()  # it was not the template's fault


def test_long_chats_are_rendered() -> None:
    template = ChatTemplate.compile(CHATML, bos="", eos="")
    chat = [ChatMessage("user", f"{number} " + "word " * 40) for number in range(5000)]
    assert template.render(chat).text.count("<|im_start|>") == 5001
