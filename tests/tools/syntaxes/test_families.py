"""What the models of each family write, whole and in chunks."""

from __future__ import annotations

import pytest

from tchat.tools.syntaxes import CallFinished, CallStarted, ReplyStart, TextPiece
from tests.tools.syntaxes.replies import known, read, told

HERMES = '<tool_call>\n{"name": <name>, "arguments": <args>}\n</tool_call> <think> </think>'
QWEN_CODER = "<tool_call><function=x><parameter=y></parameter></function></tool_call><think>"
HARMONY = "<|start|>assistant<|channel|>final<|message|>"
MUSE = '<atem:invoke name="x"> <|message|>'
MINIMAX = "]<]minimax[>[ <mm:think>"
MISTRAL = "[TOOL_CALLS] [ARGS] [CALL_ID] [THINK] [/THINK]"
GEMMA = "<|channel>thought <channel|> <|tool_call>call: <tool_call|>"
LLAMA = "<|start_header_id|>ipython<|end_header_id|> <|python_tag|>"
LFM2 = "<|tool_list_start|> <|tool_call_start|> <think>"
DEEPSEEK = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜> </think>"
DSML = "<｜DSML｜function_calls> </think>"
KIMI = "<|tool_calls_section_begin|><|tool_call_begin|>"
KIMI_3 = "<|open|>message<|sep|>"
GLM = "<tool_call> <arg_key> <arg_value> <think>"
GRANITE = "<|start_of_role|> <|tool_call|>"
COMMAND = "<|START_ACTION|> <|START_THINKING|> <|END_THINKING|> <|START_RESPONSE|>"
COMMAND_R = "<|CHATBOT_TOKEN|> Action:"
FUNCTIONARY_2 = "{{ '>>>all\n' }}"
FUNCTIONARY_1 = "<function=example_function_name>{}</function> <|python_tag|>"
FIREFUNCTION = "' functools['"

OSLO = ("weather", {"city": "Oslo"})
OSLO_3 = ("weather", {"city": "Oslo", "days": 3})
NOW: tuple[str, dict[str, object]] = ("now", {})

CASES = [
    # Hermes, Qwen 2.5 and 3
    (
        HERMES,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        [OSLO],
    ),
    (
        HERMES,
        '<think>\nWhere?\n</think>\n\nI look.\n<tool_call>\n{"name": "weather", "arguments": '
        '{"city": "Oslo"}}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments": {}}\n'
        "</tool_call>",
        [["Where?"], "I look.", OSLO, NOW],
    ),
    (HERMES, '<tool_call>{"arguments": {"city": "Oslo"}, "name": "weather"}</tool_call>', [OSLO]),
    (HERMES, '<tool_call>{"name": "now"}</tool_call>Done.', [NOW, "Done."]),
    (HERMES, '<tool_call>{"name": "now", "arguments": "{}"}', [NOW]),
    # Qwen3-Coder
    (
        QWEN_CODER,
        "I look.\n<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
        ["I look.", OSLO_3],
    ),
    (QWEN_CODER, "<function=now>\n</function>\n</tool_call>", [NOW]),
    (
        QWEN_CODER,
        "<tool_call>\n<function=python>\n<parameter=code>\n  if a < b:\n    print('</parameter>')"
        "\n\n</parameter>\n</function>\n</tool_call>",
        [("python", {"code": "  if a < b:\n    print('</parameter>')\n"})],
    ),
    (
        QWEN_CODER,
        "<tool_call><function=weather><parameter=city>12</parameter><parameter=hourly>True"
        '</parameter><parameter=units>metric</parameter><parameter=place>{"a": [1]}</parameter>'
        "</function></tool_call>",
        [("weather", {"city": "12", "hourly": True, "units": "metric", "place": {"a": [1]}})],
    ),
    (
        QWEN_CODER,
        "<function=weather>\n<parameter=hourly>\nFalse\n</parameter>\n<parameter=place>\n"
        "{'a': [1, None], \"b\": 'c'}\n</parameter>\n</function>",
        [("weather", {"hourly": False, "place": {"a": [1, None], "b": "c"}})],
    ),
    # gpt-oss
    (
        HARMONY,
        "<|channel|>analysis<|message|>Where?<|end|><|start|>assistant<|channel|>commentary "
        'to=functions.weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
        [["Where?"], OSLO],
    ),
    (
        HARMONY,
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to=functions.now"
        "<|channel|>commentary<|message|>{}<|call|>",
        ["I look.", NOW],
    ),
    (HARMONY, "<|channel|>final<|message|>It rains.<|return|>", ["It rains."]),
    (
        HARMONY,
        "<|channel|>analysis to=python<|message|>print(1)<|call|>",
        [("python", {"code": "print(1)"})],
    ),
    (HARMONY, "No header at all.", ["No header at all."]),
    # Muse
    (
        MUSE,
        " to=self<|message|>Where?<|eom|><|start|>assistant to=user<|message|>I look: "
        '<atem:invoke name="now"><|eom|><|start|>assistant to=weather<|message|>'
        '<atem:function_calls>\n<atem:invoke name="weather">\n<atem:parameter name="city">Oslo'
        '</atem:parameter>\n<atem:parameter name="days">3</atem:parameter>\n</atem:invoke>\n'
        "</atem:function_calls><|eot|>",
        [["Where?"], 'I look: <atem:invoke name="now">', OSLO_3],
    ),
    # MiniMax M3
    (
        MINIMAX,
        '<mm:think>Where?</mm:think>I look.#<tool_call>\n#<invoke name="weather">#<city>Oslo#'
        "</city>#<days>3#</days>#<place>#<a>#<item>1#</item>#<item>b#</item>#</a>#</place>#"
        '</invoke>\n#<invoke name="now">#</invoke>\n#</tool_call>'.replace("#", "]<]minimax[>["),
        [
            ["Where?"],
            "I look.",
            ("weather", {"city": "Oslo", "days": 3, "place": {"a": [1, "b"]}}),
            NOW,
        ],
    ),
    # Mistral, old and new
    (
        MISTRAL,
        'So.[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}, "id": "a1b2c3d4e"}, '
        '{"name": "now", "arguments": {}, "id": "000000001"}]',
        ["So.", ("weather", {"city": "Oslo"}, "a1b2c3d4e"), ("now", {}, "000000001")],
    ),
    (
        MISTRAL,
        '[THINK]Where?[/THINK][TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]now[ARGS]{}',
        [["Where?"], OSLO, NOW],
    ),
    (
        MISTRAL,
        '[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]{"city": "Oslo"}',
        [("weather", {"city": "Oslo"}, "123456789")],
    ),
    # Gemma 4
    (
        GEMMA,
        '<|channel>thought\nWhere?<channel|>I look.<|tool_call>call:weather{city:<|"|>Oslo<|"|>,'
        "days:3,hourly:false,place:{a:[1,2.5,null]}}<tool_call|>",
        [
            ["Where?"],
            "I look.",
            (
                "weather",
                {"city": "Oslo", "days": 3, "hourly": False, "place": {"a": [1, 2.5, None]}},
            ),
        ],
    ),
    (GEMMA, "<|tool_call>call:now{}<tool_call|><|tool_call>call:now{}<tool_call|>", [NOW, NOW]),
    (
        GEMMA,
        '<|tool_call>call:python{code:<|"|>d = {"a": "}"}\n<|"|>}<tool_call|>',
        [("python", {"code": 'd = {"a": "}"}\n'})],
    ),
    (
        GEMMA,
        '<|tool_call>call:weather{place:{key two:<|"|>a<|"|>,"q": "b"}}<tool_call|>',
        [("weather", {"place": {"key two": "a", "q": "b"}})],
    ),
    # Llama 3.x
    (LLAMA, '{"name": "weather", "parameters": {"city": "Oslo"}}', [OSLO]),
    (LLAMA, '{"type": "function", "name": "now", "parameters": {}}<|eom_id|>', [NOW]),
    (
        LLAMA,
        '{"type": "function", "function": {"name": "weather", "parameters": {"city": "Oslo"}}}; '
        '{"name": "now", "parameters": {}}',
        [OSLO, NOW],
    ),
    (LLAMA, '<|python_tag|>{"name": "now", "parameters": {}}', [NOW]),
    (LLAMA, "<|python_tag|>print(6 * 7)\n", [("python", {"code": "print(6 * 7)"})]),
    (LLAMA, '<|python_tag|>weather.call(city="Oslo", days=3)', [OSLO_3]),
    (LLAMA, '{"name": "Ada", "born": 1815}', ['{"name": "Ada", "born": 1815}']),
    (LLAMA, '{"a": 1, "name": "now"}', ['{"a": 1, "name": "now"}']),
    # LFM2
    (
        LFM2,
        '<think>Where?</think>I look.<|tool_call_start|>[weather(city="Oslo", days=3), now()]'
        "<|tool_call_end|>Wait.",
        [["Where?"], "I look.", OSLO_3, NOW, "Wait."],
    ),
    (
        LFM2,
        "<|tool_call_start|>[weather(city='St. John\\'s', hourly=True, place={'a': [1, None], "
        '"b": "\\u00e9\\n"})]<|tool_call_end|>',
        [
            (
                "weather",
                {"city": "St. John's", "hourly": True, "place": {"a": [1, None], "b": "é\n"}},
            )
        ],
    ),
    # DeepSeek
    (
        DEEPSEEK,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n'
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [OSLO, NOW],
    ),
    (
        DEEPSEEK,
        "</think>I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"
        '{"city": "Oslo"}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ["I look.", OSLO],
    ),
    (
        DSML,
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n<｜DSML｜parameter name="city" '
        'string="true">Oslo</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">3'
        "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        [OSLO_3],
    ),
    # Kimi K2
    (
        KIMI,
        "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
        '<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|><|tool_call_begin|>'
        "functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
        "<|tool_calls_section_end|>",
        [
            "I look.",
            ("weather", {"city": "Oslo"}, "functions.weather:0"),
            ("now", {}, "functions.now:1"),
        ],
    ),
    (
        KIMI,
        "<think>Where?<|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}",
        [["Where?"], ("now", {}, "functions.now:0")],
    ),
    (
        KIMI_3,
        "<|open|>think<|sep|>Where?<|close|>think<|sep|><|open|>response<|sep|>I look."
        '<|close|>response<|sep|><|open|>tools<|sep|><|open|>call tool="weather" index="1"'
        '<|sep|><|open|>argument key="city" type="string"<|sep|>Oslo<|close|>argument<|sep|>'
        '<|open|>argument key="days" type="number"<|sep|>3<|close|>argument<|sep|>'
        '<|close|>call<|sep|><|open|>call tool="now" index="2"<|sep|><|close|>call<|sep|>'
        "<|close|>tools<|sep|><|close|>message<|sep|>",
        [["Where?"], "I look.", OSLO_3, NOW],
    ),
    # GLM 4.x
    (
        GLM,
        "<think>Where?</think>\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo"
        "</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
        [["Where?"], OSLO_3],
    ),
    (GLM, "<tool_call>now</tool_call><tool_call>now\n</tool_call>", [NOW, NOW]),
    (
        GLM,
        "<tool_call>weather<arg_key>city</arg_key><arg_value>\n\nOslo\n</arg_value></tool_call>",
        [("weather", {"city": "\n\nOslo\n"})],
    ),
    # Granite
    (
        GRANITE,
        '<|tool_call|>[{"name": "weather", "arguments": {"city": "Oslo"}}, '
        '{"name": "now", "arguments": {}}]',
        [OSLO, NOW],
    ),
    (GRANITE, '<think>Where?</think><tool_call>[{"name": "now"}]', [["Where?"], NOW]),
    # Command
    (
        COMMAND,
        "<|START_THINKING|>Where?<|END_THINKING|><|START_ACTION|>[\n    {"
        '"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Oslo"}}\n]'
        "<|END_ACTION|>",
        [["Where?"], ("weather", {"city": "Oslo"}, "0")],
    ),
    (COMMAND, "<|START_RESPONSE|>It rains.<|END_RESPONSE|>", ["It rains."]),
    (
        COMMAND_R,
        'Action: ```json\n[{"tool_name": "weather", "parameters": {"city": "Oslo"}}]\n```',
        [OSLO],
    ),
    # Functionary and Firefunction
    (FUNCTIONARY_2, 'all\nI look.>>>weather\n{"city": "Oslo"}', ["I look.", OSLO]),
    (FUNCTIONARY_2, "python\nprint(1)\n>>>now\n{}", [("python", {"code": "print(1)"}), NOW]),
    (
        FUNCTIONARY_2,
        "weather\nOslo>>>all\nSo.",
        [{"broken": "weather", "raw": "Oslo"}, "So."],
    ),
    (FUNCTIONARY_2, "Nobody is named.\n>>>> ok", ["Nobody is named.\n>>>> ok"]),
    (
        FUNCTIONARY_1,
        'I look.<function=weather>{"city": "Oslo"}</function><function=now>{}</function>',
        ["I look.", OSLO, NOW],
    ),
    (FIREFUNCTION, ' functools[{"name": "weather", "arguments": {"city": "Oslo"}}]', [OSLO]),
]


@pytest.mark.parametrize(("template", "text", "expected"), CASES)
def test_a_reply_is_read_alike_however_it_is_cut(
    template: str, text: str, expected: list[object]
) -> None:
    assert told(read(known(template), text)) == expected


@pytest.mark.parametrize("template", sorted({case[0] for case in CASES}))
@pytest.mark.parametrize(
    "text", ["", "Hello, world!\nWhat's up?", "  - a\n  - b\n\n", "a < b, [x](y), {z}, <b>", "<"]
)
def test_plain_text_stays_as_it_is(template: str, text: str) -> None:
    assert read(known(template), text) == ([TextPiece(text)] if text else [])


@pytest.mark.parametrize("template", [HERMES, QWEN_CODER, GLM, LFM2, DEEPSEEK, KIMI, GRANITE])
def test_a_prompt_may_open_the_reasoning(template: str) -> None:
    syntax = known(template)

    assert syntax.start_after("<|assistant|>\n<think>\n") is ReplyStart.REASONING
    assert syntax.start_after("<think>x</think>\n<|assistant|>") is ReplyStart.OPEN
    events = read(syntax, "\nWhere?\n</think>\n\nOslo.", start=ReplyStart.REASONING)
    assert told(events) == [["Where?"], "Oslo."]


def test_a_prompt_of_gpt_oss_may_end_in_a_message() -> None:
    syntax = known(HARMONY)

    assert syntax.start_after("<|start|>assistant") is ReplyStart.OPEN
    open_reasoning = "<|start|>assistant<|channel|>analysis<|message|>I"
    assert syntax.start_after(open_reasoning) is ReplyStart.REASONING
    open_answer = "<|start|>assistant<|channel|>final<|message|>It "
    assert syntax.start_after(open_answer) is ReplyStart.ANSWER
    assert told(read(syntax, "rains.<|return|>", start=ReplyStart.ANSWER)) == ["rains."]


def test_the_name_of_a_tool_is_told_before_its_arguments() -> None:
    parser = known(HERMES).parser({"weather": {}})

    assert parser.feed('<tool_call>\n{"name": "weather", "argu') == [CallStarted(0, "weather")]
    assert parser.feed('ments": {"city": "Oslo"}') == []
    assert parser.feed("}") == [CallFinished(0, "weather", {"city": "Oslo"})]


def test_text_comes_as_soon_as_it_can_be_no_mark() -> None:
    parser = known(HERMES).parser({"weather": {}})

    assert parser.feed("So a <") == [TextPiece("So a")]
    assert parser.feed("b") == [TextPiece(" <b")]


@pytest.mark.parametrize(("template", "text", "expected"), CASES)
def test_a_trigger_stands_before_every_call(
    template: str, text: str, expected: list[object]
) -> None:
    syntax = known(template)
    text = f">>>{text}" if template == FUNCTIONARY_2 else text  # as its prompts end

    triggered = any(trigger in text for trigger in syntax.triggers)
    triggered |= text.lstrip().startswith(syntax.head_triggers or "\0")
    assert triggered or not any(isinstance(part, tuple) for part in expected)


def test_without_tools_nothing_is_a_call() -> None:
    text = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'

    assert read(known(HERMES), text, tools={}) == [TextPiece(text)]


def test_values_follow_the_schema_of_their_arguments() -> None:
    schema = {
        "$defs": {"Count": {"type": "integer"}},
        "properties": {
            "text": {"type": "string"},
            "count": {"$ref": "#/$defs/Count"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "maybe": {"type": ["string", "null"]},
            "odd": {"$ref": "#/$defs/Nothing"},
        },
    }
    values = {
        "text": "12",
        "count": "12",
        "either": "12",
        "maybe": "null",
        "odd": "x",
        "new": "[1]",
    }
    parts = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())

    events = read(known(QWEN_CODER), f"<function=t>\n{parts}</function>", tools={"t": schema})

    typed = {"text": "12", "count": 12, "either": 12, "maybe": None, "odd": "x", "new": [1]}
    assert told(events) == [("t", typed)]
