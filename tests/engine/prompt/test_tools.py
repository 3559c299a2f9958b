"""Calls and results in prompts, by templates that know tools and by those that know none."""

from __future__ import annotations

import json

import pytest

from tchat.engine.prompt import ChatMessage, MessageCall, TemplateFailure, TemplateOverrun
from tchat.engine.prompt.sandbox import TemplateProgram
from tchat.engine.prompt.template import ChatTemplate
from tchat.engine.prompt.tools import PromptTools, ToolDefinition
from tests.chat.forced_replies import HERMES
from tests.tiny import CHATML

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = PromptTools((ToolDefinition("weather", "Tell the weather.", json.dumps(SCHEMA)),))
CALL = MessageCall("call_1", "weather", '{"city": "Malmö"}')
CHAT = [
    ChatMessage("user", "Rain?"),
    ChatMessage("assistant", "", tool_calls=(CALL,)),
    ChatMessage("tool", "Sun.", tool_name="weather", tool_call_id="call_1"),
]
LOOP = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[%s]{% endfor %}</{{ m.role }}>{% endfor %}"
)


def compiled(source: str) -> ChatTemplate:
    return ChatTemplate.compile(source, bos="", eos="")


def test_a_template_that_knows_tools_gets_them_with_calls_and_results() -> None:
    text = compiled(HERMES).render(CHAT, tools=TOOLS).text

    assert json.dumps(TOOLS.definitions[0].as_json()) in text
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Malmö"}}\n</tool_call>' in text
    assert "<tool_response>\nSun.\n</tool_response>" in text
    assert text.endswith("<|im_start|>assistant\n")


def test_a_template_that_knows_none_gets_calls_and_results_as_texts() -> None:
    text = compiled(CHATML).render(CHAT).text

    assert (
        '<|im_start|>assistant\n{"tool": "weather", "arguments": {"city": "Malmö"}}<|im_end|>\n'
        "<|im_start|>user\nResult of weather:\nSun.<|im_end|>\n" in text
    )


def test_in_the_envelope_answers_are_wrapped_too_and_results_share_a_message() -> None:
    chat = [*CHAT, CHAT[-1], ChatMessage("assistant", "No\nrain."), ChatMessage("user", "Thanks")]

    text = compiled(HERMES).render(chat, tools=PromptTools(in_envelope=True)).text

    assert "user\nResult of weather:\nSun.\n\nResult of weather:\nSun.<|im_end|>" in text
    assert 'assistant\n{"answer": "No\\nrain."}<|im_end|>' in text
    assert "<tool_response>" not in text


@pytest.mark.parametrize(
    ("arguments", "as_text"),
    [
        ("{{ c.function.name }} {{ c.function.arguments | tojson }}", False),
        ("{{ c.function.name }} {{ c.function.arguments }}", True),
    ],
)
def test_arguments_are_an_object_or_text_as_the_template_writes_them(
    arguments: str, as_text: bool
) -> None:
    template = compiled(LOOP.replace("%s", arguments))

    assert template.tool_form is not None
    assert template.tool_form.arguments_as_text is as_text
    assert '[weather {"city": "Malmö"}]' in template.render(CHAT, tools=TOOLS).text


def test_ids_are_short_where_the_template_wants_them_so() -> None:
    check = "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    body = "{{ c.function.name }} {{ c.id }} {{ c.function.arguments | tojson }}"
    template = compiled(LOOP.replace("%s", check + body))

    rendering = template.render(CHAT, tools=TOOLS)

    assert not rendering.notices
    assert "call_1" not in rendering.text


def test_a_template_may_append_to_its_own_lists() -> None:
    source = "{% set l = [] %}{% for x in [1, 2] %}{% set _ = l.append(x) %}{% endfor %}{{ l }}"

    assert TemplateProgram(source).render({}) == "[1, 2]"


@pytest.mark.parametrize(
    "source",
    [
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set _ = l.append({'a': [l]}) %}{{ l }}",
        "{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}",
    ],
)
def test_appending_has_its_bounds(source: str) -> None:
    with pytest.raises(TemplateOverrun):
        TemplateProgram(source).render({})


@pytest.mark.parametrize("call", ["messages.append(1)", "{}.update(a=1)", "[1].pop()"])
def test_nothing_else_can_be_changed(call: str) -> None:
    template = compiled("{{ messages[0].content }}{{ " + call + " }}")

    assert "does not work" in template.notices[0].text
    with pytest.raises(TemplateFailure):
        TemplateProgram("{{ " + call + " }}").render({"messages": ()})
