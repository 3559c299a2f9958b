"""The keys of an encrypted store, and who may have them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.encryption.derivation import subkey
from tchat.encryption.key_slots import KeySlot, SlotKind
from tchat.encryption.lock_copies import Stamp, read_lock, stamps
from tchat.encryption.lock_file import EncryptionState, LockFile, refused
from tchat.encryption.secret_bytes import SecretBytes
from tchat.errors import StoreLocked, TchatError, UsageError, WrongPassphrase
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.file_cipher import FileCipher
    from tchat.encryption.wrong_tries import WrongTries


class StoreKeys:
    """The keys of an unlocked store, all made of its data key."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = SecretBytes(data_key)
        self._files: FileCipher | None = None
        self._is_forgotten = False

    def database_key(self, name: str) -> bytes:
        """The key of the database ``name``: `sessions`, `snapshots-index`, `models`.

        Raises:
            StoreLocked: The keys were forgotten.
        """
        return subkey(self.data_key(), b"database " + name.encode())

    def files(self) -> FileCipher:
        """What encrypts files.

        Raises:
            StoreLocked: The keys were forgotten.
        """
        files = self._files
        if files is None:
            from tchat.encryption.file_cipher import FileCipher

            files = FileCipher(subkey(self.data_key(), b"files"))
            self._files = None if self._is_forgotten else files
        return files

    def data_key(self) -> bytes:
        """The key that all others are made of, to wrap it in a slot.

        Raises:
            StoreLocked: The keys were forgotten.
        """
        key = bytes(self._data_key)
        if self._is_forgotten:  # looked at last: else another thread may have wiped it meanwhile
            raise locked()
        return key

    def forget(self) -> None:
        """Overwrite the data key."""
        self._is_forgotten = True
        self._files = None
        self._data_key.wipe()


# Unlocks a store with what it has; False where it has nothing. It raises what `unlock` does.
UnlockSource = Callable[["Encryption"], bool]


class Encryption:
    """An encrypted store: locked until somebody needs a key. One a process; any thread may use it.

    Attributes:
        lock_file: The path of the lock file.
        sources: What unlocks it, in this order; see `tchat.encryption.unlock_sources`. Each is
            asked once, and again only after the store was unlocked.
        silent_sources: Those of them that neither show anything nor take their time.
        question: Asks the user, after all of them. None where the terminal belongs to the screen.
        failure: Why a source did not unlock the store, if one failed.
    """

    def __init__(self, lock_file: Path) -> None:
        self.lock_file = lock_file
        self.sources: tuple[UnlockSource, ...] = ()
        self.silent_sources: tuple[UnlockSource, ...] = ()
        self.question: UnlockSource | None = None
        self.failure: TchatError | None = None
        self._guard = threading.RLock()
        self._keys: StoreKeys | None = None
        self._lock: LockFile | None = None
        self._read_from: tuple[Stamp, Stamp] | None = None
        self._is_asking_allowed = True
        self._asking = threading.RLock()  # held while sources are asked, which may take minutes
        self._asked: set[UnlockSource] = set()
        self._forgotten = 0  # how often `forget` was called

    @cached_property
    def tries(self) -> WrongTries:
        """The wrong tries so far."""
        from tchat.encryption.wrong_tries import WrongTries

        return WrongTries(self.lock_file.with_name("lock-tries.json"))

    @property
    def lock(self) -> LockFile:
        """The content of the lock file or its copy, read again when it changed.

        Raises:
            StorageError: It cannot be used, or is gone.
        """
        with self._guard:
            try:
                found = stamps(self.lock_file)
                if self._lock is None or found != self._read_from:
                    self._use(read_lock(self.lock_file))
                    self._read_from = found
            except FileNotFoundError:
                raise refused(self.lock_file, tr("it is gone")) from None
            except OSError as error:
                raise refused(self.lock_file, error.strerror or str(error)) from error
            assert self._lock is not None  # noqa: S101 - read above
            return self._lock

    def _use(self, lock: LockFile) -> None:
        if self._lock is not None and lock.id != self._lock.id:
            self.forget()  # another store is in its place
            self._allow_asking()
        if self._keys is not None:
            self._require_seal(lock, self._keys.data_key())
        self._lock = lock

    @property
    def state(self) -> EncryptionState:
        """Whether all files are encrypted, or some while they are converted.

        Raises:
            StorageError: The lock file cannot be used.
        """
        return self.lock.state

    @property
    def kinds(self) -> frozenset[SlotKind]:
        """What opens the store."""
        return frozenset(slot.kind for slot in self.lock.slots)

    @property
    def has_passphrase(self) -> bool:
        """Whether a passphrase opens the store."""
        return SlotKind.PASSPHRASE in self.kinds

    @property
    def wait(self) -> float:
        """Seconds until the next passphrase is looked at; 0 for now."""
        return self.tries.wait()

    @property
    def is_unlocked(self) -> bool:
        """Whether the keys are at hand, so that nobody is asked."""
        return self._keys is not None

    def unlock(self, passphrase: str) -> None:
        """Unlock the store with a passphrase, or its recovery key.

        Raises:
            WrongPassphrase: It is another, or it comes too early after wrong ones.
            UsageError: The recovery key has a typing mistake.
            StorageError: The lock file cannot be used.
        """
        lock = self.lock
        _, key = self._opened(lock, passphrase)
        with self._guard:
            self._open(lock, key)

    def kind_of(self, passphrase: str) -> SlotKind:
        """Which slot a passphrase or recovery key opens; the store stays as it is.

        Raises:
            WrongPassphrase: None, or it comes too early after wrong ones.
            UsageError: The recovery key has a typing mistake.
            StorageError: The lock file cannot be used.
        """
        return self._opened(self.lock, passphrase)[0]

    def _opened(self, lock: LockFile, passphrase: str) -> tuple[SlotKind, bytes]:
        """The kind of the slot that ``passphrase`` opens, and the data key; counts the tries."""
        from tchat.encryption.recovery_key import is_recovery_key, recovery_bytes

        secrets: list[tuple[KeySlot, str | bytes]] = []
        mistake: UsageError | None = None
        recovery, slot = lock.slot(SlotKind.RECOVERY), lock.slot(SlotKind.PASSPHRASE)
        if recovery is not None and is_recovery_key(passphrase):
            try:
                secrets.append((recovery, recovery_bytes(passphrase)))
            except UsageError as error:  # or a passphrase that looks like one
                mistake = error
        if slot is not None:
            secrets.append((slot, passphrase))
        elif mistake is not None:
            raise mistake
        if wait := self.tries.begin():
            raise WrongPassphrase(wait, is_early=True)
        for each, secret in secrets:
            if (key := each.opened(lock.id, secret)) is not None:
                self.tries.clear()
                return each.kind, key
        raise mistake or WrongPassphrase(self.tries.wait())

    def unlock_with_key(self, kind: SlotKind, secret: bytes) -> bool:
        """Unlock the store with the random key of a slot; False when it is another.

        Raises:
            StorageError: The lock file cannot be used.
        """
        with self._guard:
            lock = self.lock
            slot = lock.slot(kind)
            key = slot.opened(lock.id, secret) if slot else None
            if key is not None:
                self._open(lock, key)
            return key is not None

    def _open(self, lock: LockFile, data_key: bytes) -> None:
        self._require_seal(lock, data_key)
        if self._keys is None:
            self._keys = StoreKeys(data_key)
        self._allow_asking()

    def _allow_asking(self) -> None:
        self._is_asking_allowed, self.failure = True, None
        self._asked.clear()

    def _require_seal(self, lock: LockFile, data_key: bytes) -> None:
        if not lock.is_sealed_with(data_key):
            raise refused(self.lock_file, tr("its state was not written by tchat"))

    def keys(self) -> StoreKeys:
        """The keys; unlocks the store by what this process has.

        Raises:
            StoreLocked: It has nothing, the store was locked by `forget`, or is being converted.
            WrongPassphrase: What it has is wrong.
            StorageError: The lock file cannot be used.
        """
        state = self.state
        if state is not EncryptionState.ON:
            raise _unfinished(state)
        return self.conversion_keys()

    def conversion_keys(self) -> StoreKeys:
        """As `keys`, also while the store is being converted: for who converts it."""
        _ = self.lock
        self._ask((*self.sources, *([self.question] if self.question else ())))
        with self._guard:
            if self._keys is None:
                if self.failure is not None:
                    raise self.failure.with_traceback(None)
                raise locked() if self.has_passphrase else _without_keyring()
            return self._keys

    def start_unlocking(self) -> None:
        """Ask the first source, the keyring, on a thread; whoever needs the keys waits for it."""
        threading.Thread(target=self._ask_first_source, name="unlock").start()

    def _ask_first_source(self) -> None:
        self._ask(self.sources[:1])

    def unlock_unattended(self) -> bool:
        """Unlock the store without a question; False where nothing does that, or it fails.

        It may take a minute: a command may ask the user on its own.

        Raises:
            StorageError: The lock file cannot be used.
        """
        return self._unlock_by(self.sources)

    def unlock_silently(self) -> bool:
        """Unlock the store so that nobody notices; False where nothing does that, or it fails.

        Raises:
            StorageError: The lock file cannot be used.
        """
        return self._unlock_by(self.silent_sources)

    def _unlock_by(self, sources: tuple[UnlockSource, ...]) -> bool:
        _ = self.lock
        self._ask(sources)
        return self.is_unlocked

    def _ask(self, sources: tuple[UnlockSource, ...]) -> None:
        """Ask those of ``sources`` that were not asked yet, until one unlocks the store.

        Another thread waits for the outcome. `_guard` is free meanwhile: the screen must be able to
        look at the lock, and to lock itself.
        """
        if self.is_unlocked:
            return
        with self._asking:
            for source in sources:
                with self._guard:
                    if self._keys is not None or not self._is_asking_allowed:
                        return
                    if source in self._asked:
                        continue
                    self._asked.add(source)
                    forgotten = self._forgotten
                try:
                    source(self)
                except TchatError as error:
                    self.failure = error
                with self._guard:
                    if forgotten != self._forgotten and self._keys is not None:
                        self.forget()  # the user locked it while the source was asked

    def forget(self) -> None:
        """Lock the store: the keys are overwritten. Only `unlock` opens it again."""
        with self._guard:
            self._is_asking_allowed = False
            self._forgotten += 1
            if self._keys is not None:
                self._keys.forget()
                self._keys = None


def _unfinished(state: EncryptionState) -> StoreLocked:
    """The error for a store that is partly encrypted."""
    if state is EncryptionState.TURNING_ON:
        return StoreLocked(
            tr("the store is not encrypted to its end"), tr("run `tchat lock on` to finish it")
        )
    return StoreLocked(
        tr("the store is not decrypted to its end"), tr("run `tchat lock off` to finish it")
    )


def _without_keyring() -> StoreLocked:
    """The error for a store without a passphrase that the keyring does not unlock."""
    return StoreLocked(
        tr("the store is locked, and the keyring does not unlock it"),
        tr("use the session that has its key, or type the recovery key in a terminal"),
    )


def locked() -> StoreLocked:
    """The error for a store that nobody unlocks."""
    return StoreLocked(
        tr("the store is locked"),
        tr("run tchat in a terminal, use --unlock-fd, or set TCHAT_PASSPHRASE_COMMAND"),
    )
