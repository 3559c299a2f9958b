"""Who wrote a reply, in the fewest words."""

from __future__ import annotations

from pathlib import PurePath

from tchat.models.files import without_gguf_ending


def short_model_name(model: str) -> str:
    """A model as it was asked for, without its folder: ``SmolLM2-135M-Instruct.Q4_1``."""
    return without_gguf_ending(PurePath(model).name)
