"""Calls whose arguments are no JSON are held by a grammar too: what is written is always a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tchat.engine.events import StepFinished, StepState, ToolStep
from tchat.tools.tool import Tool
from tests.chat.conftest import OpenChat
from tests.chat.forced_replies import HERMES, MARKS
from tests.chat.tool_turns import OpenTools, answer, force, of_kind, open_tools
from tests.tiny import write_tiny

__all__ = ["force", "open_tools"]

HERMES_CALL = """\
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>"""
# As Qwen3-Coder and its relatives write calls.
TAGS = """\
<tool_call>
<function={{ call.function.name }}>
{% for key, value in call.function.arguments.items() %}<parameter={{ key }}>
{{ value if value is string else value | tojson }}
</parameter>
{% endfor %}</function>
</tool_call>"""
# As GLM writes them.
PAIRS = """\
<tool_call>{{ call.function.name }}
{% for key, value in call.function.arguments.items() %}<arg_key>{{ key }}</arg_key>
<arg_value>{{ value if value is string else value | tojson }}</arg_value>
{% endfor %}</tool_call>"""
# As LFM2 writes them.
PYTHONIC = """\
<|tool_call_start|>[{{ call.function.name }}(
{%- for key, value in call.function.arguments.items() -%}
{{ key }}={{ value | tojson }}{{ ', ' if not loop.last }}
{%- endfor %})]<|tool_call_end|>"""
NOTATIONS = {"tags": TAGS, "pairs": PAIRS, "pythonic": PYTHONIC}
SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "mode": {"enum": ["read", "write"]},
        "lines": {"type": "integer", "minimum": 1, "maximum": 99},
        "deep": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["mode", "lines", "tags"],
    "additionalProperties": False,
}


def files_tool(seen: list[Any], schema: dict[str, Any] = SCHEMA) -> Tool:
    def run(arguments: Any) -> str:
        seen.append(dict(arguments))
        return "done"

    return Tool("files", "About files", schema, run)


def model(folder: Path, notation: str) -> Path:
    template = HERMES.replace(HERMES_CALL, NOTATIONS[notation])
    assert template != HERMES
    marks = (*MARKS, "<|tool_call_start|>", "<|tool_call_end|>")
    return write_tiny(folder / f"{notation}.gguf", template=template, user_defined=marks)


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_knows_nothing_writes_valid_calls(
    open_chat: OpenChat, open_tools: OpenTools, tmp_path: Path, notation: str, seed: int
) -> None:
    seen: list[Any] = []
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"]}}  # type: ignore[dict-item]
    del schema["properties"]["path"]  # type: ignore[attr-defined]  # free text need not end
    path = model(tmp_path, notation)
    chat = open_chat(model=str(path), max_tokens=400, temp=1.0, seed=seed)
    chat.tools = open_tools(files_tool(seen, schema), names=(), choice="required", max_steps=1)

    events = list(chat.send("Look at the files."))

    assert StepState.DONE in [step.state for step in of_kind(events, ToolStep)]
    Draft202012Validator(schema).validate(seen[0])


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        (
            "tags",
            "<tool_call>\n<function=files>\n<parameter=path>\na <b> </par\n</parameter>\n"
            "<parameter=mode>\nread\n</parameter>\n<parameter=lines>\n7\n</parameter>\n"
            '<parameter=tags>\n["x"]\n</parameter>\n</function>\n</tool_call>',
        ),
        (
            "pairs",
            "<tool_call>files\n<arg_key>path</arg_key>\n<arg_value>a <b> </arg</arg_value>\n"
            "<arg_key>mode</arg_key>\n<arg_value>read</arg_value>\n<arg_key>lines</arg_key>\n"
            '<arg_value>7</arg_value>\n<arg_key>tags</arg_key>\n<arg_value>["x"]</arg_value>\n'
            "</tool_call>",
        ),
        (
            "pythonic",
            '<|tool_call_start|>[files(path="a <b> \\"q\\"", mode="read", lines=7, tags=["x"])]'
            "<|tool_call_end|>",
        ),
    ],
)
def test_what_the_template_writes_is_allowed(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, tmp_path: Path, notation: str, text: str
) -> None:
    seen: list[Any] = []
    chat = open_chat(model=str(model(tmp_path, notation)), max_tokens=600)
    chat.tools = open_tools(files_tool(seen), names=())
    force(f"Let me see.\n{text}", "It is there.")

    events = list(chat.send("Look at the files."))

    path = {"tags": "a <b> </par", "pairs": "a <b> </arg", "pythonic": 'a <b> "q"'}[notation]
    assert seen == [{"path": path, "mode": "read", "lines": 7, "tags": ["x"]}]
    assert len(of_kind(events, StepFinished)) == 1
    assert answer(events).endswith("It is there.")


def test_a_tool_that_cannot_be_held_spoils_no_other(
    open_chat: OpenChat, open_tools: OpenTools, force: Any, tmp_path: Path
) -> None:
    odd_schema = {"type": "object", "properties": {"more": {"$ref": "#/properties/other"}}}
    odd = Tool("odd", "Odd", odd_schema, lambda arguments: f"odd {dict(arguments)}")
    chat = open_chat(model=str(model(tmp_path, "tags")), max_tokens=600)
    chat.tools = open_tools(odd, names=())
    force(
        "<tool_call>\n<function=odd>\n<parameter=more>\nx\n</parameter>\n</function>\n</tool_call>",
        "So it is.",
    )

    events = list(chat.send("Try the odd one."))

    assert of_kind(events, ToolStep)
    assert answer(events) == "So it is."
