"""The next prompt of a turn that calls tools: only what follows the call is added.

A template does not write a reply as the model did: it drops the reasoning, or sets other spaces.
Encoded anew, the call and all behind it would be prefilled again. So the tokens in the KV cache
stay, and of the new prompt only what stands behind the reply is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.encoder import EncodedPrompt, PromptEncoder, tokenize_by_parts
from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.engine.prompt.template import Rendering, Think, unused_character

_OTHER = "\U0010fffdzqother"  # an argument that no call has, and the last in any order


def prompt_behind_call(
    encoder: PromptEncoder,
    cached: Sequence[int],
    messages: Sequence[ChatMessage],
    think: Think = "auto",
) -> EncodedPrompt | None:
    """The prompt of a chat that ends in the results of a call, behind the tokens ``cached``.

    These end with the reply that called, without its end token. None where it cannot be told what
    the template writes behind a reply.

    Raises:
        InterruptedError: The encoder was stopped.
    """
    place = next((n for n in reversed(range(len(messages))) if messages[n].tool_calls), None)
    if place is None or any(message.role != "tool" for message in messages[place + 1 :]):
        return None
    options, _ = encoder.template.switch(think)
    specials = encoder.specials
    marker = unused_character(encoder.texts(messages))
    tools = encoder.marked_tools(marker)

    def render(turns: Sequence[ChatMessage]) -> Rendering:
        return encoder.template.render(turns, options=options, stopped=encoder.stopped, tools=tools)

    marked = [specials.add_markers(message, marker) for message in messages]
    rendering = render(marked)
    other = render([*marked[:place], _with_other_call(marked[place]), *marked[place + 1 :]])
    behind = _common_end(rendering.text, other.text)
    text, own, _ = specials.split_by_author(behind, marker)
    first_result = len(behind.partition(marker)[0])  # nothing of it stands before the first mark
    start = next((begin for begin, end in own if _ends_reply(encoder, text[begin:end])), None)
    if start is None or start >= first_result:  # by some templates, results follow calls at once
        start = _written_part(encoder, cached, text[:first_result])
    if not start:
        return None
    spans = [(begin - start, end - start) for begin, end in own if begin >= start]
    tokens = tokenize_by_parts(encoder.model, specials, text[start:], spans)
    whole = rendering.text.replace(marker, "")
    prompt = EncodedPrompt(
        [*cached, *tokens], whole, rendering.phase, rendering.stops, rendering.notices
    )
    if think == "off" and prompt.phase is ReplyPhase.REASONING:
        return encoder.open_answer(prompt)
    return prompt


def _with_other_call(message: ChatMessage) -> ChatMessage:
    """A reply whose last call has one argument more, at its end."""
    *calls, last = message.tool_calls
    arguments = json.dumps({**json.loads(last.arguments), _OTHER: _OTHER}, ensure_ascii=False)
    return replace(message, tool_calls=(*calls, replace(last, arguments=arguments)))


def _common_end(left: str, right: str) -> str:
    length = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        length += 1
    return left[len(left) - length :]


def _written_part(encoder: PromptEncoder, cached: Sequence[int], behind: str) -> int:
    """How many characters at the head of ``behind`` the reply ends with."""
    pieces = map(encoder.model.piece, cached[-len(behind) :])
    written = b"".join(pieces).decode("utf-8", "replace").rstrip()
    lengths = range(min(len(written), len(behind)), 0, -1)
    return next((length for length in lengths if written.endswith(behind[:length])), 0)


def _ends_reply(encoder: PromptEncoder, mark: str) -> bool:
    tokens = encoder.model.tokenize(mark, special=True)
    return len(tokens) == 1 and encoder.model.ends_reply(tokens[0])
