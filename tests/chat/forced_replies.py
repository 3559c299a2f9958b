"""Replies of a real model whose tokens are given, so that a turn with tools can be told in advance.

Everything else is real: prompts are prefilled and decoded, and a grammar that is on has to allow
each token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from tchat.engine.sampling import Sampler

# A template that knows tools, with the notation of Hermes.
HERMES = """\
{%- if tools %}<|im_start|>system
{{ messages[0].content ~ '\\n' if messages[0].role == 'system' }}# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call one as <tool_call>{"name": …, "arguments": …}</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif not (tools and message.role == 'system') %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content or not loop.first }}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
MARKS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")


def hermes_call(arguments: str, name: str = "calculator") -> str:
    """A call as the template writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


class ForcedReplies:
    """The texts of the next replies, in their order; each ends with the model's end token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, texts: Sequence[str]) -> None:
        self.left = deque(texts)
        self._open: dict[int, deque[int]] = {}
        monkeypatch.setattr(Sampler, "sample", lambda s, context, row=-1: self._next(s))

    def _next(self, sampler: Any) -> int:
        model = sampler._model
        if id(sampler) not in self._open:
            tokens = model.tokenize(self.left.popleft(), special=True)
            self._open[id(sampler)] = deque([*tokens, model.end_tokens[0]])
        tokens = self._open[id(sampler)]
        token = tokens.popleft()
        if sampler._grammar is not None:
            piece = model.piece(token)
            assert sampler._allows(token), f"the grammar refuses {piece!r} of a forced reply"
            sampler._lib.llama_sampler_accept(sampler._grammar, token)
        if not tokens:
            del self._open[id(sampler)]
        return int(token)
