"""Key slots: copies of the data key, each wrapped with another key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tchat.encryption.derivation import KEY_SIZE, KeyDerivation, subkey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_SIZE = 12
WRAPPED_SIZE = KEY_SIZE + 16


class SlotKind(StrEnum):
    """What opens a slot."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a word
    KEYRING = "keyring"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class KeySlot:
    """The data key, wrapped by AES-256-GCM with a key that is made of what opens the slot.

    Attributes:
        derivation: How the key is made of a passphrase; None for keys that are random, which the
            keyring and the recovery key are.
    """

    kind: SlotKind
    nonce: bytes
    wrapped: bytes
    derivation: KeyDerivation | None = None

    def opened(self, lock: str, secret: str | bytes) -> bytes | None:
        """The data key of the lock of that ID; None when ``secret`` is another.

        Raises:
            StorageError: The installed packages cannot do it.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(secret).decrypt(self.nonce, self.wrapped, self._about(lock))
        except InvalidTag:
            return None

    def _cipher(self, secret: str | bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if self.derivation is not None:
            assert isinstance(secret, str)  # noqa: S101 - `opened` and `wrap` get what the kind has
            return AESGCM(self.derivation.derive(secret))
        assert isinstance(secret, bytes)  # noqa: S101
        return AESGCM(subkey(secret, b"slot " + self.kind.encode(), self.nonce))

    def _about(self, lock: str) -> bytes:
        """What the wrapped key is bound to."""
        derivation = self.derivation.record() if self.derivation else None
        return json.dumps([lock, self.kind, derivation]).encode()

    def record(self) -> dict[str, Any]:
        """It as JSON."""
        found: dict[str, Any] = {"kind": str(self.kind)}
        if self.derivation:
            found["derivation"] = self.derivation.record()
        return found | {"nonce": self.nonce.hex(), "wrapped": self.wrapped.hex()}


def wrap(
    data_key: bytes,
    lock: str,
    kind: SlotKind,
    secret: str | bytes,
    derivation: KeyDerivation | None = None,
) -> KeySlot:
    """A slot that ``secret`` opens: a passphrase with a ``derivation``, or a random key."""
    nonce = os.urandom(NONCE_SIZE)
    empty = KeySlot(kind, nonce, b"", derivation)
    wrapped = empty._cipher(secret).encrypt(nonce, data_key, empty._about(lock))
    return KeySlot(kind, nonce, wrapped, derivation)


def slot_of(record: Any) -> KeySlot | None:
    """The slot of a JSON record; None where it is none of tchat's.

    Raises:
        ValueError, KeyError, TypeError: As None.
    """
    derivation = record.get("derivation")
    slot = KeySlot(
        SlotKind(record["kind"]),
        bytes.fromhex(record["nonce"]),
        bytes.fromhex(record["wrapped"]),
        None if derivation is None else _derivation_of(derivation),
    )
    has_sizes = (len(slot.nonce), len(slot.wrapped)) == (NONCE_SIZE, WRAPPED_SIZE)
    has_derivation = (slot.kind is SlotKind.PASSPHRASE) == (slot.derivation is not None)
    return slot if has_sizes and has_derivation else None


def _derivation_of(record: Any) -> KeyDerivation:
    memory, iterations, lanes = (record[name] for name in ("memory_kib", "iterations", "lanes"))
    if not all(type(cost) is int for cost in (memory, iterations, lanes)):
        raise TypeError
    return KeyDerivation(
        str(record["name"]), bytes.fromhex(record["salt"]), memory, iterations, lanes
    )
