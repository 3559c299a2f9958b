"""What an engine is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tchat.engine.adapters import ControlVector, Lora


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What an engine is made from.

    Args:
        path: The model file, checked before.
        template: The chat template in its header; None or empty when it has none.
        ctx_size: Tokens of context wanted; 0 for the model's, up to 8192.
        threads: 0 for as many as there are physical cores.
        gpu_layers: Layers on the GPU; -1 for all.
        batch_size: Tokens read in one decode; a stop or a progress report comes between two.
        loras: Adapters.
        control: Control vectors.
    """

    path: Path
    template: str | None = None
    ctx_size: int = 0
    threads: int = 0
    gpu_layers: int = -1
    batch_size: int = 512
    loras: tuple[Lora, ...] = ()
    control: tuple[ControlVector, ...] = ()
