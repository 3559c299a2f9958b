"""The lock file: which slots open the store, and how far its encryption is.

JSON without a secret in clear; its checksum finds damage, see `lock_copies`. Who can write it can
destroy the store, as with any file, but not read it: the slots are bound to the file's ID, and its
state is sealed with the data key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tchat.encryption.derivation import subkey
from tchat.encryption.key_slots import KeySlot, SlotKind, slot_of
from tchat.errors import StorageError
from tchat.private_files import write_private
from tchat.translation import N_, tr

VERSION = 1
LARGEST = 64 << 10  # bytes
MOST_SLOTS = 8
ID_SIZE = 16
SEAL_SIZE = 32
MOST_CHANGES = 1 << 53


class LockIsNewer(StorageError):
    """A lock file was written by a newer tchat."""


class EncryptionState(StrEnum):
    """Which files of the store are encrypted: all, or some while they are converted."""

    ON = "on"
    TURNING_ON = "turning on"
    TURNING_OFF = "turning off"


@dataclass(frozen=True, slots=True)
class LockFile:
    """The content of a lock file.

    Attributes:
        id: Hexadecimal, random: another lock has another.
        seal: Proves with the data key that ``state`` was written by who has that key.
        generation: How often it was changed.
    """

    id: str
    state: EncryptionState
    seal: bytes
    slots: tuple[KeySlot, ...]
    generation: int = 0

    def slot(self, kind: SlotKind) -> KeySlot | None:
        """The slot of that kind, if there is one."""
        return next((slot for slot in self.slots if slot.kind is kind), None)

    def with_slot(self, slot: KeySlot) -> LockFile:
        """It with ``slot`` in place of the one of its kind."""
        return replace(self, slots=(*self.without(slot.kind).slots, slot))

    def without(self, kind: SlotKind) -> LockFile:
        """It without the slot of that kind."""
        return replace(self, slots=tuple(slot for slot in self.slots if slot.kind is not kind))

    def with_state(self, state: EncryptionState, data_key: bytes) -> LockFile:
        """It in another state, sealed."""
        return replace(self, state=state, seal=_seal(data_key, self.id, state))

    def is_sealed_with(self, data_key: bytes) -> bool:
        """Whether its state was written by who has the data key."""
        return hmac.compare_digest(self.seal, _seal(data_key, self.id, self.state))


def new_lock_file(data_key: bytes, state: EncryptionState, lock: str) -> LockFile:
    """One without slots, for the ID ``lock``."""
    return LockFile(lock, state, _seal(data_key, lock, state), ())


def new_lock_id() -> str:
    """A random ID."""
    return os.urandom(ID_SIZE).hex()


def _seal(data_key: bytes, lock: str, state: EncryptionState) -> bytes:
    return hmac.digest(subkey(data_key, b"lock file"), f"{lock} {state}".encode(), "sha256")


def write_lock_file(path: Path, lock: LockFile) -> None:
    """Write it atomically, and wait until the disk has it.

    Raises:
        StorageError: It cannot be written; what was there is unchanged.
    """
    record: dict[str, Any] = {
        "version": VERSION,
        "id": lock.id,
        "generation": lock.generation,
        "state": str(lock.state),
        "seal": lock.seal.hex(),
        "slots": [slot.record() for slot in lock.slots],
    }
    record["checksum"] = checksum(record)
    write_private(path, json.dumps(record, indent=2).encode() + b"\n")
    sync_folder(path.parent)


def checksum(record: dict[str, Any]) -> str:
    """What the record of a lock has as its checksum: it finds damage, and no forgery."""
    values = {name: value for name, value in record.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in ``folder``, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lock_file(path: Path) -> LockFile:
    """The lock file at ``path``.

    Raises:
        FileNotFoundError: There is none.
        StorageError: It cannot be read, or is not one of this user.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {reason}", path=path, reason=error.strerror),
            tr("check the permissions"),
        ) from error
    try:
        record = json.loads(data)
        if isinstance(record, dict) and isinstance(record.get("version"), int):
            _require_checksum(record)
            _require_version(path, record["version"])
        lock = _lock_of(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise refused(path, tr("it is damaged")) from None
    for derivation in (slot.derivation for slot in lock.slots):
        if derivation is not None and (fault := derivation.fault()):
            raise refused(path, fault)
    return lock


def refused(path: Path, reason: str) -> StorageError:
    """The error for a lock file that is not used."""
    return StorageError(
        tr("cannot use the lock file {path}: {reason}", path=path, reason=reason),
        tr(RESTORE),
    )


RESTORE = N_("restore it from a backup: without it nobody can read the store")


def _read(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refused(path, tr("it is not a regular file"))
        if os.name == "posix" and status.st_uid != os.geteuid():
            raise refused(path, tr("it belongs to another user"))
        if status.st_size > LARGEST:
            raise refused(path, tr("it is too large"))
        return os.read(descriptor, LARGEST)
    finally:
        os.close(descriptor)


def _require_version(path: Path, version: int) -> None:
    if version > VERSION:
        raise LockIsNewer(
            tr("the lock file {path} was written by a newer tchat", path=path),
            tr("upgrade: pip install -U tchat"),
        )


def _require_checksum(record: dict[str, Any]) -> None:
    """Raise ValueError where the record changed; those before there were generations have none."""
    if ("generation" in record or "checksum" in record) and (
        record.get("checksum") != checksum(record)
    ):
        raise ValueError


def _lock_of(record: Any) -> LockFile:
    """The lock of a JSON record; ValueError, KeyError or TypeError where it is none."""
    if record["version"] != VERSION or not isinstance(record["slots"], list):
        raise ValueError
    lock = LockFile(
        record["id"],
        EncryptionState(record["state"]),
        bytes.fromhex(record["seal"]),
        tuple(_slots(record["slots"][: MOST_SLOTS + 1])),
        record.get("generation", 0),
    )
    kinds = [slot.kind for slot in lock.slots]
    has_sizes = len(bytes.fromhex(lock.id)) == ID_SIZE and len(lock.seal) == SEAL_SIZE
    if type(lock.generation) is not int or not 0 <= lock.generation < MOST_CHANGES:
        raise ValueError
    if not has_sizes or not kinds or len(set(kinds)) != len(kinds):
        raise ValueError
    return lock


def _slots(records: Iterable[Any]) -> Iterable[KeySlot]:
    for record in records:
        slot = slot_of(record)
        if slot is None:
            raise ValueError
        yield slot
