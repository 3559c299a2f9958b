"""Templates of no known family: their syntax is found by rendering them."""

from __future__ import annotations

import pytest

from tchat.tools.syntaxes import argument_shape_by_rendering, shape_by_rendering, syntax_for
from tests.tools.rendering import TemplateRenderer
from tests.tools.syntaxes.replies import read, told

HEAD = """\
{%- if tools %}[TOOLS]{{ tools | tojson }}[/TOOLS]{% endif -%}
{%- for message in messages -%}
<turn {{ message.role }}>
"""
TAIL = """\
{{ message.content or '' }}</turn>
{% endfor -%}
{%- if add_generation_prompt %}<turn assistant>
{% endif -%}
"""
OSLO = ("weather", {"city": "Oslo"})
OSLO_3 = ("weather", {"city": "Oslo", "days": 3})


def template(calls: str, *, before: str = "", after: str = "") -> str:
    loop = "{% for call in message.tool_calls %}" + calls + "{% endfor %}"
    return HEAD + "{% if message.tool_calls %}" + before + loop + after + "{% endif %}" + TAIL


ARGUMENTS = "{{ call.function.arguments | tojson }}"
NAME = "{{ call.function.name }}"
EACH = "{% for key, value in call.function.arguments.items() %}"

TEMPLATES = [
    (
        template('<call>{"name": "' + NAME + '", "arguments": ' + ARGUMENTS + "}</call>\n"),
        'So.<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call>\n'
        '<call>{"name": "now", "arguments": {}}</call>\n',
        ["So.", OSLO, ("now", {})],
    ),
    (
        template(
            '{"name": "'
            + NAME
            + '", "arguments": '
            + ARGUMENTS
            + "}{% if not loop.last %}, {% endif %}",
            before="<CALLS>[",
            after="]</CALLS>",
        ),
        '<CALLS>[{"name": "weather", "arguments": {"city": "Oslo"}}, {"name": "now", '
        '"arguments": {}}]</CALLS>',
        [OSLO, ("now", {})],
    ),
    (
        template(
            '{"' + NAME + '": ' + ARGUMENTS + "}{% if not loop.last %}, {% endif %}",
            before="<|tools|>[",
            after="]<|/tools|>",
        ),
        'So.<|tools|>[{"weather": {"city": "Oslo"}}]<|/tools|>',
        ["So.", OSLO],
    ),
    (
        template("<fn " + NAME + ">" + ARGUMENTS + "</fn>"),
        'So.\n<fn weather>{"city": "Oslo"}</fn><fn now>{}</fn>',
        ["So.", OSLO, ("now", {})],
    ),
    (
        template("<call>{{ call.id }}<name>" + NAME + "<args>" + ARGUMENTS + "</call>"),
        'So.<call>a1<name>weather<args>{"city": "Oslo"}</call><call>a2<name>now<args>{}</call>',
        ["So.", (*OSLO, "a1"), ("now", {}, "a2")],
    ),
    (
        template("<call>" + NAME + "<id>{{ call.id }}<args>" + ARGUMENTS + "</call>"),
        'So.<call>weather<id>a1<args>{"city": "Oslo"}</call><call>now<id>a2<args>{}</call>',
        ["So.", (*OSLO, "a1"), ("now", {}, "a2")],
    ),
    (
        template(
            '<invoke name="'
            + NAME
            + '">\n'
            + EACH
            + '<arg name="{{ key }}">{{ value }}</arg>\n{% endfor %}</invoke>\n',
            before="<calls>\n",
            after="</calls>",
        ),
        'So.\n\n<calls>\n<invoke name="weather">\n<arg name="city">Oslo</arg>\n'
        '<arg name="days">3</arg>\n</invoke>\n<invoke name="now">\n</invoke>\n</calls>',
        ["So.", OSLO_3, ("now", {})],
    ),
    (
        template(
            "<do>" + NAME + EACH + "<k>{{ key }}</k><v>{{ value }}</v>{% endfor %}</do>",
        ),
        "So.<do>weather<k>city</k><v>Oslo</v><k>days</k><v>3</v></do>",
        ["So.", OSLO_3],
    ),
    (
        template(
            NAME
            + "("
            + EACH
            + '{{ key }}="{{ value }}"{% if not loop.last %}, {% endif %}{% endfor %})'
            + "{% if not loop.last %}, {% endif %}",
            before="<|do|>[",
            after="]<|done|>",
        ),
        'So.<|do|>[weather(city="Oslo", days=3), now()]<|done|>',
        ["So.", OSLO_3, ("now", {})],
    ),
    (
        template('{"name": "' + NAME + '", "parameters": ' + ARGUMENTS + "}"),
        '{"name": "weather", "parameters": {"city": "Oslo"}}',
        [OSLO],
    ),
]


@pytest.mark.parametrize(("source", "text", "expected"), TEMPLATES)
def test_a_syntax_is_found_by_rendering(source: str, text: str, expected: list[object]) -> None:
    syntax = syntax_for(source, TemplateRenderer(source))

    assert syntax is not None
    assert told(read(syntax, text)) == expected
    assert told(read(syntax, "No < call, [none] {at} all.")) == ["No < call, [none] {at} all."]


SHAPES = [
    (TEMPLATES[0][0], '<call>{"name": "search", "arguments": ', "}</call>"),
    (TEMPLATES[1][0], '<CALLS>[{"name": "search", "arguments": ', "}]</CALLS>"),
    (TEMPLATES[2][0], '<|tools|>[{"search": ', "}]<|/tools|>"),
    (TEMPLATES[3][0], "<fn search>", "</fn>"),
    (TEMPLATES[4][0], "<call>a1<name>search<args>", "</call>"),
    (TEMPLATES[5][0], "<call>search<id>a1<args>", "</call>"),
    (TEMPLATES[-1][0], '{"name": "search", "parameters": ', "}"),
]


@pytest.mark.parametrize(("source", "before", "behind"), SHAPES)
def test_the_text_around_the_arguments_of_a_call_is_found(
    source: str, before: str, behind: str
) -> None:
    render = TemplateRenderer(source)
    syntax = syntax_for(source, render)
    assert syntax is not None

    shape = shape_by_rendering(syntax, render)

    assert shape is not None
    assert shape.around("search", "a1") == (before, behind)


@pytest.mark.parametrize("source", [source for source, _, _ in TEMPLATES[6:9]])
def test_arguments_that_are_no_json_have_no_such_text(source: str) -> None:
    render = TemplateRenderer(source)
    syntax = syntax_for(source, render)
    assert syntax is not None

    assert shape_by_rendering(syntax, render) is None


@pytest.mark.parametrize(
    ("source", "written"),
    [
        (
            TEMPLATES[6][0],
            '<calls>\n<invoke name="weather">\n<arg name="city">Oslo</arg>\n'
            '<arg name="days">3</arg>\n</invoke>\n</calls>',
        ),
        (TEMPLATES[7][0], "<do>weather<k>city</k><v>Oslo</v><k>days</k><v>3</v></do>"),
    ],
)
def test_arguments_that_stand_apart_are_written_as_the_template_does(
    source: str, written: str
) -> None:
    render = TemplateRenderer(source)
    syntax = syntax_for(source, render)
    assert syntax is not None

    shape = argument_shape_by_rendering(syntax, render)

    assert shape is not None
    assert shape.call("weather", {"city": "Oslo", "days": 3}) == written
    assert told(read(syntax, shape.call("weather", {}))) == [("weather", {})]


def test_marks_of_reasoning_are_found_too() -> None:
    thought = (
        "{% if message.reasoning_content %}<ponder>{{ message.reasoning_content }}</ponder>"
        "{% endif %}"
    )
    source = template(thought and '<call>{"name": "' + NAME + '", "arguments": ' + ARGUMENTS + "}")
    source = source.replace(TAIL, thought + TAIL)

    syntax = syntax_for(source, TemplateRenderer(source))

    assert syntax is not None
    text = '<ponder>Where?</ponder>So.<call>{"name": "weather", "arguments": {"city": "Oslo"}}'
    assert told(read(syntax, text)) == [["Where?"], "So.", OSLO]


def test_a_template_that_wants_arguments_as_text_is_rendered_so() -> None:
    arguments = (
        "{% if call.function.arguments is mapping %}{{ raise_exception('text!') }}{% endif %}"
        "{{ call.function.arguments }}"
    )
    source = template('<call>{"name": "' + NAME + '", "arguments": ' + arguments + "}</call>")

    syntax = syntax_for(source, TemplateRenderer(source))

    assert syntax is not None
    text = '<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call>'
    assert told(read(syntax, text)) == [OSLO]


@pytest.mark.parametrize(
    "source",
    [
        HEAD + TAIL,
        "{{ raise_exception('no') }}",
        "{{ messages[0].content }}",
        HEAD + "{{ message.tool_calls }}" + TAIL,
        "",
    ],
)
def test_a_template_without_calls_has_no_syntax(source: str) -> None:
    assert syntax_for(source, TemplateRenderer(source)) is None
