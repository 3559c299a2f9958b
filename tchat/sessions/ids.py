"""Names of sessions: short, unique, and sorted by the time they were made."""

from __future__ import annotations

import os

# Crockford's base 32: no i, l, o, u, so that an id can be read aloud and typed.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 10
_TIME_CHARACTERS = 8  # 40 bits of milliseconds: until 2059
_EPOCH = 1_735_689_600.0  # 2025-01-01 UTC


def new_id(now: float) -> str:
    """A fresh id for a session made at ``now`` (seconds since the epoch).

    Eight characters of time, then two at random. The caller tries again when it is taken.
    """
    milliseconds = max(0, int((now - _EPOCH) * 1000))
    time_part = "".join(
        ALPHABET[milliseconds >> 5 * place & 31] for place in reversed(range(_TIME_CHARACTERS))
    )
    noise = os.urandom(LENGTH - _TIME_CHARACTERS)
    random_part = "".join(ALPHABET[byte & 31] for byte in noise)
    return time_part + random_part


def is_id(text: str) -> bool:
    """Whether ``text`` is written like an id; it need not exist."""
    return len(text) == LENGTH and set(text) <= set(ALPHABET)
