"""Chat templates rendered with tools, as the engine will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tchat.engine.prompt import TemplateFailure
from tchat.engine.prompt.sandbox import TemplateProgram


class TemplateRenderer:
    """A template; calling it renders a chat."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._program = TemplateProgram(source)

    def __call__(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        add_generation_prompt: bool = True,
        thinking: bool = True,
    ) -> str:
        variables = {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
            "enable_thinking": thinking,
            "thinking": thinking,
            "bos_token": "",
            "eos_token": "",
            "functions": "",  # of Firefunction
            "datetime": "",
        }
        try:
            try:
                return self._program.render(variables)
            except TemplateFailure:
                if tools:
                    raise
                return self._program.render({**variables, "tools": []})
        except TemplateFailure as error:
            raise ValueError(str(error)) from error
