"""The marks around reasoning that a chat template knows."""

from __future__ import annotations

import re

# A tag around reasoning, whatever stands around the word: <think>, <seed:think>.
_TAG = re.compile(r"</?((?:[\w.-]+:)?(?:think|thinking|reasoning)(?:[:_-][\w.-]+)?)>")
_PAIRS = (
    ("[THINK]", "[/THINK]"),  # Magistral, Ministral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),  # Apriel
)


def reasoning_marks(template: str) -> tuple[tuple[str, str], ...]:
    """Pairs of marks, the template's own first; ``<think>`` counts for every model."""
    known = [pair for pair in _PAIRS if pair[1] in template or pair[0].strip() in template]
    names = dict.fromkeys([*_TAG.findall(template), "think"])
    return (*known, *((f"<{name}>", f"</{name}>") for name in names))
