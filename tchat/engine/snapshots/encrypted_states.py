"""States in an encrypted store: encrypted instead of sealed, which authenticates them as well.

What a state is for is part of its file's purpose, so that one of other tokens, of another model or
of another user is refused as a damaged one is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from typing import TYPE_CHECKING

from tchat.encryption.file_cipher import SEGMENT, DamagedFile, encrypted_size

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

CHECKED = (1 << 20) // SEGMENT  # segments after which it is asked whether to go on


def write_state(
    file: FileIO,
    encryption: Encryption,
    about: bytes,
    state: memoryview,
    should_continue: Callable[[], bool],
) -> bool:
    """Write a state; False when it was stopped.

    Raises:
        OSError: It cannot be written.
        StoreLocked: The store is locked.
    """
    cipher = encryption.keys().files()
    for number, piece in enumerate(cipher.encrypt(state, _purpose(about, len(state)))):
        if number % CHECKED == 0 and not should_continue():
            return False
        view = memoryview(piece)
        while view:
            view = view[os.write(file.fileno(), view) :]
    return True


def read_state(file: FileIO, encryption: Encryption, about: bytes, target: memoryview) -> bool:
    """Read a state that fills ``target``; False when it is damaged, or for something else.

    Raises:
        OSError: It cannot be read.
        StoreLocked: The store is locked.
    """
    if os.fstat(file.fileno()).st_size != encrypted_size(len(target)):
        return False
    try:
        purpose = _purpose(about, len(target))
        return encryption.keys().files().decrypt_into(file, purpose, target) == len(target)
    except DamagedFile:
        return False


def _purpose(about: bytes, size: int) -> str:
    return f"snapshot {about.hex()} {size}"
