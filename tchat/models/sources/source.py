"""One model file in a place, before anyone looked into it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tchat.models.gguf.split_files import PART_NAME


class Owner(StrEnum):
    """Who keeps a file."""

    TCHAT = "tchat"
    USER = "you"
    HUB = "Hugging Face"
    LLAMA_CPP = "llama.cpp"
    OLLAMA = "Ollama"
    LM_STUDIO = "LM Studio"
    GPT4ALL = "GPT4All"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model file that somebody keeps.

    Attributes:
        name: What it is called by; raw.
        path: The file; of a split model the first part.
        owner: Who keeps it.
    """

    name: str
    path: Path
    owner: Owner


def model_stem(path: Path) -> str:
    """The file's name without its ending, nor the number of a part."""
    match = PART_NAME.fullmatch(path.name)
    return match["stem"] if match else path.stem
