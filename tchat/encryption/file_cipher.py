"""Files and lines, encrypted and authenticated with AES-256-GCM.

A file is a header and segments of 64 KiB (the STREAM construction): its own key is made of the
store's and a random salt, and the nonce of a segment is its number and whether it is the last, so
that segments cannot be swapped, doubled or cut off. The last one is padded. What a file is for, its
purpose, is part of its key: one of another purpose is refused.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from tchat.encryption.derivation import subkey
from tchat.errors import StorageError
from tchat.translation import tr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    Data = bytes | bytearray | memoryview

MAGIC = b"tchatENC1\n"
SALT_SIZE = 32
HEADER_SIZE = len(MAGIC) + SALT_SIZE
SEGMENT = 64 << 10  # bytes of text
TAG_SIZE = 16
BLOCK = SEGMENT + TAG_SIZE
NONCE_SIZE = 12
PADDING = 1 << 10  # a file's length is told up to so many bytes
LINE_MARK = b"tchat1:"  # begins an encrypted line
LINE_PADDING = 64
LENGTH_SIZE = 4
END = b"\x80"  # of the text in the last segment; zeros follow


class DamagedFile(StorageError):
    """An encrypted file cannot be decrypted.

    Attributes:
        segment: The number of the damaged segment, from 1 on; 0 for the header.
    """

    def __init__(self, segment: int, name: str = "") -> None:
        self.segment = segment
        super().__init__(
            tr("{name} is damaged: segment {number:,} cannot be decrypted", name=name or "?",
               number=segment),
            tr("restore it from a backup, or delete it"),
        )  # fmt: skip


class FileCipher:
    """Encrypts files and lines with keys made of one key; any thread may use it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._line_ciphers: dict[str, AESGCM] = {}

    def encrypt(self, data: Data | Iterable[Data], purpose: str) -> Iterator[bytes]:
        """The pieces of the encrypted file of ``data``, whole or in pieces."""
        salt = os.urandom(SALT_SIZE)
        cipher = self._file_cipher(salt, purpose)
        yield MAGIC + salt
        pieces = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        rest = bytearray()
        number = 0
        for piece in pieces:
            view, start = memoryview(piece).cast("B"), 0
            if rest:
                start = min(SEGMENT - len(rest), len(view))
                rest += view[:start]
                if len(rest) == SEGMENT:
                    yield cipher.encrypt(_nonce(number), rest, None)
                    rest.clear()
                    number += 1
            while len(view) - start >= SEGMENT:
                yield cipher.encrypt(_nonce(number), view[start : start + SEGMENT], None)
                start, number = start + SEGMENT, number + 1
            rest += view[start:]
        yield cipher.encrypt(_nonce(number, last=True), _padded(rest), None)

    def decrypt(self, data: bytes, purpose: str) -> bytes:
        """The text of an encrypted file.

        Raises:
            DamagedFile: A segment is damaged, or the file is for another purpose.
        """
        import io

        return b"".join(self.decrypt_stream(io.BytesIO(data), purpose))

    def decrypt_stream(self, source: BinaryIO, purpose: str) -> Iterator[bytes]:
        """The text of an encrypted file, one segment after the other.

        Raises:
            DamagedFile: A segment is damaged; those before it were handed out, and are sound.
        """
        cipher = self._file_cipher(_read_salt(source), purpose)
        for number, block, is_last in _blocks(source):
            text = _decrypted(cipher, number, block, is_last=is_last)
            yield _unpadded(text, number) if is_last else text

    def decrypt_into(self, source: BinaryIO, purpose: str, target: memoryview) -> int:
        """Decrypt a file into ``target``; returns the length of the text.

        Raises:
            DamagedFile: A segment is damaged, or the text is longer than ``target``.
        """
        done = 0
        for text in self.decrypt_stream(source, purpose):
            if done + len(text) > len(target):
                raise DamagedFile(done // SEGMENT + 1)
            target[done : done + len(text)] = text
            done += len(text)
        return done

    def opens(self, source: BinaryIO, purpose: str) -> bool:
        """Whether ``source`` begins as a file of this cipher, for the purpose."""
        try:
            next(self.decrypt_stream(source, purpose))
        except DamagedFile:
            return False
        return True

    def purpose_of(self, source: BinaryIO, purpose: str, name: str) -> str:
        """The purpose that the file ``name`` was written with.

        That of the name, or, in files of older versions, that of all of its kind. ``source`` is at
        its beginning, and is left there.
        """
        own = purpose_of_file(purpose, name)
        for each in (own, purpose):
            is_it = self.opens(source, each)
            source.seek(0)
            if is_it:
                return each
        return own

    def opens_line(self, line: bytes, purpose: str) -> bool:
        """Whether ``line`` is one of this cipher, for the purpose: text may begin as one, too."""
        return is_encrypted_line(line) and self.decrypt_line(line, purpose) is not None

    def encrypt_line(self, line: bytes, purpose: str) -> bytes:
        """``line`` encrypted, itself one line without its end, padded so that its length tells
        little.
        """
        nonce = os.urandom(NONCE_SIZE)
        text = len(line).to_bytes(LENGTH_SIZE, "big") + line
        text += bytes(-len(text) % LINE_PADDING)
        sealed = self._line_cipher(purpose).encrypt(nonce, text, None)
        return LINE_MARK + base64.b64encode(nonce + sealed)

    def decrypt_line(self, line: bytes, purpose: str) -> bytes | None:
        """The text of an encrypted line; None when it is damaged, or none."""
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(line.rstrip(b"\r\n").removeprefix(LINE_MARK), validate=True)
            nonce, rest = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
            text = self._line_cipher(purpose).decrypt(nonce, rest, None)
        except (InvalidTag, binascii.Error, ValueError):
            return None
        return text[LENGTH_SIZE : LENGTH_SIZE + int.from_bytes(text[:LENGTH_SIZE], "big")]

    def _file_cipher(self, salt: bytes, purpose: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(subkey(self._key, b"file " + purpose.encode(), salt))

    def _line_cipher(self, purpose: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if purpose not in self._line_ciphers:
            self._line_ciphers[purpose] = AESGCM(subkey(self._key, b"lines " + purpose.encode()))
        return self._line_ciphers[purpose]


def is_encrypted(data: bytes) -> bool:
    """Whether ``data``, or its beginning, is that of an encrypted file."""
    return data.startswith(MAGIC)


def is_encrypted_line(line: bytes) -> bool:
    """Whether ``line`` is an encrypted one."""
    return line.startswith(LINE_MARK)


def purpose_of_file(purpose: str, name: str) -> str:
    """The purpose of one file of a kind, so that no other of the kind is read in its place."""
    return f"{purpose}/{name}"


def encrypted_size(size: int) -> int:
    """How long the encrypted file of ``size`` bytes is."""
    whole, rest = divmod(size, SEGMENT)
    last = rest + len(END)
    return HEADER_SIZE + whole * BLOCK + last + -last % PADDING + TAG_SIZE


def _nonce(number: int, *, last: bool = False) -> bytes:
    return number.to_bytes(NONCE_SIZE - 1, "big") + bytes([last])


def _padded(rest: bytearray) -> bytearray:
    rest += END
    rest += bytes(-len(rest) % PADDING)
    return rest


def _unpadded(text: bytes, number: int) -> bytes:
    end = text.rfind(END)
    if end < 0 or text[end + 1 :].strip(b"\0"):
        raise DamagedFile(number + 1)
    return text[:end]


def _read_salt(source: BinaryIO) -> bytes:
    header = source.read(HEADER_SIZE)
    if len(header) != HEADER_SIZE or not is_encrypted(header):
        raise DamagedFile(0)
    return header[len(MAGIC) :]


def _blocks(source: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """The number of each block, itself, and whether it is the last."""
    number, block = 0, source.read(BLOCK)
    while following := source.read(BLOCK):
        yield number, block, False
        number, block = number + 1, following
    yield number, block, True


def _decrypted(cipher: AESGCM, number: int, block: bytes, *, is_last: bool) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(_nonce(number, last=is_last), block, None)
    except (InvalidTag, ValueError):
        raise DamagedFile(number + 1) from None
