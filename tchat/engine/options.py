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
        threads: 0 for as many as there are free cores, as they come and go.
        gpu_layers: Layers on the GPU; -1 for all.
        tensor_split: Share of the model for each GPU; empty for shares by free memory.
        batch_size: Tokens read in one decode; a stop or a progress report comes between two.
        kv_type: Type of the KV cache: ``f16``, ``q8_0`` or ``q4_0``.
        flash_attn: ``auto``, ``on`` or ``off``; a quantized KV cache needs it.
        swa_full: Whether layers with a sliding window keep all of the context.
        mmap: Whether the file is mapped instead of read.
        mlock: Whether the weights are locked in memory.
        prompt_lookup: Whether replies are guessed ahead from the text so far, where it pays.
        draft: A smaller model with the same vocabulary that guesses ahead.
        loras: Adapters.
        control: Control vectors.
    """

    path: Path
    template: str | None = None
    ctx_size: int = 0
    threads: int = 0
    gpu_layers: int = -1
    tensor_split: tuple[float, ...] = ()
    batch_size: int = 512
    kv_type: str = "f16"
    flash_attn: str = "auto"
    swa_full: bool = True
    mmap: bool = True
    mlock: bool = False
    prompt_lookup: bool = True
    draft: Path | None = None
    loras: tuple[Lora, ...] = ()
    control: tuple[ControlVector, ...] = ()
