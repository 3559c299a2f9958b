"""Replies that are cut off, malformed, or made to deceive: nothing is lost, nothing is invented."""

from __future__ import annotations

import json
import random

import pytest

from tchat.tools.syntaxes import (
    CallBroken,
    CallEvent,
    CallFinished,
    CallSyntax,
    EnvelopeSyntax,
    ReasoningPiece,
    TextPiece,
)
from tests.tools.syntaxes.replies import TOOLS, known, read, told
from tests.tools.syntaxes.test_families import (
    CASES,
    COMMAND,
    DEEPSEEK,
    DSML,
    FUNCTIONARY_1,
    GEMMA,
    GLM,
    HARMONY,
    HERMES,
    KIMI,
    LFM2,
    LLAMA,
    MISTRAL,
    QWEN_CODER,
)

OPENINGS = [
    (HERMES, '<tool_call>{"name": "weather", "arguments": '),
    (QWEN_CODER, "<tool_call>\n<function=weather>\n<parameter=city>\n"),
    (HARMONY, "<|channel|>commentary to=functions.weather<|message|>"),
    (MISTRAL, "[TOOL_CALLS]weather[ARGS]"),
    (GEMMA, "<|tool_call>call:weather{city:"),
    (LLAMA, '{"name": "weather", "parameters": '),
    (LFM2, "<|tool_call_start|>[weather(city="),
    (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"),
    (DSML, '<｜DSML｜function_calls><｜DSML｜invoke name="weather"><｜DSML｜parameter name="city"'),
    (KIMI, "<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"),
    (GLM, "<tool_call>weather\n<arg_key>city</arg_key><arg_value>"),
    (COMMAND, '<|START_ACTION|>[{"tool_name": "weather", "parameters": '),
    (FUNCTIONARY_1, "<function=weather>"),
]


@pytest.mark.parametrize(("template", "opening"), OPENINGS)
@pytest.mark.parametrize("rest", ['{"city": "Os', "[[[", "{]", '"', "{'city': }", "\\", "<", "\0"])
def test_a_call_that_cannot_be_read_is_told_with_what_was_written(
    template: str, opening: str, rest: str
) -> None:
    events = read(known(template), opening + rest, cuts=3)

    assert not [e for e in events if isinstance(e, CallFinished)]
    broken = [e for e in events if isinstance(e, CallBroken)]
    assert [e.name for e in broken] == ["weather"]
    assert broken[0].raw.endswith(rest)
    assert broken[0].reason


def test_a_reply_goes_on_behind_a_broken_call() -> None:
    text = (
        '<tool_call>{"name": "weather", "arguments": {oops}}</tool_call>'
        '<tool_call>{"name": "now", "arguments": {}}</tool_call>Done.'
    )

    broken = {"broken": "weather", "raw": text[: text.index("<tool_call>", 1)]}
    assert told(read(known(HERMES), text)) == [broken, ("now", {}), "Done."]


@pytest.mark.parametrize(("template", "text", "expected"), CASES)
def test_a_reply_that_ends_anywhere_loses_nothing(
    template: str, text: str, expected: list[object]
) -> None:
    """What is read of a beginning stays as it is when more comes, but for its last event."""
    syntax = known(template)
    for end in range(len(text)):
        begun = told(read(syntax, text[:end], cuts=0))
        settled = [e for e in begun[:-1] if not isinstance(e, str | list)]
        assert settled == [e for e in expected if not isinstance(e, str | list)][: len(settled)]


@pytest.mark.parametrize(
    "text",
    [
        'Write `<tool_call>{"name": "now", "arguments": {}}</tool_call>` for it.',
        'So:\n```xml\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n```\nThat is.',
        "A <tool_call> tag begins a call, and </tool_call> ends it.",
        "```\nfence\n```\n<tool_call> <b>",
    ],
)
def test_a_reply_about_calls_calls_nothing(text: str) -> None:
    assert read(known(HERMES), text) == [TextPiece(text)]


def test_a_call_behind_a_closed_code_block_is_one() -> None:
    text = 'So:\n```\nx\n```\n<tool_call>{"name": "now", "arguments": {}}</tool_call>'

    assert told(read(known(HERMES), text)) == ["So:\n```\nx\n```", ("now", {})]


def test_marks_within_arguments_are_text() -> None:
    marks = '</tool_call><tool_call><think></think><|im_end|>```"}]'
    call = json.dumps({"name": "python", "arguments": {"code": marks}})

    assert told(read(known(HERMES), f"<tool_call>{call}</tool_call>")) == [
        ("python", {"code": marks})
    ]


@pytest.mark.parametrize("template", [HERMES, MISTRAL, LFM2, DEEPSEEK, GLM])
def test_a_call_that_the_reasoning_only_considers_is_not_made(template: str) -> None:
    text = next(text for name, text, _ in CASES if name == template)
    text = text.removeprefix("<think>Where?").removeprefix("</think>").strip()
    opening, closing = ("[THINK]", "[/THINK]") if template == MISTRAL else ("<think>", "</think>")

    events = read(known(template), f"{opening}Shall I {text} or not?{closing}No.")

    assert events == [ReasoningPiece(f"Shall I {text} or not?"), TextPiece("No.")]


@pytest.mark.parametrize("template", [QWEN_CODER, GLM, DSML])
def test_a_call_on_a_line_of_its_own_ends_reasoning_that_was_not_closed(template: str) -> None:
    text = next(text for name, text, _ in CASES if name == template and text.startswith("<"))
    text = text.removeprefix("<think>Where?</think>\n")

    events = told(read(known(template), f"<think>I must look.\n{text}"))

    assert events[0] == ["I must look."]
    assert isinstance(events[1], tuple)


@pytest.mark.parametrize("value", ["NaN", "1e999", "-Infinity", "9" * 5000, "[" * 65 + "]" * 65])
def test_values_that_json_cannot_hold_break_the_call(value: str) -> None:
    texts = {
        HERMES: f'<tool_call>{{"name": "weather", "arguments": {{"days": {value}}}}}</tool_call>',
        DSML: '<｜DSML｜invoke name="weather"><｜DSML｜parameter name="place" string="false">'
        f"{value}</｜DSML｜parameter></｜DSML｜invoke>",
        LFM2: f"<|tool_call_start|>[weather(days={value})]<|tool_call_end|>",
    }
    for template, text in texts.items():
        events = read(known(template), text, cuts=2)
        assert all(json.dumps(e.arguments, allow_nan=False) for e in _finished(events))
        assert len(_finished(events)) + sum(isinstance(e, CallBroken) for e in events) == 1


def test_half_a_character_is_replaced() -> None:
    hermes = '<tool_call>{"name": "now", "arguments": {"\\ud83d": ["\\ude00"]}}</tool_call>'
    lfm2 = "<|tool_call_start|>[now(a='\\ud83d', b='\\ud83d\\ude00')]<|tool_call_end|>"

    (found,) = _finished(read(known(HERMES), hermes))
    assert json.dumps(found.arguments, ensure_ascii=False).encode()
    (found,) = _finished(read(known(LFM2), lfm2))
    assert found.arguments == {"a": "\ufffd" * 3, "b": "😀"}


@pytest.mark.parametrize(
    ("template", "deep"),
    [
        (HERMES, '<tool_call>{"name": "weather", "arguments": ' + '{"a":' * 50_000),
        (LFM2, "<|tool_call_start|>[weather(a=" + "[" * 50_000),
        (GEMMA, "<|tool_call>call:weather{a:" + "{a:" * 50_000),
        (GLM, "<tool_call>weather<arg_key>place</arg_key><arg_value>" + "[" * 50_000),
        (QWEN_CODER, "<function=weather><parameter=place>" + "[" * 50_000 + "</parameter>"),
    ],
)
def test_deep_nesting_breaks_the_call_only(template: str, deep: str) -> None:
    events = _fed(known(template), deep, 4096)

    assert [e.name for e in events if isinstance(e, CallBroken)] == ["weather"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (HERMES, '<tool_call>{"name": "python", "arguments": {"code": "SIZE"}}</tool_call>'),
        (QWEN_CODER, "<function=python><parameter=code>SIZE</parameter></function>"),
        (GEMMA, '<|tool_call>call:python{code:<|"|>SIZE<|"|>}<tool_call|>'),
        (LFM2, '<|tool_call_start|>[python(code="SIZE")]<|tool_call_end|>'),
        (HARMONY, '<|channel|>commentary to=functions.python<|message|>{"code": "SIZE"}<|call|>'),
    ],
)
def test_a_call_of_a_megabyte_is_read(template: str, text: str) -> None:
    code = "x = '<' + 1  # " * 70_000

    events = _fed(known(template), text.replace("SIZE", code), 16)

    finished = [e for e in events if isinstance(e, CallFinished)]
    assert [e.arguments for e in finished] == [{"code": code}]


@pytest.mark.parametrize("template", [HERMES, QWEN_CODER, GEMMA, KIMI, LFM2, GLM, HARMONY])
def test_many_marks_that_begin_nothing_are_read(template: str) -> None:
    marks = "".join(sorted(known(template).triggers)) * 3000

    assert _fed(known(template), marks, 512)


def test_any_mixture_of_marks_is_read_alike_however_it_is_cut() -> None:
    chance = random.Random(15)
    for template in sorted({case[0] for case in CASES}):
        texts = [case[1] for case in CASES if case[0] == template]
        for _ in range(25):
            pieces = [_piece(chance.choice(texts), chance) for _ in range(6)]
            read(known(template), "".join(pieces), cuts=2)
    for _ in range(100):
        text = '{"answer": "a\\u00e9\\n", "tool": "now", "arguments": {"city": [1]}}<think>'
        read(EnvelopeSyntax(), "".join(_piece(text, chance) for _ in range(4)), cuts=2)


def _finished(events: list[CallEvent]) -> list[CallFinished]:
    return [event for event in events if isinstance(event, CallFinished)]


def _piece(text: str, chance: random.Random) -> str:
    start = chance.randrange(len(text))
    return text[start : start + chance.randint(1, 60)]


def _fed(syntax: CallSyntax, text: str, size: int) -> list[CallEvent]:
    parser = syntax.parser(TOOLS)
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.close()]
