"""Whether a restored state is as good as the one that was saved."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable

from tchat.engine.loaded import Loaded

CLOSE = 1e-4  # of the range of the logits: rounding, where a device adds up in another order


def restores_exactly(loaded: Loaded, restore: Callable[[], bool]) -> bool | None:
    """Compare the logits after a saved state with those after the same state restored.

    The KV cache must hold what was saved, and holds it afterwards, unless it is damaged.

    Args:
        loaded: The model.
        restore: Brings the saved state into the empty cache.

    Returns:
        None when it could not be tried: the context is full, or the user stopped it.
    """
    kv, tokens = loaded.kv, list(loaded.kv.tokens)
    if len(tokens) >= loaded.context.size:
        return None
    expected = _logits_after(loaded, tokens[-1])
    if expected is None:
        kv.keep(len(tokens))
        return None
    kv.clear()
    if not restore() or kv.tokens != tokens:
        return False
    found = _logits_after(loaded, tokens[-1])
    if not kv.keep(len(tokens)):
        restore()
    return None if found is None else _alike(expected, found)


def _logits_after(loaded: Loaded, token: int) -> array[float] | None:
    if not loaded.kv.step(token):
        return None
    size = ctypes.sizeof(ctypes.c_float) * loaded.model.facts.vocabulary
    return array("f", ctypes.string_at(loaded.context.logits(), size))


def _alike(expected: array[float], found: array[float]) -> bool:
    if expected == found:
        return True
    furthest = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    return furthest <= CLOSE * (max(expected) - min(expected))
