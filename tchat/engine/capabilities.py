"""What a backend can do: the engine in this process, or a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do; a front end asks this, never its class.

    Attributes:
        exact_tokens: Prompts are counted exactly, not estimated.
        kv_reuse: It tells and keeps what the KV cache holds of a chat.
        prefill_ahead: A draft can be prefilled before it is sent.
        logprobs: Replies have log-probabilities.
        grammar: A GBNF grammar constrains the reply.
        json_schema: A JSON schema does.
        candidates: Several replies come from one prefill.
        hidden_states: It gives those of the model.
        vision: Messages may hold images.
        tools: It is told of tools and gives their calls.
        embeddings: It embeds texts. Those of servers are not used: no part of tchat needs them.
    """

    exact_tokens: bool = False
    kv_reuse: bool = False
    prefill_ahead: bool = False
    logprobs: bool = False
    grammar: bool = False
    json_schema: bool = False
    candidates: bool = False
    hidden_states: bool = False
    vision: bool = False
    tools: bool = False
    embeddings: bool = False
