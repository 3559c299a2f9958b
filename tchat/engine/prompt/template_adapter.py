"""Call a chat template the way it expects: found out by rendering a probe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from tchat.engine.prompt import (
    ChatMessage,
    IsStopped,
    TemplateFailure,
    TemplateOverrun,
    never,
)
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.prompt.sandbox import TemplateProgram
    from tchat.engine.prompt.tools import ToolDefinition, ToolForm

# Only digits, so that no filter of a template changes them.
_PROBE_SYSTEM = ChatMessage("system", "5830274916")
_PROBE_USER = ChatMessage("user", "7204918365")
# Message keys under which templates expect reasoning.
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")
# Of GigaChat, the only template that uses them; a GGUF file does not contain the list.
_ADDITIONAL_SPECIAL_TOKENS = ("<|role_sep|>", "<|message_sep|>", "[", "]")


class _Given(list[object]):
    """A list that no template can append to: the sandbox lets them do so only to lists."""


@dataclass(frozen=True, slots=True)
class TemplateAdapter:
    """A compiled template, and how it expects its variables.

    Args:
        program: The compiled template.
        tokens: ``bos_token`` and ``eos_token``, and what else the template requires.
        typed: Whether contents are lists of ``{"type": "text", …}``.
        system: Whether it takes a system message.
        key: The message key for reasoning; None when the template has none.
        absent: The value of ``tools`` and ``documents``: Transformers passes None, which some
            templates for tools cannot iterate over.
    """

    program: TemplateProgram
    tokens: Mapping[str, object]
    typed: bool
    system: bool
    key: str | None
    absent: tuple[()] | None

    def render(
        self,
        messages: Sequence[ChatMessage],
        options: Mapping[str, object] | None = None,
        *,
        prompt: bool = True,
        stopped: IsStopped = never,
        definitions: Sequence[ToolDefinition] = (),
        form: ToolForm | None = None,
    ) -> str:
        """Render a chat; with ``prompt`` the text ends with the head of a reply.

        ``definitions`` are the tools that it offers, ``form`` is how it expects calls.

        Raises:
            TemplateFailure: The template refuses the chat.
            InterruptedError: ``stopped``, which is called often, was True.
        """
        return self.program.render(
            {
                "tools": self.absent,
                "documents": self.absent,
                **self.tokens,
                **(options or {}),
                **(self._offer(definitions) if definitions else {}),
                "messages": _Given(self._message(message, form) for message in messages),
                "add_generation_prompt": prompt,
            },
            stopped=stopped,
            size=sum(map(_size, messages))
            + sum(len(each.parameters) + len(each.description) for each in definitions),
        )

    def render_values(
        self,
        turns: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None,
        *,
        prompt: bool,
    ) -> str:
        """Render messages as they are: to find out how a template writes calls.

        Raises:
            TemplateFailure: The template refuses them.
        """
        return self.program.render(
            {
                "documents": self.absent,
                **self.tokens,
                "messages": _Given(turns),
                "tools": tools or self.absent,
                "add_generation_prompt": prompt,
            }
        )

    def _offer(self, definitions: Sequence[ToolDefinition]) -> dict[str, object]:
        tools = [each.as_json() for each in definitions]
        if "functions" not in self.tokens:
            return {"tools": tools}
        import json

        functions = json.dumps([each["function"] for each in tools], ensure_ascii=False)
        return {"tools": tools, "functions": functions}

    def _message(self, message: ChatMessage, form: ToolForm | None) -> dict[str, object]:
        text = message.content
        content = [{"type": "text", "text": text}] if self.typed else text
        turn: dict[str, object] = {"role": message.role, "content": content}
        if message.reasoning and self.key is not None:
            turn[self.key] = message.reasoning
        if form is not None and message.tool_calls:
            turn["tool_calls"] = form.calls(message)
            if not text:
                turn["content"] = form.empty_content
        elif form is not None and message.role == "tool":
            turn["name"] = message.tool_name
            turn["tool_call_id"] = form.call_id(message.tool_call_id)
        return turn


def _size(message: ChatMessage) -> int:
    """Characters of a message."""
    arguments = sum(len(call.arguments) for call in message.tool_calls)
    return len(message.content) + len(message.reasoning) + arguments


@lru_cache(maxsize=4)
def compile_program(source: str) -> TemplateProgram:
    """Compile a template; takes 40 ms the first time, and needs no model.

    Raises:
        TemplateFailure: It does not compile.
    """
    from tchat.engine.prompt.sandbox import TemplateProgram

    return TemplateProgram(source)


def adapt_template(
    source: str, *, bos: str, eos: str, stopped: IsStopped = never
) -> TemplateAdapter:
    """Compile a template and find out how it expects its variables.

    Raises:
        TemplateFailure: It does not compile, or refuses or loses a plain user message.
        InterruptedError: ``stopped``, which is called often, was True.
    """
    program = compile_program(source)
    used = re.compile(rf"(?:\.|['\"])({'|'.join(_REASONING_KEYS)})\b").findall(source)
    key = next((key for key in _REASONING_KEYS if key in used), None)
    failure: TemplateFailure | None = None
    ways = product(_variables(bos, eos), (None, ()), (False, True), (True, False))
    for tokens, absent, typed, system in ways:
        adapter = TemplateAdapter(
            program, tokens, typed=typed, system=system, key=key, absent=absent
        )
        try:
            messages = [*([_PROBE_SYSTEM] if system else []), _PROBE_USER]
            text = adapter.render(messages, stopped=stopped)
            if all(message.content in text for message in messages):
                return adapter
        except TemplateOverrun:
            raise
        except TemplateFailure as error:
            failure = failure or error
    raise failure or TemplateFailure(tr("it loses the user's message"))


def _variables(bos: str, eos: str) -> tuple[dict[str, object], dict[str, object]]:
    """The variables of every template; and those with what few templates require.

    Others would take the latter for tools that exist.
    """
    usual: dict[str, object] = {"bos_token": bos, "eos_token": eos}
    rare = {
        "additional_special_tokens": _ADDITIONAL_SPECIAL_TOKENS,
        "functions": "[]",  # firefunction: JSON, and the date of the day
        "datetime": datetime.now().astimezone().strftime("%b %d %Y"),
    }
    return usual, {**usual, **rare}
