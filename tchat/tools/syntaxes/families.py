"""The registry of call syntaxes: which models write which, by marks in their chat template.

The first family whose marks a template holds is taken. Of other templates the syntax is found by
rendering them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tchat.tools.syntaxes.differential import Render, syntax_by_rendering
from tchat.tools.syntaxes.functionary import FunctionarySyntax
from tchat.tools.syntaxes.gemma import GemmaCalls
from tchat.tools.syntaxes.json_calls import JsonCalls
from tchat.tools.syntaxes.messages import MessageSyntax
from tchat.tools.syntaxes.nested_calls import NestedCalls
from tchat.tools.syntaxes.protocol import CallSyntax
from tchat.tools.syntaxes.pythonic import PythonicCalls
from tchat.tools.syntaxes.reasoning_marks import reasoning_marks
from tchat.tools.syntaxes.reply import CallReader, InReasoning, MarkedSyntax, ReplyForm
from tchat.tools.syntaxes.tagged_calls import NamedJsonCalls, TaggedCalls


@dataclass(frozen=True, slots=True)
class Family:
    """Models that write calls in the same way.

    Args:
        name: What its makers call it.
        marks: Groups of texts; a template of this family holds all texts of one group.
        syntax: Makes the syntax for a template.
    """

    name: str
    marks: tuple[tuple[str, ...], ...]
    syntax: Callable[[str, str], CallSyntax]

    def includes(self, template: str) -> bool:
        """Whether a chat template is of this family."""
        return any(all(mark in template for mark in group) for group in self.marks)


def _marked(
    calls: CallReader,
    *,
    sections: tuple[str, ...] = (),
    separators: tuple[str, ...] = (),
    answers: tuple[str, ...] = (),
    ignored: tuple[str, ...] = (),
    in_reasoning: InReasoning = InReasoning.NEVER,
    reasoning: tuple[tuple[str, str], ...] = (),
    thinks_anywhere: bool = False,
) -> Callable[[str, str], CallSyntax]:
    def syntax(name: str, template: str) -> CallSyntax:
        form = ReplyForm(
            reasoning=reasoning or reasoning_marks(template),
            sections=sections,
            separators=separators,
            answers=answers,
            ignored=ignored,
            in_reasoning=in_reasoning,
            thinks_anywhere=thinks_anywhere,
        )
        return MarkedSyntax(name, form, calls)

    return syntax


_HERMES = _marked(
    JsonCalls(("<tool_call>",), closings=("</tool_call>",)), separators=("</tool_call>",)
)


def hermes_syntax(name: str) -> CallSyntax:
    """The syntax of Hermes, for calls that come apart from the text and are written in it."""
    return _HERMES(name, "")


def _function_tags(*, section: str, has_lines: bool) -> Callable[[str, str], CallSyntax]:
    calls = TaggedCalls(
        openings=("<function=",),
        name_ends=(">",),
        argument="<parameter=",
        argument_ends={">": None},
        value_end="</parameter>",
        has_lines=has_lines,
        closings=("</function>",),
    )
    return _marked(
        calls,
        sections=(f"<{section}>",),
        separators=(f"</{section}>",),
        in_reasoning=InReasoning.AT_LINE_START,
    )


_QWEN_CODER = _function_tags(section="tool_call", has_lines=True)
_SEED = _function_tags(section="seed:tool_call", has_lines=False)
_GLM = _marked(
    TaggedCalls(
        openings=("<tool_call>",),
        name_ends=(),
        argument="<arg_key>",
        argument_ends={"</arg_key>": None},
        value_start="<arg_value>",
        value_end="</arg_value>",
        closings=("</tool_call>",),
    ),
    ignored=("<|role_end|>",),
    in_reasoning=InReasoning.AT_LINE_START,
)
_DSML = "<｜DSML｜"
_DEEPSEEK_DSML = _marked(
    TaggedCalls(
        openings=(f'{_DSML}invoke name="',),
        name_ends=('">',),
        argument=f'{_DSML}parameter name="',
        argument_ends={'" string="true">': True, '" string="false">': False, '">': None},
        value_end="</｜DSML｜parameter>",
        closings=("</｜DSML｜invoke>",),
    ),
    sections=(f"{_DSML}function_calls>", f"{_DSML}tool_calls>"),
    separators=("</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"),
    in_reasoning=InReasoning.AT_LINE_START,
)
_DEEPSEEK_ENDS = ("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")
_DEEPSEEK = _marked(
    NamedJsonCalls(
        openings=("<｜tool▁call▁begin｜>", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>"),
        name_ends=("<｜tool▁sep｜>", "\n```json\n", "\n```json", "\n"),
        closings=_DEEPSEEK_ENDS,
    ),
    sections=("<｜tool▁calls▁begin｜>", "<｜tool▁outputs▁begin｜>"),
    separators=("```", *_DEEPSEEK_ENDS),
    ignored=("<｜end▁of▁sentence｜>",),
)
_MISTRAL = _marked(
    NamedJsonCalls(
        openings=("[TOOL_CALLS]",),
        name_ends=("[ARGS]",),
        id_mark="[CALL_ID]",
        json=JsonCalls(("[TOOL_CALLS]",)),
    )
)


def _kimi_name(written: str) -> tuple[str, str]:
    """``functions.NAME:0`` is the id, and holds the name."""
    name, colon, number = written.rpartition(":")
    if not colon or not number.isdigit():
        name = written
    return name.removeprefix("functions."), written


_KIMI_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>")
_KIMI = _marked(
    NamedJsonCalls(
        openings=("<|tool_call_begin|>",),
        name_ends=("<|tool_call_argument_begin|>",),
        closings=_KIMI_ENDS,
        name_and_id=_kimi_name,
    ),
    sections=("<|tool_calls_section_begin|>",),
    separators=_KIMI_ENDS,
    in_reasoning=InReasoning.ANYWHERE,
)
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_KIMI_3 = _marked(
    TaggedCalls(
        openings=('<|open|>call tool="',),
        name_ends=('"',),
        header_end="<|sep|>",
        argument='<|open|>argument key="',
        argument_ends={f'" type="{name}"<|sep|>': name == "string" for name in _TYPES},
        value_end="<|close|>argument<|sep|>",
        closings=("<|close|>call<|sep|>",),
    ),
    reasoning=(("<|open|>think<|sep|>", "<|close|>think<|sep|>"),),
    sections=("<|open|>tools<|sep|>",),
    separators=("<|close|>tools<|sep|>",),
    answers=("<|open|>response<|sep|>",),
    ignored=("<|close|>response<|sep|>", "<|close|>message<|sep|>"),
)
_COMMAND = _marked(
    JsonCalls(("<|START_ACTION|>",), closings=("<|END_ACTION|>",)),
    separators=("<|END_ACTION|>",),
    answers=("<|START_RESPONSE|>", "<|START_TEXT|>"),
    ignored=("<|END_RESPONSE|>", "<|END_TEXT|>", "<|END_OF_TURN_TOKEN|>"),
)
_COMMAND_R = _marked(
    JsonCalls(("Action:\n```json\n", "Action: ```json\n"), closings=("```",)),
    separators=("```",),
    ignored=("<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
)
_MINIMAX = "]<]minimax[>["
_MINIMAX_3 = _marked(
    NestedCalls(_MINIMAX),
    sections=(f"{_MINIMAX}<tool_call>",),
    separators=(f"{_MINIMAX}</tool_call>",),
)
_FUNCTIONARY_JSON = NamedJsonCalls(
    openings=("<function=",), name_ends=(">",), closings=("</function>",)
)
_FUNCTIONARY_3_1 = _marked(
    _FUNCTIONARY_JSON,
    separators=("</function>", "<|eom_id|>"),
)
_LLAMA = _marked(
    JsonCalls(("<|python_tag|>",), at_start=("{", "["), code="<|python_tag|>"),
    separators=("<|eom_id|>", "<|eot_id|>"),
)
_GRANITE_3 = _marked(
    JsonCalls(("<|tool_call|>", "<tool_call>"), at_start=("[{",), closings=("</tool_call>",)),
    separators=("</tool_call>",),
    answers=("<response>",),
    ignored=("</response>",),
)
_LFM2 = _marked(
    PythonicCalls(("<|tool_call_start|>",), closings=("<|tool_call_end|>",)),
    separators=("<|tool_call_end|>",),
)
_LFM2_MARKS = (
    ("<|tool_call_start|>",),
    ("<|tool_list_start|>",),
    ("List of tools: [", "keep_past_thinking"),
)
_APRIEL = _marked(
    JsonCalls(("<tool_calls>",), closings=("</tool_calls>",)), separators=("</tool_calls>",)
)
_FIREFUNCTION = _marked(JsonCalls(("functools[",)))


_GEMMA = _marked(
    GemmaCalls(),
    reasoning=(("<|channel>thought", "<channel|>"),),
    separators=("<tool_call|>",),
    ignored=("<|channel>", "<channel|>", "<turn|>", "<|tool_response>"),
    thinks_anywhere=True,
)


def _gpt_oss(name: str, template: str) -> CallSyntax:
    del template
    return MessageSyntax(name, ends=("<|end|>", "<|return|>", "<|call|>"))


def _muse(name: str, template: str) -> CallSyntax:
    del template
    calls = TaggedCalls(
        openings=('<atem:invoke name="',),
        name_ends=('">',),
        argument='<atem:parameter name="',
        argument_ends={'">': None},
        value_end="</atem:parameter>",
        closings=("</atem:invoke>",),
    )
    return MessageSyntax(name, ends=("<|eom|>", "<|eot|>"), tags=calls)


FAMILIES: tuple[Family, ...] = (
    Family("gpt-oss", (("<|channel|>", "<|message|>"),), _gpt_oss),
    Family("Muse", (("<atem:invoke", "<|message|>"),), _muse),
    Family("Gemma 4", (("<|tool_call>", "<|channel>"), ("<|tool_call>call:",)), _GEMMA),
    Family("Functionary 3.2", ((">>>all",),), lambda name, _: FunctionarySyntax(name)),
    Family("DeepSeek V3.2", ((_DSML,), ("｜DSML｜",)), _DEEPSEEK_DSML),
    Family("DeepSeek", (("tool▁call▁begin",),), _DEEPSEEK),
    Family("Kimi K2", (("<|tool_calls_section_begin|>",),), _KIMI),
    Family("Kimi K3", (("<|open|>", "<|sep|>"),), _KIMI_3),
    Family("Mistral", (("[TOOL_CALLS]",),), _MISTRAL),
    Family("Command", (("<|START_ACTION|>",),), _COMMAND),
    Family("Command R", (("<|CHATBOT_TOKEN|>", "Action:"),), _COMMAND_R),
    Family("MiniMax M3", ((_MINIMAX,), ("minimax[", "<invoke name=")), _MINIMAX_3),
    Family("GLM", (("<arg_key>", "<arg_value>"),), _GLM),
    Family("Seed", (("<seed:tool_call>",),), _SEED),
    Family("Qwen3 Coder", (("<function=", "<parameter="),), _QWEN_CODER),
    Family("Functionary 3.1", (("<function=example_function_name>",),), _FUNCTIONARY_3_1),
    Family("LFM2", _LFM2_MARKS, _LFM2),
    Family("Granite 3", (("<|tool_call|>", "<|start_of_role|>"),), _GRANITE_3),
    Family("Firefunction", ((" functools[",),), _FIREFUNCTION),
    Family("Llama 3", (("<|python_tag|>",), ("<|start_header_id|>", "ipython")), _LLAMA),
    Family("Apriel", (("<tool_calls>",),), _APRIEL),
    Family("Hermes", (("<tool_call>", '"arguments"'), ("<tool_call>", "'arguments'")), _HERMES),
)


def syntax_for(template: str, render: Render | None = None) -> CallSyntax | None:
    """The syntax of a model by its chat template.

    Args:
        template: The source of the template.
        render: Renders the template; it is asked where no known family fits.

    Returns:
        None where the template knows no calls; `EnvelopeSyntax` works for every model.
    """
    for family in FAMILIES:
        if family.includes(template):
            return family.syntax(family.name, template)
    return syntax_by_rendering(template, render) if render is not None else None
