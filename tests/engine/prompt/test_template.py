"""Chat templates: rendered as Transformers would, and never silently replaced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest

from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.engine.prompt.template import ChatMessage, ChatTemplate, Rendering, Think
from tchat.errors import DoesNotFit
from tests.tiny import BROKEN, CHATML, NO_SYSTEM, THINKING

CHATML_MARKS = frozenset({"<|im_start|>", "<|im_end|>"})
USER = ChatMessage("user", "Why is the sky blue?")
SYSTEM = ChatMessage("system", "Be brief.")
REPLY = ChatMessage("assistant", "Rayleigh scattering.")
QWEN = (
    "{% for message in messages %}{% if message.role == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n' + (message.reasoning_content or '')"
    " + '\n</think>\n\n' + message.content + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '[' + m.role + ']' + m.content }}{% endfor %}"
)
TYPED = (
    "{% for m in messages %}{{ '[' + m.role + ']' }}"
    "{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
)


def compiled(source: str | None, specials: frozenset[str] = CHATML_MARKS) -> ChatTemplate:
    return ChatTemplate.compile(source, bos="<s>", eos="</s>", specials=specials)


def kinds(rendering: Rendering) -> list[str]:
    return [notice.kind for notice in rendering.notices]


def text(source: str, *messages: ChatMessage) -> str:
    return compiled(source + "{{ messages[0].content }}").render(messages or [USER]).text


# Rendering


def test_a_chat_is_rendered_by_the_models_own_template() -> None:
    rendering = compiled(CHATML).render([SYSTEM, USER])

    assert rendering.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert rendering.notices == ()
    assert rendering.phase is ReplyPhase.START


def test_blocks_leave_no_blank_lines() -> None:
    assert text("  {% if true %}\nx\n  {% endif %}\n") == "x\n" + USER.content


def test_json_is_written_as_transformers_does() -> None:
    value = {"b": "<é>", "a": ["&", None]}

    written = text('{{ {"b": "<é>", "a": ["&", none]}|tojson }}')
    assert written == json.dumps(value, ensure_ascii=False) + USER.content


def test_the_date_can_be_asked_for() -> None:
    assert text("{{ strftime_now('%Y')|length }}") == "4" + USER.content


def test_loops_can_be_left_and_generation_blocks_are_transparent() -> None:
    source = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"

    assert text(source + "{% generation %}g{% endgeneration %}") == "01g" + USER.content


def test_bos_and_eos_are_the_vocabularys() -> None:
    assert text("{{ bos_token + eos_token }}") == "<s></s>" + USER.content


def test_contents_are_lists_where_a_template_wants_lists() -> None:
    assert compiled(TYPED).render([SYSTEM, USER]).text == f"[system]Be brief.[user]{USER.content}"


def test_a_template_for_tools_is_given_none() -> None:
    source = "{% for tool in tools %}{{ tool }}{% endfor %}" + CHATML

    assert compiled(source).render([USER]).notices == ()
    assert compiled(source).notices == ()


def test_the_hash_is_that_of_the_source() -> None:
    assert compiled(CHATML).sha256 == hashlib.sha256(CHATML.encode()).hexdigest()


# What is used instead


@pytest.mark.parametrize("source", [None, "", "  \n"])
def test_a_missing_template_is_said(source: str | None) -> None:
    template = compiled(source)

    assert [notice.kind for notice in template.notices] == ["template"]
    assert "no chat template" in template.notices[0].text
    assert "ChatML" in template.notices[0].text
    assert template.render([USER]).text == compiled(CHATML).render([USER]).text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (BROKEN, "endfor"),
        ("{{ messages|nofilter }}", "nofilter"),
        ("{{ raise_exception('never') }}", "never"),
        ("always the same", "loses the user's message"),
        ("{{ messages.nothing.at_all }}", "no attribute 'nothing'"),
        ("{{ messages[0].content / 2 }}", "unsupported operand"),
        ("{{ lipsum() }}", "lipsum"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__.__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ 10**(10**8) }}", "too large"),
        ("{{ 'x' * 10**9 }}", "more than"),
        ("{% set ns = namespace(x='x') %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}"
         "{% endfor %}", "more than"),
        ("{% for i in range(99999) %}{{ messages[0].content * 100 }}{% endfor %}", "more than"),
        ("{% for i in range(100001) %}{% endfor %}", "too big"),
        ("{# " + "x" * (64 << 10) + " #}" + CHATML, "longer than"),
        (CHATML + "{{a+b}}" * 8000, "more than 1,048,576 characters of code"),
        ("{% if true %}" * 200 + "{% endif %}" * 200, ""),
    ],
)  # fmt: skip
def test_a_template_that_does_not_work_is_replaced_and_the_reason_said(
    source: str, reason: str
) -> None:
    template = compiled(source)

    assert len(template.notices) == 1
    assert "does not work" in template.notices[0].text
    assert reason in template.notices[0].text
    assert "\n" not in template.notices[0].text
    assert template.render([USER]).text.startswith("<|im_start|>user\n")


@pytest.mark.parametrize(
    ("specials", "prompt"),
    [
        (
            {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            {"<start_of_turn>", "<end_of_turn>"},
            "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
        ),
        ({"<|turn>", "<turn|>"}, "<|turn>user\nHi<turn|>\n<|turn>model\n"),
        (
            {"<|start|>", "<|channel|>", "<|message|>", "<|end|>"},
            "<|start|>user<|message|>Hi<|end|><|start|>assistant",
        ),
        ({"<|user|>", "<|assistant|>", "<|end|>"}, "<|user|>\nHi<|end|>\n<|assistant|>\n"),
        ({"<|user|>", "<|assistant|>"}, "<|user|>\nHi</s>\n<|assistant|>\n"),
        (
            {"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"},
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        ({"[INST]", "[/INST]"}, "[INST] Hi [/INST]"),
        (set(), "User: Hi\nAssistant:"),
    ],
)
def test_the_form_used_instead_is_the_vocabularys(specials: set[str], prompt: str) -> None:
    template = compiled(None, frozenset(specials))
    rendering = template.render([ChatMessage("user", "Hi")])

    assert rendering.text == prompt
    assert template.render([SYSTEM, USER, REPLY, USER]).text.count("Be brief.") == 1


def test_only_the_plain_form_needs_stop_strings() -> None:
    assert compiled(None, frozenset()).render([USER]).stops == ("\nUser:",)
    assert compiled(None).render([USER]).stops == ()


def test_a_chat_that_the_template_refuses_is_laid_out_another_way() -> None:
    source = "{% if messages|length > 3 %}{{ raise_exception('too long') }}{% endif %}" + CHATML
    rendering = compiled(source, frozenset()).render([USER, REPLY, USER, REPLY, USER])

    assert rendering.text.startswith("User: Why")
    assert rendering.stops == ("\nUser:",)
    assert kinds(rendering) == ["template"]
    assert "too long" in rendering.notices[0].text


def test_a_chat_beyond_every_form_does_not_fit() -> None:
    template = compiled(CHATML)
    with pytest.raises(DoesNotFit, match="more than"):
        template.render([ChatMessage("user", "x" * (17 << 20))])
    assert template.render([USER]).notices == ()  # the template is as good as before


# Roles


def test_a_refused_system_text_joins_the_first_user_turn() -> None:
    rendering = compiled(NO_SYSTEM).render([SYSTEM, USER, REPLY, USER])

    head = "<|im_start|>user\nBe brief.\n\nWhy is the sky blue?<|im_end|>\n"
    assert rendering.text.startswith(head)
    assert rendering.text.count("Be brief.") == 1
    assert kinds(rendering) == ["system"]


def test_a_system_text_that_the_template_would_lose_is_kept_too() -> None:
    source = (
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    rendering = compiled(source).render([SYSTEM, USER])

    assert rendering.text == "Be brief.\n\nWhy is the sky blue?"
    assert kinds(rendering) == ["system"]


def test_nothing_is_said_where_there_is_no_system_text() -> None:
    assert compiled(NO_SYSTEM).render([USER]).notices == ()
    assert compiled(NO_SYSTEM).notices == ()


def test_a_system_text_alone_becomes_a_user_turn() -> None:
    rendering = compiled(NO_SYSTEM).render([SYSTEM])

    assert rendering.text.startswith("<|im_start|>user\nBe brief.")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, USER], f"[user]{USER.content}\n\n{USER.content}"),
        ([REPLY, USER], f"[user][assistant]{REPLY.content}[user]{USER.content}"),
        ([SYSTEM, USER, USER], f"[user]Be brief.\n\n{USER.content}\n\n{USER.content}"),
    ],
)
def test_turns_that_do_not_alternate_are_joined(
    messages: Sequence[ChatMessage], expected: str
) -> None:
    rendering = compiled(ALTERNATING).render(messages)

    assert rendering.text == expected
    assert "template" in kinds(rendering)


# Going on with a reply


def test_a_continued_reply_ends_inside_its_content() -> None:
    rendering = compiled(CHATML).render([USER, REPLY], continue_final=True)

    assert rendering.text.endswith("<|im_start|>assistant\nRayleigh scattering.")
    assert rendering.phase is ReplyPhase.ANSWER


def test_whitespace_at_the_end_of_a_continued_reply_is_kept() -> None:
    source = CHATML.replace("message['content']", "message['content'].strip()")
    rendering = compiled(source).render(
        [USER, ChatMessage("assistant", "1, ")], continue_final=True
    )

    assert rendering.text.endswith("assistant\n1, ")


def test_a_reply_is_continued_inside_its_reasoning() -> None:
    begun = ChatMessage("assistant", "", reasoning="Light is")
    rendering = compiled(QWEN).render([USER, begun], continue_final=True)

    assert rendering.text.endswith("<|im_start|>assistant\n<think>\nLight is")
    assert rendering.phase is ReplyPhase.REASONING


def test_reasoning_that_the_template_drops_is_continued_all_the_same() -> None:
    begun = ChatMessage("assistant", "", reasoning="Light is")
    rendering = compiled(CHATML).render([USER, begun], continue_final=True)

    assert rendering.text.endswith("<|im_start|>assistant\n<think>\nLight is")
    assert rendering.phase is ReplyPhase.REASONING


def test_a_template_that_takes_no_reply_at_the_end_still_continues_it() -> None:
    refuse = "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}"
    rendering = compiled(refuse + CHATML).render([USER, REPLY], continue_final=True)

    assert rendering.text.endswith("<|im_start|>assistant\nRayleigh scattering.")
    assert rendering.notices == ()


def test_an_empty_reply_is_continued_from_its_head() -> None:
    rendering = compiled(CHATML).render([USER, ChatMessage("assistant", "")], continue_final=True)

    assert rendering.text.endswith("<|im_end|>\n<|im_start|>assistant\n")


# Reasoning


def test_the_template_decides_what_becomes_of_reasoning() -> None:
    thought = ChatMessage("assistant", "Yes.", reasoning="Hm.")

    kept = compiled(QWEN).render([USER, thought]).text
    dropped = compiled(QWEN).render([USER, thought, USER]).text
    assert "<think>\nHm.\n</think>\n\nYes." in kept
    assert "Hm." not in dropped


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_goes_under_the_templates_name_for_it(key: str) -> None:
    source = "{% for m in messages %}{{ m.content }}{{ m." + key + " or '' }}{% endfor %}"

    assert compiled(source).render([USER, ChatMessage("assistant", "a", "b")]).text.endswith("ab")


@pytest.mark.parametrize(
    ("body", "think", "options"),
    [
        ("{{ enable_thinking }}", "on", {"enable_thinking": True}),
        ("{{ enable_thinking }}", "off", {"enable_thinking": False}),
        ("{% if thinking %}{% endif %}", "off", {"thinking": False}),
        ("{{ thinking_budget }}", "off", {"thinking_budget": 0}),
        ("{{ thinking_mode }}", "on", {"thinking_mode": "enabled"}),
        ("{{ reasoning_effort }}", "on", {"reasoning_effort": "high"}),
        ("{% if reasoning_effort == 'none' %}{% endif %}", "off", {"reasoning_effort": "none"}),
        ("{{ enable_thinking }}", "auto", {}),
        ("", "auto", {}),
    ],
)
def test_the_templates_own_switch_is_used(
    body: str, think: Think, options: dict[str, object]
) -> None:
    assert compiled(CHATML + body).switch(think) == (options, None)


@pytest.mark.parametrize("think", ["on", "off"])
def test_a_template_without_a_switch_is_said(think: Think) -> None:
    options, notice = compiled(CHATML).switch(think)

    assert options == {}
    assert notice is not None
    assert notice.kind == "think"


def test_reasoning_that_can_only_be_made_shorter_is_said() -> None:
    options, notice = compiled(CHATML + "{{ reasoning_effort }}").switch("off")

    assert options == {"reasoning_effort": "low"}
    assert notice is not None
    assert "cannot be switched off" in notice.text


def test_the_switch_reaches_the_template() -> None:
    template = compiled(THINKING)
    options, _ = template.switch("off")

    assert template.render([USER], options=options).text.endswith("<think>\n\n</think>\n\n")
    assert template.render([USER]).text.endswith("<|im_start|>assistant\n")


def test_a_prompt_that_opens_the_block_starts_inside() -> None:
    source = CHATML + "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"

    assert compiled(source).render([USER]).phase is ReplyPhase.REASONING


GIGACHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ m.role + additional_special_tokens[0] + m.content + additional_special_tokens[1] }}"
    "{% endfor %}{{ 'assistant' + additional_special_tokens[0] }}"
)
FUNCTIONS = (
    "{{ 'Functions: ' + functions + ' on ' + datetime + '.' }}"
    "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
)


def test_a_template_gets_the_variables_that_it_cannot_do_without() -> None:
    giga = compiled(GIGACHAT)
    fire = compiled(FUNCTIONS)

    assert (giga.notices, fire.notices) == ((), ())
    assert giga.render([USER]).text.endswith("<|message_sep|>assistant<|role_sep|>")
    assert fire.render([USER]).text.startswith("Functions: [] on ")


def test_a_template_that_only_asks_is_told_that_there_are_no_functions() -> None:
    asks = compiled(CHATML + "{% if functions is defined %}{{ functions }}{% endif %}")

    assert asks.render([USER]).text == compiled(CHATML).render([USER]).text


def test_an_answer_is_not_continued_inside_reasoning_that_the_template_opens() -> None:
    opens = (
        "{% for m in messages %}{{ m.role + ': ' + ('<think>\n' if m.role == 'assistant' else '')"
        " + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: <think>\n' }}{% endif %}"
    )
    rendering = compiled(opens).render(
        [USER, ChatMessage("assistant", "Light is")], continue_final=True
    )

    assert rendering.text.endswith("<think>\n\n</think>\n\nLight is")
    assert rendering.phase is ReplyPhase.ANSWER
