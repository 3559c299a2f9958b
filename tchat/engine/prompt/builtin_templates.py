"""Built-in chat templates for models without a usable one, chosen by their special tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuiltinTemplate:
    """A well-known chat template.

    Args:
        name: Its name in notices.
        needs: Special tokens that the model must have.
        source: Jinja, without the BOS token.
        stops: Strings that end a reply where the model has no token for it.
    """

    name: str
    needs: tuple[str, ...]
    source: str
    stops: tuple[str, ...] = ()


_REFUSE_SYSTEM = (
    "{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)

CHATML = BuiltinTemplate(
    "ChatML",
    ("<|im_start|>", "<|im_end|>"),
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
)

LLAMA_3 = BuiltinTemplate(
    "the Llama 3 form",
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{{ message.content.strip() + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}",
)

GEMMA = BuiltinTemplate(
    "the Gemma form",
    ("<start_of_turn>", "<end_of_turn>"),
    "{% for message in messages %}" + _REFUSE_SYSTEM + "{{ '<start_of_turn>' }}"
    "{{ ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ message.content.strip() + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
)

GEMMA_4 = BuiltinTemplate(
    "the Gemma 4 form",
    ("<|turn>", "<turn|>"),
    "{% for message in messages %}"
    "{{ '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{ message.content.strip() + '<turn|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn>model\n' }}{% endif %}",
)

HARMONY = BuiltinTemplate(
    "the harmony form",
    ("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
    "{% for message in messages %}"
    "{{ '<|start|>' + ('developer' if message.role == 'system' else message.role) }}"
    "{{ ('<|channel|>final' if message.role == 'assistant' else '') + '<|message|>' }}"
    "{{ message.content + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
)

PHI = BuiltinTemplate(
    "the Phi form",
    ("<|user|>", "<|assistant|>", "<|end|>"),
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

ZEPHYR = BuiltinTemplate(
    "the Zephyr form",
    ("<|user|>", "<|assistant|>"),
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
)

COMMAND = BuiltinTemplate(
    "the Command form",
    ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    "{% set marks = {'system': '<|SYSTEM_TOKEN|>', 'user': '<|USER_TOKEN|>',"
    " 'assistant': '<|CHATBOT_TOKEN|>'} %}"
    "{% for message in messages %}"
    "{{ '<|START_OF_TURN_TOKEN|>' + marks[message.role] + message.content }}"
    "{{ '<|END_OF_TURN_TOKEN|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
)

MISTRAL = BuiltinTemplate(
    "the Mistral form",
    ("[INST]", "[/INST]"),
    "{% for message in messages %}" + _REFUSE_SYSTEM + "{% if message.role == 'user' %}"
    "{{ '[INST] ' + message.content + ' [/INST]' }}"
    "{% else %}"
    "{{ ' ' + message.content + eos_token }}"
    "{% endif %}"
    "{% endfor %}",
)

PLAIN = BuiltinTemplate(
    "a plain User/Assistant form",
    (),
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content + '\n\n' }}"
    "{% elif message.role == 'user' %}{{ 'User: ' + message.content + '\n' }}"
    "{% else %}{{ 'Assistant: ' + message.content + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    stops=("\nUser:",),
)

_BY_PREFERENCE = (CHATML, LLAMA_3, GEMMA_4, GEMMA, HARMONY, PHI, ZEPHYR, COMMAND, MISTRAL, PLAIN)


def builtin_template_for(specials: frozenset[str]) -> BuiltinTemplate:
    """The template whose tokens the vocabulary has; `PLAIN` when it has none of them."""
    return next(form for form in _BY_PREFERENCE if specials.issuperset(form.needs))
