"""What `tchat lock` does with keys: make a lock, and change its slots."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tchat.encryption import system_keyring
from tchat.encryption.derivation import KEY_SIZE, Calibration, calibrated
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_slots import SlotKind, wrap
from tchat.encryption.lock_copies import changing, is_there, remove_lock_files, write_lock
from tchat.encryption.lock_file import (
    EncryptionState,
    LockFile,
    new_lock_file,
    new_lock_id,
)
from tchat.encryption.recovery_key import new_recovery_key, recovery_bytes
from tchat.encryption.unlock_sources import keyring_account, shared_encryption
from tchat.errors import StorageError, UsageError
from tchat.private_files import private_folder
from tchat.translation import tr


@dataclass(frozen=True, slots=True)
class NewLock:
    """A store with a new lock, unlocked; its recovery key is stored nowhere."""

    encryption: Encryption
    recovery_key: str


def create_lock(
    path: Path,
    passphrase: str | None,
    *,
    keyring: bool = False,
    state: EncryptionState = EncryptionState.ON,
    calibration: Calibration | None = None,
) -> NewLock:
    """Make a lock file with a new data key; nothing is encrypted by that.

    Args:
        path: Of the lock file.
        passphrase: None for a store that the keyring alone opens, and the recovery key.
        keyring: Whether the keyring opens it.
        state: `TURNING_ON` where there are files to convert.
        calibration: Chooses how costly it is to try passphrases.

    Raises:
        UsageError: There is a lock, or no keyring.
        StorageError: It cannot be written.
    """
    private_folder(path.parent)
    with changing(path):
        if is_there(path):
            raise UsageError(tr("the store is encrypted already"))
        data_key, lock_id = os.urandom(KEY_SIZE), new_lock_id()
        lock = new_lock_file(data_key, state, lock_id)
        recovery_key = new_recovery_key()
        lock = _with_recovery(lock, data_key, recovery_key)
        if passphrase is not None:
            lock = _with_passphrase(lock, data_key, passphrase, calibration)
        if keyring:
            lock = _with_keyring(lock, data_key)
        write_lock(path, lock)
    encryption = shared_encryption(path)
    encryption.unlock_with_key(SlotKind.RECOVERY, recovery_bytes(recovery_key))
    return NewLock(encryption, recovery_key)


def change_passphrase(
    encryption: Encryption, passphrase: str, calibration: Calibration | None = None
) -> None:
    """Let ``passphrase`` open an unlocked store, in place of the one before, if any."""
    data_key = encryption.conversion_keys().data_key()
    _change(encryption, lambda lock: _with_passphrase(lock, data_key, passphrase, calibration))


def change_recovery_key(encryption: Encryption) -> str:
    """A new recovery key for an unlocked store; the one before opens it no more."""
    data_key, recovery_key = encryption.conversion_keys().data_key(), new_recovery_key()
    _change(encryption, lambda lock: _with_recovery(lock, data_key, recovery_key))
    return recovery_key


def use_keyring(encryption: Encryption) -> None:
    """Let the system's keyring open an unlocked store.

    Raises:
        UsageError: There is no keyring here, or it refuses.
    """
    data_key = encryption.conversion_keys().data_key()
    _change(encryption, lambda lock: _with_keyring(lock, data_key))


def stop_keyring(encryption: Encryption) -> None:
    """Let the system's keyring open the store no more.

    Raises:
        UsageError: Nothing but the recovery key would open it.
    """
    if SlotKind.PASSPHRASE not in encryption.kinds:
        raise UsageError(
            tr("without the keyring, nothing but the recovery key would open the store"),
            tr("set a passphrase first: tchat lock passphrase"),
        )
    lock_id = encryption.lock.id
    _change(encryption, lambda lock: lock.without(SlotKind.KEYRING))
    _forget_in_keyring(lock_id)


def change_state(encryption: Encryption, state: EncryptionState) -> None:
    """Record how far the store is encrypted; it must be unlocked."""
    data_key = encryption.conversion_keys().data_key()
    _change(encryption, lambda lock: lock.with_state(state, data_key))


def remove_lock(encryption: Encryption) -> None:
    """Remove the lock file and what the keyring holds: for a store that is in clear again."""
    lock = encryption.lock
    try:
        with changing(encryption.lock_file):
            remove_lock_files(encryption.lock_file)
    except OSError as error:
        raise StorageError(
            tr("cannot delete {failed}: {reason}", failed=encryption.lock_file,
               reason=error.strerror),
            tr("check the permissions"),
        ) from error  # fmt: skip
    encryption.forget()
    encryption.tries.clear()
    if lock.slot(SlotKind.KEYRING):
        _forget_in_keyring(lock.id)


def _forget_in_keyring(lock_id: str) -> None:
    """Remove the key of a slot that is gone; where the keyring fails, it keeps a key to nothing."""
    with suppress(UsageError):
        system_keyring.delete_secret(keyring_account(lock_id))


def _change(encryption: Encryption, change: Callable[[LockFile], LockFile]) -> None:
    with changing(encryption.lock_file):
        lock = encryption.lock
        write_lock(encryption.lock_file, replace(change(lock), generation=lock.generation + 1))


def _with_passphrase(
    lock: LockFile, data_key: bytes, passphrase: str, calibration: Calibration | None
) -> LockFile:
    slot = wrap(data_key, lock.id, SlotKind.PASSPHRASE, passphrase, (calibration or calibrated)())
    return lock.with_slot(slot)


def _with_recovery(lock: LockFile, data_key: bytes, recovery_key: str) -> LockFile:
    secret = recovery_bytes(recovery_key)
    return lock.with_slot(wrap(data_key, lock.id, SlotKind.RECOVERY, secret))


def _with_keyring(lock: LockFile, data_key: bytes) -> LockFile:
    """``lock`` with a keyring slot; the keyring has its key before any file names the slot."""
    account = keyring_account(lock.id)
    secret = system_keyring.find_secret(account)
    if secret is None:
        secret = os.urandom(KEY_SIZE)
        system_keyring.save_secret(account, secret)
    return lock.with_slot(wrap(data_key, lock.id, SlotKind.KEYRING, secret))
