"""The recovery key: 160 random bits, written down once, that open a store without a passphrase.

Eight groups of five characters; the last character of each checks its group, so that a slip of the
pen is found with its place. The alphabet is Crockford's base 32: no I, L, O or U.
"""

from __future__ import annotations

import hashlib
import os

from tchat.errors import UsageError
from tchat.translation import tr

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1"})
SIZE = 20  # bytes
GROUPS, GROUP = 8, 5
BITS = 5  # of a character


def new_recovery_key() -> str:
    """A random recovery key, in groups."""
    return recovery_text(os.urandom(SIZE))


def recovery_text(key: bytes) -> str:
    """The recovery key of 20 bytes, in groups."""
    number = int.from_bytes(key, "big")
    characters = SIZE * 8 // BITS
    text = "".join(
        ALPHABET[number >> BITS * (characters - 1 - index) & 31] for index in range(characters)
    )
    size = GROUP - 1
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return "-".join(part + _check(part, index) for index, part in enumerate(parts))


def is_recovery_key(text: str) -> bool:
    """Whether ``text`` has the form of a recovery key, typing mistakes included."""
    plain = _plain(text)
    return len(plain) == GROUPS * GROUP and set(plain) <= set(ALPHABET)


def recovery_bytes(text: str) -> bytes:
    """The 20 bytes of a recovery key, however it is spaced.

    Raises:
        UsageError: It has a typing mistake; names the group.
    """
    plain = _plain(text)
    groups = [plain[start : start + GROUP] for start in range(0, len(plain), GROUP)]
    wrong = [
        str(index + 1)
        for index, group in enumerate(groups)
        if _check(group[:-1], index) != group[-1]
    ]
    if wrong:
        raise UsageError(
            tr("the recovery key has a typing mistake in group {numbers}",
               numbers=", ".join(wrong)),
            tr("compare it with what you wrote down"),
        )  # fmt: skip
    number = 0
    for group in groups:
        for character in group[:-1]:
            number = number << BITS | ALPHABET.index(character)
    return number.to_bytes(SIZE, "big")


def _plain(text: str) -> str:
    return "".join(text.upper().replace("-", " ").split()).translate(ALIKE)


def _check(part: str, index: int) -> str:
    """The check character of group ``index``: other groups have others, so a swap is found."""
    return ALPHABET[hashlib.sha256(f"{index} {part}".encode()).digest()[0] & 31]
