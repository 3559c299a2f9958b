"""Pages of a SQLCipher file, as its version 4 writes them: to rescue a file with damaged ones.

SQLCipher itself gives a file up at the first page that fails its check. A page is AES-256-CBC, then
the IV, then an HMAC-SHA512 over both and the number of the page.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

# The first bytes of each file. SQLCipher calls them the salt; it needs none, as each file has a key
# of its own. So a file is known as encrypted without the key, and damage to them does no harm.
MARK = b"tchat encrypted\n"
CLEAR = b"SQLite format 3\0"
PAGE = 4096
_IV, _HMAC = 16, 64
RESERVED = _IV + _HMAC  # bytes at the end of each page
_CONTENT = PAGE - RESERVED
_INNER_OF_TABLE = 5  # the kind of a page that leads to others


class PageCipher:
    """Encrypts, decrypts and checks single pages of a file; they are numbered from 1."""

    def __init__(self, key: bytes) -> None:
        self._key = bytes(key)
        salt = bytes(byte ^ 0x3A for byte in MARK)
        self._hmac_key = hashlib.pbkdf2_hmac("sha512", self._key, salt, 2, 32)

    def is_authentic(self, number: int, page: bytes) -> bool:
        """Whether the page is as it was written with this key, at this place."""
        if len(page) != PAGE:
            return False
        found = page[-_HMAC:]
        return hmac.compare_digest(found, self._code(number, page[_start(number) : -_HMAC]))

    def any_authentic(self, path: Path) -> bool:
        """Whether any page of the file is; mostly only the first is read."""
        return any(self.is_authentic(*numbered) for numbered in pages(path))

    def decrypt(self, number: int, page: bytes) -> bytes:
        """The content and, as SQLite sees it, room for what is reserved; nothing is checked."""
        start = _start(number)
        cipher = self._cipher(page[_CONTENT : _CONTENT + _IV]).decryptor()
        content = cipher.update(page[start:_CONTENT]) + cipher.finalize()
        return CLEAR[:start] + content + bytes(RESERVED)

    def encrypt(self, number: int, content: bytes) -> bytes:
        """The page with such a content."""
        start = _start(number)
        vector = os.urandom(_IV)
        cipher = self._cipher(vector).encryptor()
        sealed = cipher.update(content[start:_CONTENT]) + cipher.finalize() + vector
        return MARK[:start] + sealed + self._code(number, sealed)

    def repaired(self, damaged: Path, sound: Path) -> Iterator[bytes]:
        """The pages of ``damaged``; none of them is one that fails its check.

        The first is then that of ``sound``. Of others only the way to further pages is kept: what
        text a page holds may have been changed on purpose.
        """
        for number, page in pages(damaged):
            if self.is_authentic(number, page):
                yield page
            elif number == 1:
                with sound.open("rb") as file:
                    first = bytearray(self.decrypt(1, file.read(PAGE)))
                first[28:40] = bytes(12)  # page count 0: "see the file's size"; an empty free list
                yield self.encrypt(1, bytes(first))
            else:
                content = self.decrypt(number, page.ljust(PAGE, b"\0"))
                leads_on = content[0] == _INNER_OF_TABLE
                yield self.encrypt(number, content if leads_on else bytes(PAGE))

    def decrypted(self, path: Path) -> Iterator[bytes]:
        """The pages of a file in clear; of one that fails its check nothing is kept."""
        for number, page in pages(path):
            yield self.decrypt(number, page) if self.is_authentic(number, page) else bytes(PAGE)

    def _code(self, number: int, sealed: bytes) -> bytes:
        code = hmac.new(self._hmac_key, sealed, "sha512")
        code.update(number.to_bytes(4, "little"))
        return code.digest()

    def _cipher(self, vector: bytes) -> Cipher[CBC]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        return Cipher(algorithms.AES256(self._key), modes.CBC(vector))


def pages(path: Path) -> Iterator[tuple[int, bytes]]:
    """The pages of a file with their numbers; the last one may be cut."""
    with path.open("rb") as file:
        number = 0
        while page := file.read(PAGE):
            number += 1
            yield number, page


def _start(number: int) -> int:
    """Where the encrypted part of a page begins."""
    return len(MARK) if number == 1 else 0
