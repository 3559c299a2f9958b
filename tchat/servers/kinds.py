"""Kinds of servers: how each is recognized, and what it takes beyond the OpenAI API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tchat.engine.capabilities import Capabilities

# Settings of `Sampling` by the fields of the OpenAI API; `tchat.servers.request` adds the rest.
STANDARD = MappingProxyType(
    {
        "temp": "temperature",
        "top_p": "top_p",
        "frequency_penalty": "frequency_penalty",
        "presence_penalty": "presence_penalty",
    }
)


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A program that serves models.

    Attributes:
        name: As in `kind` of a server's table.
        title: For people.
        capabilities: What it can do; exact counts are those of ``tokenize``.
        owners: What it writes as ``owned_by`` in the list of its models.
        sampling: Its fields for further settings of `Sampling`.
        grammar: Its field for a GBNF grammar; with a dot, a field within a field.
        template_switch: Whether ``chat_template_kwargs`` switch the reasoning.
        effort_switch: Whether ``reasoning_effort`` does.
        continues: Whether it takes ``continue_final_message``.
        prefills: Whether it goes on with a last message of the assistant as it is.
        tokenize: How it counts a prompt: ``messages``, ``template``, ``text``; empty for not.
        has_choices: Whether ``n`` gives several replies.
        parallel: Requests at a time; more than one end each other on some servers.
        tells_end: Whether each reply ends in a ``finish_reason``.
        demands_any: Whether ``tool_choice`` may be ``required``.
        demands_function: Whether ``tool_choice`` may name a function.
    """

    name: str
    title: str
    capabilities: Capabilities
    owners: frozenset[str] = frozenset()
    sampling: Mapping[str, str] = field(default_factory=dict)
    grammar: str = ""
    template_switch: bool = False
    effort_switch: bool = False
    continues: bool = False
    prefills: bool = False
    tokenize: str = ""
    has_choices: bool = False
    parallel: int = 4
    tells_end: bool = True
    demands_any: bool = True
    demands_function: bool = True

    @property
    def can_switch_thinking(self) -> bool:
        """Whether it can be told to reason, or not to."""
        return self.template_switch or self.effort_switch


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_USUAL = Capabilities(json_schema=True, tools=True, embeddings=True)

KINDS: Mapping[str, ServerKind] = {
    kind.name: kind
    for kind in (
        ServerKind(
            "vllm",
            "vLLM",
            Capabilities(
                exact_tokens=True,
                logprobs=True,
                grammar=True,
                json_schema=True,
                candidates=True,
                vision=True,
                tools=True,
                embeddings=True,
            ),
            owners=frozenset({"vllm"}),
            sampling={**_same("top_k", "min_p"), "repeat_penalty": "repetition_penalty"},
            grammar="structured_outputs.grammar",
            template_switch=True,
            continues=True,
            tokenize="messages",
            has_choices=True,
        ),
        ServerKind(
            "sglang",
            "SGLang",
            Capabilities(
                logprobs=True,
                grammar=True,
                json_schema=True,
                candidates=True,
                vision=True,
                tools=True,
                embeddings=True,
            ),
            owners=frozenset({"sglang"}),
            sampling={**_same("top_k", "min_p"), "repeat_penalty": "repetition_penalty"},
            grammar="ebnf",
            template_switch=True,
            continues=True,
            has_choices=True,
        ),
        ServerKind(
            "llama-server",
            "llama.cpp",
            Capabilities(
                exact_tokens=True,
                logprobs=True,
                grammar=True,
                json_schema=True,
                vision=True,
                tools=True,
                embeddings=True,
            ),
            owners=frozenset({"llamacpp"}),
            sampling={
                **_same("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n"),
                **_same("top_n_sigma", "dry_multiplier", "dry_base", "dry_allowed_length"),
                **_same("dry_penalty_last_n", "xtc_probability", "xtc_threshold", "mirostat"),
                **_same("mirostat_tau", "mirostat_eta", "dynatemp_range"),
                "dynatemp_exp": "dynatemp_exponent",
            },
            grammar="grammar",
            template_switch=True,
            continues=True,
            tokenize="template",
            demands_function=False,
        ),
        ServerKind(
            "llama-cpp-python",
            "llama-cpp-python",
            Capabilities(
                logprobs=True, grammar=True, json_schema=True, tools=True, embeddings=True
            ),
            owners=frozenset({"me"}),
            sampling={
                **_same("top_k", "min_p", "repeat_penalty", "mirostat_tau", "mirostat_eta"),
                "mirostat": "mirostat_mode",
            },
            grammar="grammar",
            tokenize="text",
            parallel=1,
            demands_any=False,
        ),
        ServerKind(
            "ollama",
            "Ollama",
            Capabilities(logprobs=True, json_schema=True, vision=True, tools=True, embeddings=True),
            owners=frozenset({"library"}),
            effort_switch=True,
            prefills=True,
            demands_any=False,
            demands_function=False,
        ),
        ServerKind(
            "lm-studio",
            "LM Studio",
            Capabilities(json_schema=True, vision=True, tools=True, embeddings=True),
            owners=frozenset({"organization_owner"}),
            sampling=_same("top_k", "repeat_penalty", "min_p"),
            prefills=True,
            demands_function=False,
        ),
        ServerKind(
            "openai",
            "OpenAI API",
            Capabilities(
                logprobs=True,
                json_schema=True,
                candidates=True,
                vision=True,
                tools=True,
                embeddings=True,
            ),
            has_choices=True,
        ),
        ServerKind("other", "OpenAI-compatible", _USUAL, tells_end=False),
    )
}


def kind_of_owner(owner: str, host: str) -> ServerKind:
    """The kind of a server that writes ``owner`` as the owner of its models."""
    found = next((kind for kind in KINDS.values() if owner in kind.owners), None)
    if found is not None:
        return found
    return KINDS["openai" if host == "api.openai.com" else "other"]
