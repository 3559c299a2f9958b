"""What unlocks a store without a question: the keyring, a descriptor, a command."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tchat.encryption.encryption import Encryption, UnlockSource
from tchat.encryption.key_slots import SlotKind
from tchat.errors import StorageError, UsageError, WrongPassphrase
from tchat.translation import tr

COMMAND = "TCHAT_PASSPHRASE_COMMAND"
STDERR = 2
LONGEST = 8192  # bytes of a passphrase that is handed over
COMMAND_SECONDS = 60.0
PATIENCE = 150.0  # seconds that a passphrase waits for its turn, at most


def keyring_account(lock: str) -> str:
    """Under which the keyring keeps the key of a lock's slot."""
    return f"lock {lock}"


def unlock_from_keyring(encryption: Encryption) -> bool:
    """Unlock with what the keyring holds; False where it holds nothing, or cannot be asked."""
    return _unlock_from_keyring(encryption, may_ask=True)


def unlock_from_open_keyring(encryption: Encryption) -> bool:
    """As `unlock_from_keyring`, where the keyring does not ask the user to open it."""
    return _unlock_from_keyring(encryption, may_ask=False)


def _unlock_from_keyring(encryption: Encryption, *, may_ask: bool) -> bool:
    lock = encryption.lock
    if lock.slot(SlotKind.KEYRING) is None:
        return False
    from tchat.encryption.system_keyring import find_secret

    try:
        secret = find_secret(keyring_account(lock.id), may_ask=may_ask)
    except UsageError:  # the next source is asked, and `tchat lock status` tells
        return False
    return secret is not None and encryption.unlock_with_key(SlotKind.KEYRING, secret)


def from_descriptor(descriptor: int) -> UnlockSource:
    """Unlocks with the first line that the file descriptor gives, which is closed then.

    It is read once: later its number may be that of another file.
    """
    unread = [descriptor]

    def unlock(encryption: Encryption) -> bool:
        try:
            number = unread.pop()
        except IndexError:
            return False
        _unlock_patiently(encryption, read_descriptor(number))
        return True

    return unlock


def without_wait(source: UnlockSource) -> UnlockSource:
    """``source``, asked only where a passphrase is looked at without a wait."""
    return lambda encryption: not encryption.wait and source(encryption)


def read_descriptor(descriptor: int) -> str:
    """The passphrase on the first line of a descriptor, which is closed; not a standard one.

    Raises:
        UsageError: It is not open, or gives nothing.
    """
    hint = tr("for example: tchat --unlock-fd 3 3< FILE")
    line = bytearray()
    try:
        # One by one: what follows on standard input is the prompt.
        while not line.endswith(b"\n") and len(line) < LONGEST:
            byte = os.read(descriptor, 1)
            if not byte:
                break
            line += byte
        if descriptor > STDERR:
            os.close(descriptor)
    except (OSError, OverflowError):
        raise UsageError(
            tr("cannot read a passphrase from the descriptor {number}", number=descriptor), hint
        ) from None
    nothing = tr("the descriptor {number} gave no passphrase", number=descriptor)
    return _first_line(bytes(line), nothing)


def from_command(environ: Mapping[str, str]) -> UnlockSource:
    """Unlocks with the first line that the command in `COMMAND` prints, if it is set."""

    def unlock(encryption: Encryption) -> bool:
        command = environ.get(COMMAND, "")
        if not command.strip():
            return False
        _unlock_patiently(encryption, _printed(command, environ))
        return True

    return unlock


def _unlock_patiently(encryption: Encryption, passphrase: str) -> None:
    """Unlock with a passphrase that nobody types again: wait where it is too early for it.

    Not for ever: another process may go on trying wrong ones.
    """
    patience = PATIENCE
    while True:
        try:
            encryption.unlock(passphrase)
        except WrongPassphrase as error:
            patience -= error.wait
            if not error.is_early or patience < 0:
                raise
            time.sleep(error.wait)
        else:
            return


def _printed(command: str, environ: Mapping[str, str]) -> str:
    """What ``command``, run without a shell, prints on its first line; it may ask on its own."""
    import shlex
    import subprocess

    from tchat.encryption.passphrase_command import run_passphrase_command

    hint = tr("try it in the shell")
    try:
        printed, code = run_passphrase_command(
            shlex.split(command), environ, COMMAND_SECONDS, LONGEST
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            tr("cannot run {variable}: {reason}", variable=COMMAND, reason=reason), hint
        ) from None
    except subprocess.TimeoutExpired:
        raise StorageError(
            tr("{variable} took longer than {seconds:.0f} seconds", variable=COMMAND,
               seconds=COMMAND_SECONDS), hint
        ) from None  # fmt: skip
    if code:
        raise StorageError(
            tr("{variable} failed with exit code {code}", variable=COMMAND, code=code), hint
        )
    return _first_line(printed, tr("{variable} printed nothing", variable=COMMAND))


def _first_line(data: bytes, nothing: str) -> str:
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise UsageError(nothing)
    return os.fsdecode(line)


@functools.cache
def shared_encryption(lock_file: Path) -> Encryption:
    """The encryption of this process with a lock file."""
    encryption = Encryption(lock_file)
    encryption.sources = (unlock_from_keyring, from_command(os.environ))
    encryption.silent_sources = (unlock_from_open_keyring,)
    return encryption
