"""How a key is made of a passphrase, and of another key."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from tchat.errors import StorageError, UsageError
from tchat.translation import N_, tr

KEY_SIZE = 32  # bytes of each key
SALT_SIZE = 16
ARGON2ID, SCRYPT = "argon2id", "scrypt"
LEAST_MEMORY = 64 << 10  # KiB
LEAST_PASSES = 2  # where the machine was busy while it was measured, too
MOST_MEMORY = 1 << 20  # KiB; a lock file that asks for more is refused
MOST_ITERATIONS, MOST_LANES = 64, 16
MOST_WORK = 16 << 20  # KiB, memory times iterations: about half a minute
SCRYPT_BLOCK = 8
TARGET_SECONDS = 0.35
LONGEST_PASSPHRASE = 1024  # characters


@dataclass(frozen=True, slots=True)
class KeyDerivation:
    """A function from passphrases to keys (RFC 9106, or RFC 7914 where OpenSSL lacks that).

    Attributes:
        name: `ARGON2ID` or `SCRYPT`.
        salt: Random bytes, so that equal passphrases make other keys.
        memory: In KiB; a power of two for scrypt.
        iterations: Passes over the memory; scrypt's parallelization, one after the other.
        lanes: Threads of Argon2id; 1 for scrypt.
    """

    name: str
    salt: bytes
    memory: int
    iterations: int
    lanes: int

    def derive(self, passphrase: str) -> bytes:
        """The key of ``passphrase``.

        Raises:
            StorageError: The installed `cryptography` cannot do it.
        """
        text = normalized(passphrase)
        if self.name == SCRYPT:
            from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

            return Scrypt(self.salt, KEY_SIZE, self.memory, SCRYPT_BLOCK, self.iterations).derive(
                text
            )
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

            return Argon2id(
                salt=self.salt,
                length=KEY_SIZE,
                iterations=self.iterations,
                lanes=self.lanes,
                memory_cost=self.memory,
            ).derive(text)
        except (ImportError, UnsupportedAlgorithm):
            raise StorageError(
                tr("the installed `cryptography` has no Argon2id, which the lock file needs"),
                tr("run: pip install -U 'tchat[lock]'"),
            ) from None

    def record(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "name": self.name,
            "salt": self.salt.hex(),
            "memory_kib": self.memory,
            "iterations": self.iterations,
            "lanes": self.lanes,
        }

    def fault(self) -> str:
        """Why this cannot be one of tchat's; empty when it can. A file of others may ask for all
        memory.
        """
        if self.name not in (ARGON2ID, SCRYPT):
            return tr("it has an unknown key derivation")
        costs = (self.memory, self.iterations, self.lanes)
        limits = (MOST_MEMORY, MOST_ITERATIONS, MOST_LANES)
        if any(not 1 <= cost <= limit for cost, limit in zip(costs, limits, strict=True)):
            return tr("its key derivation asks for too much")
        if self.memory * self.iterations > MOST_WORK or len(self.salt) != SALT_SIZE:
            return tr("its key derivation asks for too much")
        small = self.memory < 8 * self.lanes if self.name == ARGON2ID else self.memory < 2
        odd = self.name == SCRYPT and self.memory & (self.memory - 1)
        return tr("its key derivation is damaged") if small or odd else ""


def normalized(passphrase: str) -> bytes:
    """``passphrase`` as bytes, the same for every keyboard: systems compose accents differently.

    Raises:
        UsageError: It is longer than any passphrase, or no text.
    """
    try:
        text = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise UsageError(tr("the passphrase is no text in UTF-8")) from None
    if len(passphrase) > LONGEST_PASSPHRASE:
        raise UsageError(
            tr("the passphrase is longer than {count:,} characters", count=LONGEST_PASSPHRASE)
        )
    return text


def calibrated(seconds: float = TARGET_SECONDS) -> KeyDerivation:
    """A derivation that takes about so many seconds on this machine, and `LEAST_MEMORY` or more."""
    lanes = min(4, os.cpu_count() or 1)
    found = KeyDerivation(ARGON2ID, os.urandom(SALT_SIZE), LEAST_MEMORY, LEAST_PASSES, lanes)
    if not _has_argon2id():
        found = replace(found, name=SCRYPT, lanes=1)
    taken = min(_seconds(found), _seconds(found))
    most = min(MOST_MEMORY // 4, _memory() // 16)
    while taken * 2 <= seconds and found.memory * 2 <= most:  # memory costs an attacker more
        found, taken = replace(found, memory=found.memory * 2), taken * 2
    passes = int(LEAST_PASSES * seconds / taken)
    return replace(found, iterations=max(LEAST_PASSES, min(MOST_ITERATIONS, passes)))


def _seconds(derivation: KeyDerivation) -> float:
    start = perf_counter()
    derivation.derive("a passphrase")
    return perf_counter() - start


def _has_argon2id() -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        Argon2id(salt=bytes(SALT_SIZE), length=KEY_SIZE, iterations=1, lanes=1, memory_cost=8)
    except (ImportError, UnsupportedAlgorithm):
        return False
    return True


def _memory() -> int:
    """The memory of this machine in KiB; a guess where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 10
    except (AttributeError, ValueError, OSError):
        return 4 << 20


Calibration = Callable[[], KeyDerivation]
MISSING_PACKAGES = N_("the encrypted store needs more packages")


def subkey(key: bytes, purpose: bytes, salt: bytes | None = None) -> bytes:
    """The key for ``purpose`` that is made of ``key`` (HKDF, RFC 5869)."""
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError:
        raise StorageError(tr(MISSING_PACKAGES), tr("run: pip install 'tchat[lock]'")) from None
    return HKDF(SHA256(), KEY_SIZE, salt, b"tchat " + purpose).derive(key)
