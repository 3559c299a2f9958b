"""What reading costs and what it saves, in words for the user."""

from __future__ import annotations

from tchat.engine.events import Restored


def restored_text(event: Restored) -> str:
    """``restored 12,410 tokens in 0.4 s (saved 38 s)``."""
    text = f"restored {event.tokens:,} tokens in {seconds_text(event.seconds)}"
    return f"{text} (saved {seconds_text(event.saved)})" if event.saved else text


def seconds_text(seconds: float) -> str:
    """Seconds for the reader: ``0.04 s``, ``3.1 s``, ``38 s``, ``2 min``."""
    if seconds < 1:
        return f"{seconds:.2g} s" if seconds >= 0.01 else "0.01 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
