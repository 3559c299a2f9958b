"""A forward reader with limits, for files whose lengths cannot be trusted."""

from __future__ import annotations

import struct
from typing import Protocol

from tchat.translation import tr

MAX_READ = 64 << 20  # bytes of one header; the largest vocabularies in use take 13 MB
MAX_STRINGS = 1 << 20  # in the arrays of one header; the largest vocabularies have 777,000
MAX_STRING = 4 << 20  # bytes of one string that is kept
FIRST_CHUNK, LARGEST_CHUNK = 1 << 16, 1 << 20

_U64 = struct.Struct("<Q")


class OutOfBounds(Exception):
    """The file claims more than it holds or than the limits allow; the message says what."""


class ByteSource(Protocol):
    """What is read from: the part of a binary file that `BoundedReader` needs."""

    def seek(self, offset: int, /) -> object:
        """Move to ``offset`` bytes from the start."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, up to ``size`` of them."""


class BoundedReader:
    """Reads forward through ``size`` bytes of ``file``, opened unbuffered, in few system calls.

    The file is not mapped: truncating it meanwhile is an error, not a SIGBUS. ``chunk`` gives the
    bytes of the first and of the largest read; reads double in size between them.

    Raises, from its methods:
        OutOfBounds: The file ends before, or a limit is exceeded.
    """

    def __init__(
        self, file: ByteSource, size: int, chunk: tuple[int, int] = (FIRST_CHUNK, LARGEST_CHUNK)
    ) -> None:
        self._file = file
        self._size = size
        self._first_chunk, self._largest_chunk = chunk
        self._buffer = b""
        self._start = 0  # of the buffer, in the file
        self._at = 0  # the cursor, in the buffer; past its end after a skip
        self._read = 0
        self._strings = 0

    @property
    def position(self) -> int:
        """Bytes from the start of the file."""
        return self._start + self._at

    @property
    def left(self) -> int:
        """Bytes from here to the end of the file."""
        return self._size - self.position

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end of the file, without moving."""
        self._fill(min(count, self.left))
        return self._buffer[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        self._fill(count)
        at, self._at = self._at, self._at + count
        return self._buffer[at : self._at]

    def unpack(self, layout: struct.Struct) -> tuple[int | float | bool, ...]:
        """The next values, by ``layout``."""
        self._fill(layout.size)
        at, self._at = self._at, self._at + layout.size
        return layout.unpack_from(self._buffer, at)

    def u64(self) -> int:
        """The next eight bytes as an unsigned integer."""
        self._fill(8)
        at, self._at = self._at, self._at + 8
        value: int = _U64.unpack_from(self._buffer, at)[0]
        return value

    def string(self, limit: int = MAX_STRING) -> bytes:
        """The next string: a length in eight bytes, then its bytes."""
        length = self.u64()
        if length > self.left:
            raise OutOfBounds(
                tr("a string of {length:,} bytes runs past the end of the file", length=length)
            )
        if length > limit:
            raise OutOfBounds(
                tr(
                    "a string of {length:,} bytes is longer than {limit:,}",
                    length=length,
                    limit=limit,
                )
            )
        return self.read(length)

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes without reading them."""
        if count > self.left:
            raise OutOfBounds(tr("an array runs past the end of the file"))
        self._at += count

    def skip_strings(self, count: int) -> None:
        """Skip ``count`` strings; about 75 ns each."""
        self._strings += count
        if self._strings > MAX_STRINGS:
            raise OutOfBounds(
                tr("more than {max_strings:,} strings in its arrays", max_strings=MAX_STRINGS)
            )
        unpack, buffer, at, last = _U64.unpack_from, self._buffer, self._at, len(self._buffer) - 8
        for _ in range(count):
            if at > last:
                self._at = at
                self._fill(8)
                buffer, at, last = self._buffer, self._at, len(self._buffer) - 8
            at += 8 + unpack(buffer, at)[0]
        self._at = at
        if self.left < 0:
            raise OutOfBounds(tr("an array runs past the end of the file"))

    def _fill(self, count: int) -> None:
        """Make the buffer hold ``count`` bytes from the cursor on."""
        if self._at + count <= len(self._buffer):
            return
        if count > self.left:
            raise OutOfBounds(tr("it ends in the middle of the header"))
        rest = self._buffer[self._at :]
        if not rest:
            self._file.seek(self.position)
        chunk = min(max(self._first_chunk, self._read), self._largest_chunk)
        fresh = self._file.read(max(count - len(rest), chunk))
        self._start, self._at, self._buffer = self.position, 0, rest + fresh
        self._read += len(fresh)
        if len(self._buffer) < count:
            raise OutOfBounds(tr("it became shorter while it was read"))
        if self._read > MAX_READ:
            raise OutOfBounds(
                tr("its header is larger than {max_read} MiB", max_read=MAX_READ >> 20)
            )
