"""Tools in prompts: what a template is told of them, and calls for templates that know none.

The envelope is a reply that is one JSON object, ``{"answer": "…"}`` or
``{"tool": "NAME", "arguments": {…}}``, and the result of a call comes as a message of the user.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tchat.engine.prompt import ChatMessage, MessageCall, TemplateFailure, TemplateOverrun

Render = Callable[..., str]  # as of `TemplateAdapter.render`

ANSWER, TOOL, ARGUMENTS = "answer", "tool", "arguments"  # keys of the envelope

_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
_PLAIN = re.compile(r"[\w$./#-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool for the model; ``parameters`` is the JSON schema of its arguments, as JSON."""

    name: str
    description: str
    parameters: str

    def as_json(self) -> dict[str, Any]:
        """In the shape of the OpenAI API."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": json.loads(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class PromptTools:
    """The tools of a prompt.

    Attributes:
        definitions: For the template.
        in_envelope: Whether replies are in the envelope. The system prompt describes the tools
            then, and the template gets none.
    """

    definitions: tuple[ToolDefinition, ...] = ()
    in_envelope: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts in the definitions."""
        return tuple(
            text for each in self.definitions for text in (each.description, each.parameters)
        )

    def changed(self, change: Callable[[str], str], is_word: Callable[[str], bool]) -> PromptTools:
        """With each text changed that is no word."""

        def other(text: str) -> str:
            return text if is_word(text) else change(text)

        definitions = tuple(
            ToolDefinition(
                each.name, change(each.description), changed_json(each.parameters, other, other)
            )
            for each in self.definitions
        )
        return replace(self, definitions=definitions)


def is_plain(text: str) -> bool:
    """Whether a text is a name, of which nobody makes a mark."""
    return _PLAIN.fullmatch(text) is not None


def changed_calls(
    message: ChatMessage, change: Callable[[str], str], is_word: Callable[[str], bool]
) -> ChatMessage:
    """A message with the texts of its calls changed; names only where they are no words."""

    def name(text: str) -> str:
        return text if is_word(text) else change(text)

    calls = tuple(
        replace(
            call,
            name=name(call.name),
            arguments=changed_json(call.arguments, change, name),
        )
        for call in message.tool_calls
    )
    return replace(message, tool_calls=calls, tool_name=name(message.tool_name))


def changed_json(text: str, change: Callable[[str], str], key: Callable[[str], str]) -> str:
    """JSON with every string changed, and its keys by ``key``."""

    def walk(value: Any) -> Any:
        match value:
            case str():
                return change(value)
            case list():
                return [walk(each) for each in value]
            case dict():
                return {key(name): walk(each) for name, each in value.items()}
        return value

    return json.dumps(walk(json.loads(text)), ensure_ascii=False)


# Templates that know tools


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How a template expects calls.

    Attributes:
        arguments_as_text: Whether arguments are JSON text, and no object.
        empty_content: The content of a reply that only calls.
        has_short_ids: Whether ids have nine letters and digits.
        needs_definitions: Whether calls are written only where the prompt offers tools.
        tells_tools: Whether the model is told of the tools.
        writes_calls: Whether calls are written; otherwise they are text in the content.
    """

    arguments_as_text: bool = False
    empty_content: str | None = ""
    has_short_ids: bool = False
    needs_definitions: bool = False
    tells_tools: bool = False
    writes_calls: bool = True

    def calls(self, message: ChatMessage) -> list[dict[str, Any]]:
        """The calls of a reply for the template."""
        return [
            {
                "type": "function",
                "id": self.call_id(call.id),
                "function": {
                    "name": call.name,
                    "arguments": call.arguments
                    if self.arguments_as_text
                    else json.loads(call.arguments),
                },
            }
            for call in message.tool_calls
        ]

    def call_id(self, text: str) -> str:
        """An id that no template refuses, and that is no control token."""
        if (_SHORT_ID if self.has_short_ids else _ID).fullmatch(text):
            return text
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:9]


_PROBE_NAME, _PROBE_KEY, _PROBE_VALUE = "zqfirsttool", "zqfirstkey", "zqfirstvalue"
_PROBE_QUESTION, _PROBE_RESULT = "7204918365", "5502918374"
_PROBE_TOOL = ToolDefinition(
    _PROBE_NAME,
    "zqabout",
    json.dumps(
        {
            "type": "object",
            "properties": {_PROBE_KEY: {"type": "string", "description": "zqkey"}},
            "required": [_PROBE_KEY],
        }
    ),
)


def tool_form_of(source: str, render: Render) -> ToolForm | None:
    """How a template expects calls, found out by rendering some; None where it knows none."""
    if "tool" not in source:  # most of those that know none
        return None
    is_told = _PROBE_NAME in (_rendered(render, None, [], (_PROBE_TOOL,)) or "")
    for as_text in (False, True):
        for content in ("", None):
            form = ToolForm(as_text, content, tells_tools=is_told)
            for call_id, short in (("zqcall0123456789", False), ("zqcall000", True)):
                if _is_written(render, form, call_id, (_PROBE_TOOL,)):
                    needs = not _is_written(render, form, call_id, ())
                    return replace(form, has_short_ids=short, needs_definitions=needs)
    form = ToolForm(tells_tools=is_told, writes_calls=False)
    return form if is_told and _is_written(render, form, "zqcall000", ()) else None


def _rendered(
    render: Render,
    form: ToolForm | None,
    messages: Sequence[ChatMessage],
    definitions: Sequence[ToolDefinition],
) -> str | None:
    """A chat that goes on with ``messages``; None where the template refuses it."""
    chat = [ChatMessage("user", _PROBE_QUESTION), *messages]
    try:
        return render(chat, definitions=definitions, form=form)
    except TemplateOverrun:
        raise
    except TemplateFailure:
        return None


def _is_written(
    render: Render, form: ToolForm, call_id: str, definitions: Sequence[ToolDefinition]
) -> bool:
    """Whether a template writes a call, and its result."""
    call = MessageCall(call_id, _PROBE_NAME, json.dumps({_PROBE_KEY: _PROBE_VALUE}))
    result = ChatMessage("tool", _PROBE_RESULT, tool_name=_PROBE_NAME, tool_call_id=call_id)
    reply = ChatMessage("assistant", "", tool_calls=(call,))
    if not form.writes_calls:
        reply = replace(reply, content=envelope_call(call), tool_calls=())
    text = _rendered(render, form, [reply, result], definitions) or ""
    written = text.rpartition(_PROBE_QUESTION)[2]
    parts = (_PROBE_NAME, _PROBE_KEY, _PROBE_VALUE, _PROBE_RESULT)
    # An object that is written as Python writes it, or a text as a JSON string, is no call.
    is_misread = f"'{_PROBE_KEY}': '{_PROBE_VALUE}'" in written or f'\\"{_PROBE_KEY}' in written
    return all(part in written for part in parts) and not is_misread


# The envelope


def envelope_call(call: MessageCall) -> str:
    """A call as JSON, as models write it in the envelope."""
    arguments = json.loads(call.arguments)
    return json.dumps({TOOL: call.name, ARGUMENTS: arguments}, ensure_ascii=False)


def calls_in_content(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The chat with calls as texts in the replies."""
    return [
        replace(message, content=_with_calls(message), tool_calls=())
        if message.tool_calls
        else message
        for message in messages
    ]


def in_envelope(
    messages: Sequence[ChatMessage], *, with_answers: bool, keep_last: bool
) -> list[ChatMessage]:
    """The chat with calls in the envelope, and their results in messages of the user.

    Args:
        messages: The chat.
        with_answers: Whether answers are in the envelope, too.
        keep_last: Whether the last message is a reply to be continued, which stays as it is.
    """
    turns: list[ChatMessage] = []
    last = messages[-1] if keep_last and messages else None
    for message in messages:
        if message.role == "tool":
            text = f"Result of {message.tool_name}:\n{message.content}"
            if turns and turns[-1].role == "user" and turns[-1].tool_name:
                turns[-1] = replace(turns[-1], content=f"{turns[-1].content}\n\n{text}")
            else:
                turns.append(ChatMessage("user", text, tool_name=message.tool_name))
        elif message.tool_calls:
            turns.append(replace(message, content=_with_calls(message), tool_calls=()))
        elif with_answers and message.role == "assistant" and message is not last:
            text = json.dumps({ANSWER: message.content}, ensure_ascii=False)
            turns.append(replace(message, content=text))
        else:
            turns.append(message)
    return turns


def _with_calls(message: ChatMessage) -> str:
    parts = (message.content, *map(envelope_call, message.tool_calls))
    return "\n".join(filter(None, parts))
